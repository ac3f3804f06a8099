"""Uploads: rows of blobs that are sent, whole, in parts and as a stream, and of those that are mounted."""

from __future__ import annotations

from typing import Any

from tests.registry.serve.documents import BLOB, NONE, digest, upload
from tests.registry.serve.table import Row, Step, row

D, D512 = digest(BLOB), digest(BLOB, "sha512")
UPLOADS_PATH = "blobs/uploads/"
BEGIN = Step("POST", UPLOADS_PATH, 202)
MADE = {"Location": "*", "Docker-Content-Digest": D}
FIRST, SECOND = BLOB[:10], BLOB[10:]


def patch(data: Any, status: int = 202, content_range: str = "", **more: Any) -> Step:
    """The step that sends a part."""
    headers = {"Content-Type": "application/octet-stream"}
    if content_range:
        headers["Content-Range"] = content_range
    return Step("PATCH", "<upload>", status, data, headers, **more)


def end(status: int = 201, data: Any = b"", content_range: str = "", of: str = D, **more: Any) -> Step:
    """The step that ends an upload."""
    headers = {"Content-Range": content_range} if content_range else {}
    return Step("PUT", f"<upload?>digest={of}", status, data, headers, **more)


def has(data: bytes = BLOB, repository: str = "<repo>") -> Step:
    """The step that sees a blob."""
    return Step("GET", f"/v2/{repository}/blobs/{digest(data)}", 200, shows=data)


LACKS = Step("GET", f"blobs/{D}", 404, code="BLOB_UNKNOWN")
UNKNOWN: dict[str, Any] = {"status": 404, "code": "BLOB_UPLOAD_UNKNOWN"}

_WHOLE = [
    row(
        "an upload is begun",
        Step(
            "POST",
            UPLOADS_PATH,
            202,
            gives={"Location": "*", "Range": "0-0", "Docker-Upload-UUID": "*", "Content-Length": "0"},
        ),
    ),
    row("an upload is begun without a slash", Step("POST", "blobs/uploads", 202)),
    row("a blob in one PUT", BEGIN, end(data=BLOB, gives=MADE), has()),
    row("a blob in one PUT by its sha512", BEGIN, end(data=BLOB, of=D512, gives={"Docker-Content-Digest": D512})),
    row("a blob in a chunked PUT", BEGIN, end(data=(FIRST, SECOND), gives=MADE), has()),
    row("a blob in one POST", Step("POST", f"{UPLOADS_PATH}?digest={D}", 201, BLOB, gives=MADE), has()),
    row("a blob in a chunked POST", Step("POST", f"{UPLOADS_PATH}?digest={D}", 201, (FIRST, SECOND)), has()),
    row(
        "a blob in one POST by its sha512",
        Step("POST", f"{UPLOADS_PATH}?digest={D512}", 201, BLOB, gives={"Docker-Content-Digest": D512}),
        Step("GET", f"blobs/{D512}", 200, shows=BLOB),
    ),
    row("an empty blob in one POST", Step("POST", f"{UPLOADS_PATH}?digest={digest(b'')}", 201), has(b"")),
    row("an empty blob in one POST by sha512", Step("POST", f"{UPLOADS_PATH}?digest={digest(b'', 'sha512')}", 201)),
    row("an empty blob in one PUT", BEGIN, end(of=digest(b"")), has(b"")),
    row(
        "a POST that only names a digest begins an upload",
        Step("POST", f"{UPLOADS_PATH}?digest={D}", 202),
        end(data=BLOB),
        has(),
    ),
    row("a blob that is there is sent again", upload(BLOB), upload(BLOB), has()),
    row("a POST of other bytes", Step("POST", f"{UPLOADS_PATH}?digest={D}", 400, b"x", code="DIGEST_INVALID"), LACKS),
    row("a POST with no digest", Step("POST", f"{UPLOADS_PATH}?digest=sha256:abc", 400, BLOB, code="DIGEST_INVALID")),
    row("a PUT of other bytes", BEGIN, end(400, b"other bytes", code="DIGEST_INVALID"), LACKS),
    row("a PUT of fewer bytes", BEGIN, end(400, BLOB[:-1], code="DIGEST_INVALID"), LACKS),
    row("a PUT of other bytes by sha512", BEGIN, end(400, b"other", of=D512, code="DIGEST_INVALID"), LACKS),
    row("a PUT of other bytes ends the upload", BEGIN, end(400, b"x"), Step("GET", "<upload>", **UNKNOWN)),
    row("a PUT that says no digest", BEGIN, Step("PUT", "<upload>", 400, BLOB, code="DIGEST_INVALID")),
    row("a PUT with no digest", BEGIN, end(400, BLOB, of="sha256:abc", code="DIGEST_INVALID")),
    row("a PUT with a digest of an unknown kind", BEGIN, end(400, BLOB, of="md5:00", code="DIGEST_INVALID")),
]


