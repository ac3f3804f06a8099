"""The OCI form: Ollama's layers under an OCI image manifest, which every registry's tools can carry. Pure.

It is written as `corral export` writes it (store/layout.py): the model's own manifest is an annotation of it, to the byte.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable

from ...store.digest import Digest
from ...store.layout import ORIGINAL
from ...store.manifest import Manifest
from .document import MODELPACK, OCI_MANIFEST, Document
from .ollama import is_model
from .packed import Packed, Whole

NAME = "oci"
_NOTHING = 2
"""Bytes of a config with nothing in it: `{}`, or none."""


def read(document: Document) -> Packed | None:
    """The model that was wrapped so, or the manifest itself where another tool made it of Ollama's parts; else None."""
    if document.media_type != OCI_MANIFEST or document.contents.artifact_type == MODELPACK:
        return None
    if ORIGINAL in document.contents.annotations:
        named = {blob.digest for blob in document.manifest.blobs}
        return Whole(NAME, original_of(document, lambda digests: digests == named))
    is_whole = is_model(document) and document.config.size > _NOTHING
    return Whole(NAME, document.manifest) if is_whole else None


def original_of(document: Document, is_right: Callable[[set[Digest]], bool]) -> Manifest:
    """The model's own manifest out of the annotation, if it names the right blobs. Raises InvalidManifestError."""
    try:
        raw = base64.b64decode(document.contents.annotations[ORIGINAL], validate=True)
    except (binascii.Error, ValueError):
        raise document.wrong(f"its annotation {ORIGINAL} is not base64") from None
    model = Manifest.parse(raw, document.identity)
    sizes = {blob.digest: blob.size for blob in document.manifest.blobs}
    is_told_the_same = all(sizes.get(blob.digest) == blob.size for blob in model.blobs)
    if not is_told_the_same or not is_right({blob.digest for blob in model.blobs}):
        raise document.wrong(f"its annotation {ORIGINAL} and the manifest around it name different blobs")
    return model


def annotations_of(manifest: Manifest) -> dict[str, str]:
    """The annotation that original_of() reads."""
    return {ORIGINAL: base64.b64encode(manifest.raw).decode()}
