"""Ollama's own form: a docker manifest whose layers say what they are (ollama/manifest, v0.33). Pure."""

from __future__ import annotations

from ...store.manifest import CONFIG_TYPE
from .document import OCI_MANIFEST, Document
from .packed import Packed, Whole

NAME = "ollama"
TYPES = "application/vnd.ollama.image."
"""How the media types of Ollama's layers begin."""


def read(document: Document) -> Packed | None:
    """The model of such a manifest, which is kept to the byte; None for any other."""
    if document.media_type == OCI_MANIFEST or not is_model(document):
        return None
    return Whole(NAME, document.manifest)


def is_model(document: Document) -> bool:
    """Whether the layers are Ollama's. A model that runs elsewhere has none at all."""
    types = [layer.descriptor.media_type for layer in document.layers]
    return any(kind.startswith(TYPES) for kind in types) or (not types and document.config.media_type == CONFIG_TYPE)
