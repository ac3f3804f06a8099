"""Pulls: rows of the API's root, of blobs and manifests that are asked for, and of blobs that are deleted."""

from __future__ import annotations

from tests.registry.serve.documents import (
    BLOB,
    MANIFEST,
    NONE,
    SHELF,
    digest,
    get,
    image,
    pushed,
    upload,
)
from tests.registry.serve.table import Row, Step, row

BLOBS, MANIFESTS = f"/v2/{SHELF}/blobs", f"/v2/{SHELF}/manifests"
D, D512 = digest(BLOB), digest(BLOB, "sha512")
BLOB_HEADERS = {
    "Content-Type": "application/octet-stream",
    "Content-Length": str(len(BLOB)),
    "Docker-Content-Digest": D,
    "ETag": f'"{D}"',
    "Accept-Ranges": "bytes",
}
IMAGE = image()
M = digest(IMAGE)
MANIFEST_HEADERS = {
    "Content-Type": MANIFEST,
    "Content-Length": str(len(IMAGE)),
    "Docker-Content-Digest": M,
    "ETag": f'"{M}"',
}

_ROOT = [
    row(
        "the API is there",
        Step("GET", "/v2/", 200, gives={"Docker-Distribution-Api-Version": "registry/2.0"}, shows={}),
    ),
    row("the API is there for HEAD", Step("HEAD", "/v2/", 200, shows=b"")),
    row("the API is there without a slash", Step("GET", "/v2", 200)),
    row("the API's root takes nothing", Step("PUT", "/v2/", 405, code="UNSUPPORTED", gives={"Allow": "*"})),
    row("a path that is none", Step("GET", "nothing/here", 404, code="UNSUPPORTED")),
    row("a repository alone is no path", Step("GET", "/v2/<repo>", 404, code="UNSUPPORTED")),
]

_BLOBS = [
    row("a blob", Step("GET", f"{BLOBS}/{D}", 200, gives=BLOB_HEADERS, shows=BLOB)),
    row("a blob's head", Step("HEAD", f"{BLOBS}/{D}", 200, gives=BLOB_HEADERS, shows=b"")),
    row(
        "a blob by its sha512",
        upload(BLOB, algorithm="sha512"),
        Step("GET", f"blobs/{D512}", 200, gives={"Docker-Content-Digest": D512}, shows=BLOB),
        Step("HEAD", f"blobs/{D512}", 200, gives={"Content-Length": "26"}),
    ),
    row(
        "a blob sent by its sha512 has a sha256 too",
        upload(BLOB, algorithm="sha512"),
        Step("GET", f"blobs/{D}", 200, gives={"Docker-Content-Digest": D}, shows=BLOB),
    ),
    row(
        "an empty blob",
        Step("GET", f"{BLOBS}/{digest(b'')}", 200, gives={"Content-Length": "0"}, shows=b""),
        Step("HEAD", f"{BLOBS}/{digest(b'')}", 200, gives={"Content-Length": "0"}),
    ),
    row("an unknown blob", upload(b"x"), Step("GET", f"blobs/{D}", 404, code="BLOB_UNKNOWN")),
    row("an unknown blob's head", upload(b"x"), Step("HEAD", f"blobs/{D}", 404)),
    row("an unknown blob by sha512", Step("GET", f"{BLOBS}/sha512:{'0' * 128}", 404, code="BLOB_UNKNOWN")),
    row("a blob of an unknown repository", Step("GET", f"blobs/{D}", 404, code="BLOB_UNKNOWN")),
    row(
        "a blob of another repository",
        upload(BLOB, to="<other>"),
        Step("GET", f"blobs/{D}", 404, code="BLOB_UNKNOWN"),
        Step("HEAD", f"blobs/{D}", 404),
        Step("DELETE", f"blobs/{D}", 404, code="BLOB_UNKNOWN"),
        Step("GET", f"/v2/<other>/blobs/{D}", 200),
    ),
    row("a blob takes no PUT", Step("PUT", f"{BLOBS}/{D}", 405, code="UNSUPPORTED", gives={"Allow": "*"})),
    row("a blob takes no POST", Step("POST", f"{BLOBS}/{D}", 405, code="UNSUPPORTED")),
    row("a blob takes no PATCH", Step("PATCH", f"{BLOBS}/{D}", 405, code="UNSUPPORTED")),
]


