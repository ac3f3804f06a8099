"""Documents: blobs and manifests to send, and the steps that send them."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from tests.registry.serve.table import Step

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip"
EMPTY_TYPE = "application/vnd.oci.empty.v1+json"

BLOB = b"abcdefghijklmnopqrstuvwxyz"
CONFIG = b'{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}'
EMPTY = b"{}"
SHELF = "shelf/all"
"""A repository that has all of this before the rows begin, and IMAGE as `v1`. Rows that add to it keep to their own tags."""
NONE = "sha256:" + "0" * 64
"""The digest of nothing."""


def digest(data: bytes, algorithm: str = "sha256") -> str:
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


def described(content: bytes, media_type: str, algorithm: str = "sha256", **fields: Any) -> dict[str, Any]:
    """A descriptor."""
    return {"mediaType": media_type, "digest": digest(content, algorithm), "size": len(content), **fields}


def encoded(document: Any) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


def image(**fields: Any) -> bytes:
    """An image of CONFIG and BLOB; a field of None is left out."""
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": described(CONFIG, CONFIG_TYPE),
        "layers": [described(BLOB, LAYER_TYPE)],
        **fields,
    }
    return encoded({key: value for key, value in document.items() if value is not None})


def artifact(**fields: Any) -> bytes:
    """One without content, by image-spec 1.1."""
    empty = described(EMPTY, EMPTY_TYPE)
    return image(**{"artifactType": "application/vnd.example.thing", "config": empty, "layers": [empty], **fields})


def index(*manifests: bytes, **fields: Any) -> bytes:
    """An index of images."""
    parts = [described(raw, MANIFEST, platform={"os": "linux", "architecture": "amd64"}) for raw in manifests]
    return encoded({"schemaVersion": 2, "mediaType": INDEX, "manifests": parts, **fields})


def upload(*blobs: bytes, to: str = "<repo>", algorithm: str = "sha256") -> list[Step]:
    """The steps that send blobs."""
    steps: list[Step] = []
    for blob in blobs:
        steps.append(Step("POST", f"/v2/{to}/blobs/uploads/", 202))
        steps.append(Step("PUT", f"<upload?>digest={digest(blob, algorithm)}", 201, blob))
    return steps


def put(
    raw: bytes, reference: str = "v1", status: int = 201, media_type: str = MANIFEST, to: str = "<repo>", **more: Any
) -> Step:
    """The step that sends a manifest."""
    headers = {"Content-Type": media_type} if media_type else {}
    return Step("PUT", f"/v2/{to}/manifests/{reference}", status, raw, headers, **more)


def get(reference: str, status: int = 200, media_type: str = MANIFEST, of: str = "<repo>", **more: Any) -> Step:
    """The step that asks for a manifest."""
    return Step("GET", f"/v2/{of}/manifests/{reference}", status, headers={"Accept": media_type}, **more)


def image_parts(to: str = "<repo>") -> list[Step]:
    """The steps that send what image() names."""
    return upload(CONFIG, BLOB, to=to)


def pushed(*tags: str, raw: bytes = b"", to: str = "<repo>") -> list[Step]:
    """The steps that send an image under these tags."""
    return [*image_parts(to), *(put(raw or image(), tag, to=to) for tag in tags)]