def _parts(name: str, first: str, second: str) -> Row:
    return row(
        name,
        BEGIN,
        patch(FIRST, content_range=first, gives={"Range": "0-9", "Location": "*"}),
        patch(SECOND, content_range=second, gives={"Range": "0-25"}),
        end(gives=MADE),
        has(),
    )


def _misplaced(name: str, content_range: str, data: bytes = SECOND) -> Row:
    return row(
        name,
        BEGIN,
        patch(FIRST, content_range="0-9"),
        patch(data, 416, content_range, code="BLOB_UPLOAD_INVALID", gives={"Range": "0-9", "Location": "*"}),
        patch(SECOND, content_range="10-25", gives={"Range": "0-25"}),
        end(),
        has(),
    )


_IN_PARTS = [
    _parts("a blob in parts", "0-9", "10-25"),
    _parts("a blob in parts that say their unit", "bytes=0-9", "bytes=10-25"),
    _parts("a blob in parts that say them as HTTP has it", "bytes 0-9/26", "bytes 10-25/*"),
    _parts("a blob in parts that say nothing", "", ""),
    row(
        "the last part in the PUT",
        BEGIN,
        patch(FIRST, content_range="0-9"),
        end(data=SECOND, content_range="10-25", gives=MADE),
        has(),
    ),
    row("the last part in a PUT that says nothing", BEGIN, patch(FIRST), end(data=SECOND), has()),
    row("a blob as a stream", BEGIN, patch((FIRST, SECOND), gives={"Range": "0-25"}), end(), has()),
    row("a blob in two streams", BEGIN, patch((FIRST,)), patch((SECOND,), gives={"Range": "0-25"}), end(), has()),
    row("a stream that says its range", BEGIN, patch((FIRST, SECOND), content_range="0-25"), end(), has()),
    row("a part of nothing", BEGIN, patch(b""), patch(BLOB, content_range="0-25"), end(), has()),
    row("a part by the first Location", BEGIN, patch(FIRST), Step("PATCH", "<first>", 202, SECOND), end(), has()),
    row("parts by their sha512", BEGIN, patch(FIRST), patch(SECOND), end(of=D512), has()),
    row("parts of another blob", BEGIN, patch(FIRST), patch(b"other"), end(400, code="DIGEST_INVALID"), LACKS),
    _misplaced("a part behind a gap", "20-35"),
    _misplaced("a part that comes again", "0-9", FIRST),
    _misplaced("a part that overlaps", "5-20"),
    _misplaced("a part from the start again", "0-15"),
    _misplaced("a part whose range is no range", "ten-twenty"),
    _misplaced("a part whose range runs backwards", "10-5"),
    _misplaced("a part whose range has no end", "10-"),
    _misplaced("a part whose range has no start", "-25"),
    _misplaced("a part whose range is one number", "10"),
    _misplaced("a part whose range has a sign", "+10-25"),
    _misplaced("a part whose range is huge", f"{10**30}-{10**30 + 15}"),
    row(
        "a first part behind the start",
        BEGIN,
        patch(FIRST, 416, "1-10", code="BLOB_UPLOAD_INVALID"),
        patch(BLOB, content_range="0-25"),
        end(),
    ),
    row(
        "a last part that is not next",
        BEGIN,
        patch(FIRST),
        end(416, SECOND, "11-26", code="BLOB_UPLOAD_INVALID"),
        end(data=SECOND, content_range="10-25"),
        has(),
    ),
    *(
        row(
            f"a part {what} than its range",
            BEGIN,
            patch(FIRST),
            patch(data, 400, "10-25", code="SIZE_INVALID"),
            Step("GET", "<upload>", 204, gives={"Range": "0-9"}),
            patch(SECOND, content_range="10-25"),
            end(),
            has(),
        )
        for what, data in {
            "shorter": SECOND[:-1],
            "longer": SECOND + b"!",
            "shorter in a stream": (SECOND[:-1],),
            "longer in a stream": (SECOND, b"!"),
        }.items()
    ),
]

