"""Plain artifacts, as `oras push` makes them: files whose layers have a title, one of them a GGUF. Pure."""

from __future__ import annotations

import re
from dataclasses import replace

from ...store.manifest import LICENSE, MODEL, PROJECTOR, Descriptor
from .document import OCI_MANIFEST, Document, file_of, is_license, is_projector
from .files import File, gathered
from .ollama import TYPES
from .packed import Packed

NAME = "oras"
_WEIGHTS = re.compile(re.escape(TYPES) + "(model|projector|adapter|draft)")
_PACKED = re.compile(r"\+(gzip|zstd)$")
_IMAGES = ("application/vnd.oci.image.config.", "application/vnd.docker.container.image.")


def read(document: Document) -> Packed | None:
    """The model among an artifact's files; None where there is no GGUF. Layers of Ollama's types are what these say."""
    if document.media_type not in ("", OCI_MANIFEST) or document.config.media_type.startswith(_IMAGES):
        return None
    weights: list[File] = []
    texts: list[Descriptor] = []
    for layer in document.layers:
        blob, name = layer.descriptor, file_of(layer)
        if _WEIGHTS.fullmatch(blob.media_type):
            weights.append(File(name, blob))
        elif blob.media_type.startswith(TYPES):
            texts.append(blob)
        elif _is_gguf(name, blob.media_type):
            weights.append(File(name, replace(blob, media_type=PROJECTOR if is_projector(name) else MODEL)))
        elif is_license(name):
            texts.append(replace(blob, media_type=LICENSE))
    return gathered(NAME, document, weights, texts) if weights else None


def _is_gguf(name: str, media_type: str) -> bool:
    """Whether a layer is a GGUF as it is; oras gives every file the type of a tar where no other is asked for."""
    if _PACKED.search(media_type) or "imatrix" in name.lower():
        return False
    return name.lower().endswith(".gguf") or (not name.endswith(".json") and "gguf" in media_type.lower())