def _ranged(name: str, wanted: str, content_range: str, shows: bytes, **more: str) -> Row:
    status = 206 if shows else 416
    gives = {"Content-Range": content_range, "Content-Length": str(len(shows))}
    step = Step("GET", f"{BLOBS}/{D}", status, headers={"Range": wanted, **more}, gives=gives, shows=shows)
    return row(f"{name} of a blob", step)


def _whole(name: str, **headers: str) -> Row:
    gives = {"Content-Range": None, "Content-Length": "26"}
    names = {key.replace("_", "-"): value for key, value in headers.items()}
    return row(name, Step("GET", f"{BLOBS}/{D}", 200, headers=names, gives=gives, shows=BLOB))


def _unchanged(name: str, etag: str, **more: str) -> Row:
    gives = {"ETag": f'"{D}"'}
    headers = {"If-None-Match": etag, **more}
    return row(name, Step("GET", f"{BLOBS}/{D}", 304, headers=headers, gives=gives, shows=b""))


_RANGES = [
    _ranged("the first bytes", "bytes=0-4", "bytes 0-4/26", b"abcde"),
    _ranged("the first byte", "bytes=0-0", "bytes 0-0/26", b"a"),
    _ranged("the last byte", "bytes=25-25", "bytes 25-25/26", b"z"),
    _ranged("middle bytes", "bytes=10-12", "bytes 10-12/26", b"klm"),
    _ranged("bytes from one on", "bytes=20-", "bytes 20-25/26", b"uvwxyz"),
    _ranged("all bytes by a range", "bytes=0-", "bytes 0-25/26", BLOB),
    _ranged("the last bytes", "bytes=-3", "bytes 23-25/26", b"xyz"),
    _ranged("more last bytes than there are", "bytes=-999", "bytes 0-25/26", BLOB),
    _ranged("a range over the end", "bytes=20-999", "bytes 20-25/26", b"uvwxyz"),
    _ranged("a range behind the end", "bytes=26-", "bytes */26", b""),
    _ranged("a range far behind the end", "bytes=999-1000", "bytes */26", b""),
    _ranged("a range to a byte beyond all numbers", f"bytes=20-{'9' * 30}", "bytes 20-25/26", b"uvwxyz"),
    _ranged("a range from a byte beyond all numbers", f"bytes={'9' * 30}-", "bytes */26", b""),
    _ranged("a range whose unit is in upper case", "Bytes=0-4", "bytes 0-4/26", b"abcde"),
    _ranged("no last bytes", "bytes=-0", "bytes */26", b""),
    _ranged("a range that is still right", "bytes=0-4", "bytes 0-4/26", b"abcde", **{"If-Range": f'"{D}"'}),
    _whole("a range of a blob that was another", Range="bytes=0-4", If_Range='"sha256:other"'),
    _whole("a range of a blob by a weak tag", Range="bytes=0-4", If_Range=f'W/"{D}"'),
    _whole("a range in an unknown unit", Range="lines=0-4"),
    _whole("a range that is none", Range="bytes=a-b"),
    _whole("several ranges are given as a whole", Range="bytes=0-4,8-9"),
    row(
        "a head has no range",
        Step("HEAD", f"{BLOBS}/{D}", 200, headers={"Range": "bytes=0-4"}, gives={"Content-Length": "26"}),
    ),
    _unchanged("a blob that the client has", f'"{D}"'),
    _unchanged("a blob that the client has among others", f'"sha256:other", "{D}"'),
    _unchanged("a blob that the client has by a weak tag", f'W/"{D}"'),
    _unchanged("a blob that the client has in any form", "*"),
    _unchanged("a range of a blob that the client has", f'"{D}"', Range="bytes=0-4"),
    _whole("a blob that the client has not", If_None_Match='"sha256:other"'),
]

_MALFORMED = {
    "short": "sha256:abc",
    "long": f"{D}0",
    "in upper case": f"sha256:{'A' * 64}",
    "without an algorithm": D.removeprefix("sha256:"),
    "of an unknown algorithm": f"md5:{'0' * 32}",
    "of another algorithm's length": f"sha512:{'0' * 64}",
    "with a letter that is no digit": f"sha256:{'g' * 64}",
    "with nothing behind its colon": "sha256:",
}
_DIGESTS = [
    row(f"a blob by a digest {what}", Step("GET", f"{BLOBS}/{text}", 400, code="DIGEST_INVALID"))
    for what, text in _MALFORMED.items()
]