_SESSIONS = [
    row("an upload's state at its start", BEGIN, Step("GET", "<upload>", 204, gives={"Range": "0-0", "Location": "*"})),
    row(
        "an upload's state between parts",
        BEGIN,
        patch(FIRST),
        Step("GET", "<upload>", 204, gives={"Range": "0-9", "Docker-Upload-UUID": "<id>"}),
        patch(SECOND),
        end(),
    ),
    row("an upload's state after its end", BEGIN, patch(BLOB), end(), Step("GET", "<upload>", **UNKNOWN)),
    row("an upload that was ended is not gone on with", BEGIN, end(data=BLOB), patch(b"more", **UNKNOWN)),
    row("an upload is ended once", BEGIN, end(data=BLOB), end(data=BLOB, **UNKNOWN), has()),
    row(
        "an upload is cancelled",
        BEGIN,
        patch(FIRST),
        Step("DELETE", "<upload>", 204),
        Step("GET", "<upload>", **UNKNOWN),
    ),
    row("an upload is cancelled once", BEGIN, Step("DELETE", "<upload>", 204), Step("DELETE", "<upload>", **UNKNOWN)),
    row("a cancelled upload is not gone on with", BEGIN, Step("DELETE", "<upload>", 204), patch(BLOB, **UNKNOWN)),
    row("a cancelled upload is not ended", BEGIN, Step("DELETE", "<upload>", 204), end(data=BLOB, **UNKNOWN), LACKS),
    *(
        row(f"{method} for {what}", Step(method, f"{UPLOADS_PATH}{name}{query}", body=data, **UNKNOWN))
        for what, name in {
            "an upload that is none": "0" * 48,
            "an upload by a UUID": "7a1c8e3e-6a5c-4c1e-9a76-2b3a1c0d4e5f",
            "an upload by a word": "upload",
        }.items()
        for method, query, data in (
            ("GET", "", b""),
            ("PATCH", "", BLOB),
            ("PUT", f"?digest={D}", BLOB),
            ("DELETE", "", b""),
        )
    ),
    *(
        row(
            f"{method} for an upload of another repository",
            Step("POST", "/v2/<other>/blobs/uploads/", 202),
            Step(method, f"{UPLOADS_PATH}<id>{query}", body=data, **UNKNOWN),
            Step("GET", "<upload>", 204, gives={"Range": "0-0"}),
        )
        for method, query, data in (
            ("GET", "", b""),
            ("PATCH", "", BLOB),
            ("PUT", f"?digest={D}", BLOB),
            ("DELETE", "", b""),
        )
    ),
    row("an upload takes no POST", BEGIN, Step("POST", "<upload>", 405, code="UNSUPPORTED", gives={"Allow": "*"})),
    row("uploads are not listed", Step("GET", UPLOADS_PATH, 405, code="UNSUPPORTED", gives={"Allow": "*"})),
]


def _mount(status: int, query: str, **more: Any) -> Step:
    return Step("POST", f"{UPLOADS_PATH}?{query}", status, **more)


_MOUNTS = [
    row(
        "a mount",
        upload(BLOB, to="<other>"),
        _mount(201, f"mount={D}&from=<other>", gives={**MADE, "Content-Length": "0"}),
        has(),
        has(repository="<other>"),
    ),
    row("a mount from anywhere", upload(BLOB, to="<other>"), _mount(201, f"mount={D}"), has()),
    row("a mount from itself", upload(BLOB), _mount(201, f"mount={D}&from=<repo>"), has()),
    row(
        "a mount by sha512",
        upload(BLOB, to="<other>", algorithm="sha512"),
        _mount(201, f"mount={D512}&from=<other>", gives={"Docker-Content-Digest": D512}),
        Step("GET", f"blobs/{D512}", 200, shows=BLOB),
    ),
    row(
        "a mount outlives its source",
        upload(BLOB, to="<other>"),
        _mount(201, f"mount={D}&from=<other>"),
        Step("DELETE", f"/v2/<other>/blobs/{D}", 202),
        has(),
    ),
    row(
        "a mount of an unknown blob",
        upload(BLOB, to="<other>"),
        _mount(202, f"mount={NONE}&from=<other>"),
        end(data=BLOB),
    ),
    row(
        "a mount from where it is not",
        upload(b"x", to="<other>"),
        _mount(202, f"mount={NONE}&from=<other>"),
        end(data=BLOB),
    ),
    row(
        "a mount from an unknown repository",
        _mount(202, f"mount={NONE}&from=nobody/knows"),
        LACKS,
        end(data=BLOB),
        has(),
    ),
    row("a mount from a name that is none", _mount(202, f"mount={NONE}&from=NO//..name"), end(data=BLOB), has()),
    row("a mount of no digest", _mount(400, "mount=sha256:abc&from=<other>", code="DIGEST_INVALID")),
]

UPLOADS = [*_WHOLE, *_IN_PARTS, *_SESSIONS, *_MOUNTS]
