"""Refused manifests: rows of what is no manifest, says something wrong of itself, or names what is not there."""

from __future__ import annotations

from typing import Any

from tests.registry.serve.documents import (
    BLOB,
    CONFIG,
    CONFIG_TYPE,
    DOCKER,
    INDEX,
    LAYER_TYPE,
    MANIFEST,
    SHELF,
    described,
    digest,
    encoded,
    get,
    image,
    image_parts,
    index,
    put,
    upload,
)
from tests.registry.serve.manifests import MOST, sized
from tests.registry.serve.table import Row, row


def _refused(
    name: str, raw: bytes, media_type: str = MANIFEST, status: int = 400, code: str = "MANIFEST_INVALID"
) -> Row:
    step = put(raw, "<tag>", status, media_type, SHELF, code=code)
    return row(name, step, get("<tag>", 404, of=SHELF), get(digest(raw), 404, of=SHELF))


def _layer(**fields: Any) -> bytes:
    return image(layers=[{**described(BLOB, LAYER_TYPE), **fields}])


_IMAGE = image(annotations={"to": "be refused"})
REFUSED_MANIFESTS = [
    _refused("a manifest of no bytes", b""),
    _refused("a manifest that is no JSON", b"hello"),
    _refused("a manifest that is cut off", _IMAGE[:-1]),
    _refused("a manifest with something behind it", _IMAGE + b"}"),
    _refused("a manifest that is a list", b"[]"),
    _refused("a manifest that is null", b"null"),
    _refused("a manifest of nothing", b"{}"),
    _refused("a manifest that is not UTF-8", image(annotations={"a": "x"}).replace(b'"x"', b'"\xff"')),
    _refused("a manifest with half a character", image(annotations={"a": "x"}).replace(b'"x"', b'"\\ud800"')),
    _refused("a manifest of schema 1", image(schemaVersion=1)),
    _refused("a manifest of schema 3", image(schemaVersion=3)),
    _refused("a manifest of a schema in words", image(schemaVersion="2")),
    _refused("a manifest of no schema", image(schemaVersion=None)),
    _refused("a manifest without a config", image(config=None)),
    _refused("a manifest whose config is null", _IMAGE.replace(b'"config":', b'"config":null,"x":')),
    _refused("a manifest whose config is a list", image(config=[])),
    _refused("a manifest whose layers are none", image(layers={"a": 1})),
    _refused("a layer without a digest", image(layers=[{"mediaType": LAYER_TYPE, "size": 1}])),
    _refused("a layer without a size", image(layers=[{"mediaType": LAYER_TYPE, "digest": digest(BLOB)}])),
    _refused("a layer whose digest is none", _layer(digest="sha256:abc")),
    _refused("a layer whose digest is a path", _layer(digest="sha256:../../../../etc/passwd")),
    _refused("a layer whose digest is of an unknown kind", _layer(digest=f"md5:{'0' * 32}")),
    _refused("a layer whose size is negative", _layer(size=-1)),
    _refused("a layer whose size is a fraction", _layer(size=26.5)),
    _refused("a layer whose size is in words", _layer(size="26")),
    _refused("a layer whose size is beyond all", _layer(size=10**18)),
    _refused("a layer whose size has 5000 digits", _layer(size=0).replace(b'"size":0', b'"size":' + b"9" * 5000)),
    _refused("a layer of another size", _layer(size=27)),
    _refused("a config of another size", image(config={**described(CONFIG, CONFIG_TYPE), "size": 1})),
    _refused("a subject whose digest is none", image(subject={**described(b"", MANIFEST), "digest": "x"})),
    _refused("annotations that are a list", image(annotations=["a"])),
    _refused("annotations that are numbers", image(annotations={"a": 1})),
    _refused("a manifest that says it is another", _IMAGE, DOCKER),
    _refused("a manifest sent as an index", _IMAGE, INDEX),
    _refused("an index sent as a manifest", index(_IMAGE), MANIFEST),
    _refused("a manifest sent as what nobody knows", _IMAGE, "application/vnd.example.thing"),
    _refused("a manifest that is an index too", image(manifests=[described(_IMAGE, MANIFEST)])),
    _refused("an index with a config", index(_IMAGE, config=described(CONFIG, CONFIG_TYPE)), INDEX),
    _refused("an index of something that is none", index(_IMAGE, manifests=[1]), INDEX),
    _refused("an index of no digest", index(_IMAGE, manifests=[{**described(b"", MANIFEST), "digest": "x"}]), INDEX),
    _refused("a manifest that says it is a header", image(mediaType="a/b\r\nSet-Cookie: c=d"), ""),
    _refused("a manifest that says it is a header of its own kind", image(mediaType="a/b\r\nX: y"), "application/json"),
    _refused("a manifest of a type that is none", b"x", "nothing"),
    _refused("a manifest of a type of 300 characters", b"x", "application/" + "x" * 300),
    _refused("a manifest of more than 4 MiB", sized(MOST + 1), status=413, code="SIZE_INVALID"),
    _refused("a manifest of 100,000 brackets", b"[" * 100_000),
    _refused("a manifest of 100,000 braces", b'{"a":' * 100_000),
    _refused("fields 100,000 deep", image(x="x").replace(b'"x":"x"', b'"x":' + b"[" * 100_000 + b"]" * 100_000)),
    _refused("a manifest of 15,000 layers", image(layers=[{"digest": digest(BLOB), "size": 26}] * 15_000)),
    row(
        "a missing layer",
        upload(CONFIG),
        put(_IMAGE, status=400, code="MANIFEST_BLOB_UNKNOWN"),
        get("v1", 404),
    ),
    row("a missing config", upload(BLOB), put(_IMAGE, status=400, code="MANIFEST_BLOB_UNKNOWN"), get("v1", 404)),
    row("all blobs missing", put(_IMAGE, status=400, code="MANIFEST_BLOB_UNKNOWN")),
    row(
        "blobs that only another repository has",
        image_parts("<other>"),
        put(_IMAGE, status=400, code="MANIFEST_BLOB_UNKNOWN"),
        get(digest(_IMAGE), 404),
    ),
    row(
        "a missing layer is named",
        upload(CONFIG),
        put(
            _IMAGE,
            status=400,
            shows={
                "errors": [
                    {
                        "code": "MANIFEST_BLOB_UNKNOWN",
                        "message": f"<repo> has no blob {digest(BLOB)}",
                        "detail": [{"digest": digest(BLOB)}],
                    }
                ]
            },
        ),
    ),
    row(
        "a missing layer that comes later",
        upload(CONFIG),
        put(_IMAGE, status=400),
        upload(BLOB),
        put(_IMAGE),
        get("v1", shows=_IMAGE),
    ),
    row(
        "a refused manifest leaves the tag as it was",
        image_parts(),
        put(_IMAGE),
        put(encoded({"schemaVersion": 2}), status=400, code="MANIFEST_INVALID"),
        get("v1", shows=_IMAGE),
    ),
]