_DELETES = [
    row(
        "a deleted blob is gone",
        upload(BLOB),
        Step("DELETE", f"blobs/{D}", 202),
        Step("GET", f"blobs/{D}", 404, code="BLOB_UNKNOWN"),
        Step("HEAD", f"blobs/{D}", 404),
        Step("DELETE", f"blobs/{D}", 404, code="BLOB_UNKNOWN"),
        upload(BLOB),
        Step("GET", f"blobs/{D}", 200),
    ),
    row(
        "a blob deleted by its sha512",
        upload(BLOB, algorithm="sha512"),
        Step("DELETE", f"blobs/{D512}", 202),
        Step("GET", f"blobs/{D512}", 404, code="BLOB_UNKNOWN"),
        Step("GET", f"blobs/{D}", 404, code="BLOB_UNKNOWN"),
    ),
    row(
        "a deleted blob stays in another repository",
        upload(BLOB),
        upload(BLOB, to="<other>"),
        Step("DELETE", f"blobs/{D}", 202),
        Step("GET", f"/v2/<other>/blobs/{D}", 200, shows=BLOB),
    ),
    row("a delete of an unknown blob", upload(BLOB), Step("DELETE", f"blobs/{NONE}", 404, code="BLOB_UNKNOWN")),
    row("a delete of a blob by no digest", Step("DELETE", "blobs/sha256:abc", 400, code="DIGEST_INVALID")),
]

_MANIFESTS = [
    row("a manifest by its tag", get("v1", of=SHELF, gives=MANIFEST_HEADERS, shows=IMAGE)),
    row("a manifest by its digest", get(M, of=SHELF, gives=MANIFEST_HEADERS, shows=IMAGE)),
    row(
        "a manifest's head by its tag",
        Step("HEAD", f"{MANIFESTS}/v1", 200, headers={"Accept": MANIFEST}, gives=MANIFEST_HEADERS),
    ),
    row(
        "a manifest's head by its digest",
        Step("HEAD", f"{MANIFESTS}/{M}", 200, headers={"Accept": MANIFEST}, gives=MANIFEST_HEADERS),
    ),
    row("a manifest for who accepts all", get("v1", of=SHELF, media_type="*/*", shows=IMAGE)),
    row("a manifest for who says nothing", Step("GET", f"{MANIFESTS}/v1", 200, shows=IMAGE)),
    row(
        "a manifest for who accepts several",
        get("v1", of=SHELF, media_type=f"application/json;q=0.1, {MANIFEST};q=0.9, */*;q=0.1", shows=IMAGE),
    ),
    *(
        row(
            f"a manifest that the client has by {what}",
            Step("GET", f"{MANIFESTS}/v1", 304, headers={"If-None-Match": etag, "Accept": MANIFEST}, shows=b""),
        )
        for what, etag in {"its tag": f'"{M}"', "a weak tag": f'W/"{M}"', "any tag": "*"}.items()
    ),
    row(
        "a manifest that the client has not",
        Step(
            "GET", f"{MANIFESTS}/v1", 200, headers={"If-None-Match": '"sha256:other"', "Accept": MANIFEST}, shows=IMAGE
        ),
    ),
    row("an unknown tag", get("v2", 404, of=SHELF, code="MANIFEST_UNKNOWN")),
    row("an unknown tag's head", Step("HEAD", f"{MANIFESTS}/v2", 404)),
    row("an unknown manifest", get(NONE, 404, of=SHELF, code="MANIFEST_UNKNOWN")),
    row("a tag of an unknown repository", get("v1", 404, code="MANIFEST_UNKNOWN")),
    row("a manifest of another repository", pushed("v1", to="<other>"), get(M, 404, code="MANIFEST_UNKNOWN")),
    row("a blob is no manifest", upload(IMAGE), get(M, 404, code="MANIFEST_UNKNOWN")),
    row("a manifest is no blob", Step("GET", f"{BLOBS}/{M}", 404, code="BLOB_UNKNOWN")),
    row("a manifest by no digest", get("sha256:abc", 400, of=SHELF, code="DIGEST_INVALID")),
    row("a tag that is none", get("-v1", 404, of=SHELF, code="MANIFEST_UNKNOWN")),
    row("a manifest takes no POST", Step("POST", "manifests/v1", 405, code="UNSUPPORTED", gives={"Allow": "*"})),
    row("a manifest takes no PATCH", Step("PATCH", f"{MANIFESTS}/v1", 405, code="UNSUPPORTED")),
]

PULLS = [*_ROOT, *_BLOBS, *_RANGES, *_DIGESTS, *_DELETES, *_MANIFESTS]
