"""References: rows of the tags and digests that manifests are pushed under, and of what is deleted by them."""

from __future__ import annotations

from tests.registry.serve.documents import BLOB, INDEX, NONE, digest, get, image, image_parts, index, pushed, put
from tests.registry.serve.table import Step, row

IMAGE = image()
M, M512 = digest(IMAGE), digest(IMAGE, "sha512")
OTHER_IMAGE = image(annotations={"which": "other"})
_REFERENCES = [
    row(
        "a manifest by its digest is there",
        image_parts(),
        put(IMAGE, M, gives={"Location": "*", "Docker-Content-Digest": M}),
        get(M, shows=IMAGE),
        get("v1", 404),
    ),
    row(
        "a manifest by its sha512",
        image_parts(),
        put(IMAGE, M512, gives={"Docker-Content-Digest": M512}),
        get(M512, gives={"Docker-Content-Digest": M512}, shows=IMAGE),
        Step("HEAD", f"manifests/{M512}", 200),
    ),
    row(
        "a manifest with tags to set",
        image_parts(),
        put(IMAGE, f"{M}?tag=one&tag=two", gives={"OCI-Tag": "one, two"}),
        get("one", shows=IMAGE),
        get("two", shows=IMAGE),
    ),
    row(
        "a manifest by sha512 with tags to set",
        image_parts(),
        put(IMAGE, f"{M512}?tag=one"),
        get("one", gives={"Docker-Content-Digest": M512}, shows=IMAGE),
    ),
    row(
        "a manifest by a tag with tags to set",
        image_parts(),
        put(IMAGE, "v1?tag=two"),
        get("v1", shows=IMAGE),
        get("two", shows=IMAGE),
    ),
    row(
        "a manifest with ten tags to set",
        image_parts(),
        put(
            IMAGE,
            f"{M}?{'&'.join(f'tag=t{i}' for i in range(10))}",
            gives={"OCI-Tag": ", ".join(f"t{i}" for i in range(10))},
        ),
        get("t9"),
    ),
    row(
        "a manifest with a tag to set that is none",
        image_parts(),
        put(IMAGE, f"{M}?tag=one&tag=-two", 400, code="MANIFEST_INVALID"),
        get("one", 404),
        get(M, 404),
    ),
    row(
        "a manifest with too many tags to set",
        image_parts(),
        put(IMAGE, f"{M}?{'&'.join(f'tag=t{i}' for i in range(200))}", 400, code="MANIFEST_INVALID"),
        get(M, 404),
    ),
    row(
        "a manifest by another's digest",
        image_parts(),
        put(IMAGE, NONE, 400, code="DIGEST_INVALID"),
        get(NONE, 404),
        get(M, 404),
    ),
    row(
        "a manifest by another's sha512",
        image_parts(),
        put(IMAGE, f"sha512:{'0' * 128}", 400, code="DIGEST_INVALID"),
        get(M, 404),
    ),
    row("a manifest put by no digest", image_parts(), put(IMAGE, "sha256:abc", 400, code="DIGEST_INVALID")),
    row(
        "a manifest put by a digest of an unknown kind", image_parts(), put(IMAGE, "md5:00", 400, code="DIGEST_INVALID")
    ),
    row("a tag of 128 characters", pushed("t" * 128), get("t" * 128, shows=IMAGE)),
    row("a tag of 129 characters", image_parts(), put(IMAGE, "t" * 129, 400, code="MANIFEST_INVALID"), get(M, 404)),
    row(
        "tags with all that tags have",
        pushed("_V1.0-rc_2", "UPPER", "0"),
        get("_V1.0-rc_2"),
        get("UPPER"),
        get("upper", 404),
        get("0"),
    ),
    row(
        "tags that differ by case",
        pushed("Tag"),
        put(OTHER_IMAGE, "tag"),
        get("Tag", shows=IMAGE),
        get("tag", shows=OTHER_IMAGE),
    ),
    *(
        row(
            f"a tag that begins with a {what}",
            image_parts(),
            put(IMAGE, f"{sign}v1", 400, code="MANIFEST_INVALID"),
            get(M, 404),
        )
        for what, sign in {
            "dot": ".",
            "dash": "-",
            "tilde": "~",
            "space": "%20",
            "zero byte": "%00",
            "plus": "+",
        }.items()
    ),
    row("a tag that is moved", pushed("v1"), put(OTHER_IMAGE), get("v1", shows=OTHER_IMAGE), get(M, shows=IMAGE)),
    row("a manifest that is there is sent again", pushed("v1", "v1"), get("v1", shows=IMAGE)),
    row("a manifest that is there gets a second tag", pushed("v1", "v2"), get("v2", shows=IMAGE)),
    row(
        "a tag that was an image becomes an index",
        pushed("v1"),
        put(index(IMAGE), media_type=INDEX),
        get("v1", media_type=INDEX, shows=index(IMAGE)),
    ),
    row(
        "a tag that was an index becomes an image",
        pushed("v2"),
        put(index(IMAGE), media_type=INDEX),
        put(IMAGE),
        get("v1", shows=IMAGE),
    ),
]

