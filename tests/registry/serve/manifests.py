"""Manifests: rows of what may be pushed and comes back to the byte."""

from __future__ import annotations

import json
from typing import Any

from tests.registry.serve.documents import (
    BLOB,
    CONFIG,
    CONFIG_TYPE,
    DOCKER,
    DOCKER_LIST,
    EMPTY,
    EMPTY_TYPE,
    INDEX,
    LAYER_TYPE,
    MANIFEST,
    SHELF,
    artifact,
    described,
    digest,
    encoded,
    get,
    image,
    image_parts,
    index,
    pushed,
    put,
    upload,
)
from tests.registry.serve.table import Row, row

IMAGE = image()
M, M512 = digest(IMAGE), digest(IMAGE, "sha512")
OTHER_IMAGE = image(annotations={"which": "other"})
THING = "application/vnd.example.thing.v1+json"
FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
MOST = 4 << 20
"""Bytes that every registry has to take."""


def sized(count: int) -> bytes:
    """An image of so many bytes."""
    empty = image(annotations={"padding": ""})
    return image(annotations={"padding": "x" * (count - len(empty))})


def _kept(name: str, raw: bytes, media_type: str = MANIFEST, given: str = "", parts: Any = None) -> Row:
    """Whatever it is, it comes back to the byte, under its digest and its tag, as what it was sent as."""
    to = SHELF if parts is None else "<repo>"
    headers = {
        "Content-Type": given or media_type,
        "Docker-Content-Digest": digest(raw),
        "Content-Length": str(len(raw)),
    }
    kind = given or media_type
    return row(
        name,
        () if parts is None else parts,
        put(raw, "<tag>", media_type=media_type, to=to, gives={"Location": "*", "Docker-Content-Digest": digest(raw)}),
        get("<tag>", media_type=kind, of=to, gives=headers, shows=raw),
        get(digest(raw), media_type=kind, of=to, gives=headers, shows=raw),
    )


def _docker(**fields: Any) -> bytes:
    config = described(CONFIG, "application/vnd.docker.container.image.v1+json")
    layer = described(BLOB, "application/vnd.docker.image.rootfs.diff.tar.gzip")
    return image(mediaType=DOCKER, config=config, layers=[layer], **fields)


_ANY = [
    _kept("an OCI image", IMAGE),
    _kept("a docker image", _docker(), DOCKER),
    _kept("an image that does not say what it is", image(mediaType=None)),
    _kept("an image that alone says what it is", IMAGE, "", MANIFEST),
    _kept("an image sent as JSON", IMAGE, "application/json", MANIFEST),
    _kept("an image whose type has a parameter", IMAGE, f"{MANIFEST}; charset=utf-8", MANIFEST),
    _kept("an image without layers", image(layers=[])),
    _kept("an image that names a layer twice", image(layers=[described(BLOB, LAYER_TYPE)] * 2)),
    _kept("an uncompressed layer", image(layers=[described(BLOB, LAYER_TYPE.removesuffix("+gzip"))])),
    _kept("an artifact without content", artifact()),
    _kept("an artifact without layers", artifact(layers=None)),
    _kept("an artifact whose layers are null", artifact().replace(b'"layers":[', b'"layers":null,"x":[')),
    _kept("an artifact with a config of its own", image(config=described(CONFIG, "application/vnd.example.config"))),
    _kept("data in a descriptor", artifact(config=described(EMPTY, EMPTY_TYPE, data="e30="))),
    _kept("fields that nobody knows", image(unknown={"a": [1, 2.50, None, "\u2603"]}, org={"x": True})),
    _kept("annotations", image(annotations={"org.example.key": "value", "empty": "", "snow": "\u2603"})),
    _kept(
        "white space and line ends",
        json.dumps(json.loads(IMAGE), indent="\t").encode().replace(b"\n", b"\r\n") + b"\n\n",
    ),
    _kept("numbers in another form", IMAGE.replace(b'"size":26', b'"size":26,"more":[1E400,-0.0,1e-9]')),
    _kept("a manifest of just under 4 MiB", sized(MOST - 1)),
    _kept("a manifest of 4 MiB", sized(MOST)),
    _kept(
        "a layer that is not for registries",
        image(
            layers=[
                described(
                    b"gone", "application/vnd.oci.image.layer.nondistributable.v1.tar", urls=["https://example.com/x"]
                )
            ]
        ),
    ),
    _kept(
        "a layer that is elsewhere",
        image(
            mediaType=DOCKER,
            config=described(CONFIG, "application/vnd.docker.container.image.v1+json"),
            layers=[described(b"gone", FOREIGN, urls=["https://example.com/x"])],
        ),
        DOCKER,
    ),
    _kept(
        "a config and layers by sha512",
        image(config=described(CONFIG, CONFIG_TYPE, "sha512"), layers=[described(BLOB, LAYER_TYPE, "sha512")]),
        parts=upload(CONFIG, BLOB, algorithm="sha512"),
    ),
    _kept("a type that nobody knows", encoded({"anything": ["goes"]}), THING, parts=()),
    _kept("a type that nobody knows, and no JSON", b"\x00\xff bytes", "application/vnd.example.bytes", parts=()),
    _kept("an index", index(IMAGE), INDEX),
    _kept(
        "an index that does not say what it is",
        index(IMAGE, mediaType=INDEX).replace(b'"mediaType":"%s",' % INDEX.encode(), b""),
        INDEX,
    ),
    _kept(
        "a docker list",
        index(_docker(), mediaType=DOCKER_LIST).replace(MANIFEST.encode(), DOCKER.encode()),
        DOCKER_LIST,
        parts=[*image_parts(), put(_docker(), media_type=DOCKER)],
    ),
    _kept("an index of nothing", index(), INDEX, parts=()),
    _kept(
        "an index of an index",
        index().replace(b"[]", b"[%s]" % encoded(described(index(IMAGE), INDEX))),
        INDEX,
        parts=[*pushed("v1"), put(index(IMAGE), "inner", media_type=INDEX)],
    ),
    _kept("an index of what is not here", index(IMAGE, OTHER_IMAGE), INDEX),
    _kept("an index of nothing that is here", index(IMAGE), INDEX, parts=()),
    _kept("an index that is an artifact", index(IMAGE, artifactType=THING, annotations={"a": "b"}), INDEX),
]

_SUBJECT = described(IMAGE, MANIFEST)
_SUBJECT_512 = described(IMAGE, MANIFEST, "sha512")
_SUBJECTS = [
    row(
        "a manifest about another",
        pushed("v1"),
        upload(EMPTY),
        put(artifact(subject=_SUBJECT), "about", gives={"OCI-Subject": M}),
    ),
    row(
        "a manifest about one that is not here",
        upload(EMPTY),
        put(artifact(subject=_SUBJECT), "about", gives={"OCI-Subject": M}),
    ),
    row(
        "a manifest about one by sha512",
        upload(EMPTY),
        put(artifact(subject=_SUBJECT_512), "about", gives={"OCI-Subject": M512}),
    ),
    row(
        "an index about another",
        pushed("v1"),
        put(index(subject=_SUBJECT), "about", media_type=INDEX, gives={"OCI-Subject": M}),
    ),
    row("a manifest about none", image_parts(), put(IMAGE, gives={"OCI-Subject": None})),
]

MANIFESTS = [*_ANY, *_SUBJECTS]
