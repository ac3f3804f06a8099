"""A model's identity for people and programs: the manifest's digest and every layer's media type, digest and size."""

from __future__ import annotations

from typing import Any

from ..store.manifest import Manifest
from ..store.name import Name
from . import console
from .units import human_bytes


def layers_json(manifest: Manifest) -> dict[str, Any]:
    """The parts as the manifest has them."""
    return {
        "digest": str(manifest.digest),
        "config": manifest.config.to_json(),
        "layers": [layer.to_json() for layer in manifest.layers],
    }


def print_layers(name: Name, manifest: Manifest) -> None:
    """Name and digest, then a row a layer."""
    console.out(f"{name} {manifest.digest}")
    for blob in manifest.blobs:
        console.out(f"  {blob.digest} {human_bytes(blob.size):>8} {console.clean(blob.media_type)}")