_DELETES = [
    row(
        "a deleted tag is gone, its manifest is not",
        pushed("v1", "v2"),
        Step("DELETE", "manifests/v1", 202),
        get("v1", 404, code="MANIFEST_UNKNOWN"),
        get(M, shows=IMAGE),
        get("v2", shows=IMAGE),
        Step("DELETE", "manifests/v1", 404, code="MANIFEST_UNKNOWN"),
    ),
    row(
        "a manifest whose last tag is deleted stays",
        pushed("v1"),
        Step("DELETE", "manifests/v1", 202),
        get(M, shows=IMAGE),
    ),
    row(
        "a deleted manifest is gone with its tags",
        pushed("v1", "v2"),
        Step("DELETE", f"manifests/{M}", 202),
        get(M, 404, code="MANIFEST_UNKNOWN"),
        Step("HEAD", f"manifests/{M}", 404),
        get("v1", 404, code="MANIFEST_UNKNOWN"),
        get("v2", 404, code="MANIFEST_UNKNOWN"),
        Step("DELETE", f"manifests/{M}", 404, code="MANIFEST_UNKNOWN"),
    ),
    row(
        "a deleted manifest leaves the others and its blobs",
        pushed("v1"),
        put(OTHER_IMAGE, "v2"),
        Step("DELETE", f"manifests/{M}", 202),
        get("v2", shows=OTHER_IMAGE),
        Step("GET", f"blobs/{digest(BLOB)}", 200, shows=BLOB),
    ),
    row(
        "a manifest deleted by its sha512",
        image_parts(),
        put(IMAGE, f"{M512}?tag=v1"),
        Step("DELETE", f"manifests/{M512}", 202),
        get("v1", 404),
        get(M512, 404),
    ),
    row(
        "a deleted manifest is sent again",
        pushed("v1"),
        Step("DELETE", f"manifests/{M}", 202),
        put(IMAGE),
        get("v1", shows=IMAGE),
    ),
    row(
        "an index is deleted, its images are not",
        pushed("v1"),
        put(index(IMAGE), "all", media_type=INDEX),
        Step("DELETE", f"manifests/{digest(index(IMAGE))}", 202),
        get("v1", shows=IMAGE),
    ),
    row("a delete of an unknown tag", pushed("v1"), Step("DELETE", "manifests/v2", 404, code="MANIFEST_UNKNOWN")),
    row("a delete of a tag that is none", pushed("v1"), Step("DELETE", "manifests/-v2", 404, code="MANIFEST_UNKNOWN")),
    row(
        "a delete of an unknown manifest",
        pushed("v1"),
        Step("DELETE", f"manifests/{NONE}", 404, code="MANIFEST_UNKNOWN"),
    ),
    row("a delete of a manifest by no digest", Step("DELETE", "manifests/sha256:abc", 400, code="DIGEST_INVALID")),
    row("a delete in an unknown repository", Step("DELETE", f"manifests/{M}", 404, code="MANIFEST_UNKNOWN")),
]

REFERENCES = [*_REFERENCES, *_DELETES]
