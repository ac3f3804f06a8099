"""Names: rows of repositories' names, those that are none and those that could be paths."""

from __future__ import annotations

from tests.registry.serve.documents import BLOB, digest, get, image, image_parts, pushed, put, upload
from tests.registry.serve.table import Step, row

D = digest(BLOB)
_WRONG = {
    "in upper case": "Rows/Upper",
    "that begins with a dash": "-rows/x",
    "that ends with a dash": "rows/x-",
    "that begins with a dot": ".rows/x",
    "of a dot": "rows/./x",
    "of two dots": "rows/../x",
    "of two dots that are written otherwise": "rows/%2e%2e/x",
    "of dots and slashes that are written otherwise": "..%2f..%2f..%2fetc%2fpasswd",
    "with dots in it": "rows/a..b",
    "with three underscores": "rows/a___b",
    "that ends with an underscore": "rows/a_",
    "with nothing between two slashes": "rows//x",
    "with a zero byte": "rows/a%00b",
    "with a space": "rows/a%20b",
    "with a plus": "rows/a+b",
    "with a colon": "rows:5000/x",
    "with a backslash": "rows/..%5c..%5cx",
    "with an umlaut": "rows/%c3%a4",
    "that is no UTF-8": "rows/%ff",
    "of 256 characters": "rows/" + "x" * 251,
    "of 5000 characters": "rows/" + "x" * 4995,
}
LONGEST = "rows/" + "x" * 250
DEEPEST = "/".join(["r"] * 100)

NAMES = [
    *(
        row(f"a repository {what}", Step("POST", f"/v2/{name}/blobs/uploads/", 400, code="NAME_INVALID"))
        for what, name in _WRONG.items()
    ),
    *(
        row(
            f"a manifest in a repository {what}",
            Step("PUT", f"/v2/{name}/manifests/v1", 400, image(), code="NAME_INVALID"),
        )
        for what, name in list(_WRONG.items())[5:9]
    ),
    *(
        row(f"a blob in a repository {what}", Step("GET", f"/v2/{name}/blobs/{D}", 400, code="NAME_INVALID"))
        for what, name in list(_WRONG.items())[5:9]
    ),
    row(
        "a repository of 255 characters",
        pushed("v1", to=LONGEST),
        get(digest(image()), of=LONGEST, shows=image()),
        Step("GET", f"/v2/{LONGEST}/tags/list", 200, shows={"name": LONGEST, "tags": ["v1"]}),
    ),
    row(
        "a repository of 100 parts", upload(BLOB, to=DEEPEST), Step("GET", f"/v2/{DEEPEST}/blobs/{D}", 200, shows=BLOB)
    ),
    row("a repository of one word", upload(BLOB, to="word"), Step("GET", f"/v2/word/blobs/{D}", 200, shows=BLOB)),
    row(
        "a repository with all that names have",
        upload(BLOB, to="rows/a.b_c__d-e---f/0"),
        Step("GET", f"/v2/rows/a.b_c__d-e---f/0/blobs/{D}", 200, shows=BLOB),
    ),
    row("a repository whose slash is written otherwise", Step("GET", f"/v2/shelf%2Fall/blobs/{D}", 200, shows=BLOB)),
    row("a repository in upper case that is read", Step("GET", f"/v2/Shelf/ALL/blobs/{D}", 200, shows=BLOB)),
    row("a repository with a line end", Step("POST", "/v2/rows/a%0ab/blobs/uploads/", 404, code="UNSUPPORTED")),
    row(
        "repositories named as parts of paths are",
        pushed("v1", to="rows/blobs/uploads"),
        Step("GET", f"/v2/rows/blobs/uploads/blobs/{D}", 200, shows=BLOB),
        Step("GET", "/v2/rows/blobs/uploads/tags/list", 200, shows={"name": "rows/blobs/uploads", "tags": ["v1"]}),
    ),
    row(
        "a repository named manifests",
        pushed("tags", to="rows/manifests"),
        get("tags", of="rows/manifests", shows=image()),
    ),
    row("a repository in a repository", upload(b"x"), upload(BLOB, to="<repo>/in"), Step("GET", f"blobs/{D}", 404)),
    row("a tag that is a path", image_parts(), put(image(), "..%2f..%2fx", 404), get(digest(image()), 404)),
    row(
        "a tag of two dots",
        image_parts(),
        put(image(), "%2e%2e", 400, code="MANIFEST_INVALID"),
        get(digest(image()), 404),
    ),
    row("a digest that is a path", upload(BLOB), Step("GET", "blobs/sha256:..%2f..%2fx", 404)),
    row("a digest of two dots", upload(BLOB), Step("GET", "blobs/%2e%2e", 400, code="DIGEST_INVALID")),
    row("an upload of two dots", Step("PATCH", "blobs/uploads/%2e%2e", 404, BLOB, code="BLOB_UPLOAD_UNKNOWN")),
    row("an upload that is a path", Step("PATCH", "blobs/uploads/..%2f..%2fx", 404, BLOB)),
    row("an upload with a zero byte", Step("PATCH", "blobs/uploads/%00", 404, BLOB, code="BLOB_UPLOAD_UNKNOWN")),
]
