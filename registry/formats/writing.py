"""Writing: a model in the form in which a registry is to have it. Pure.

The same model makes the same bytes, and every form leads back to the model's very manifest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import msgspec

from ...store import layout
from ...store.errors import InputError, shown
from ...store.kept import Original
from ...store.manifest import MANIFEST_TYPE, Descriptor, Manifest
from . import modelpack
from .document import OCI_MANIFEST, Document
from .packed import once
from .reading import recognise

Form: TypeAlias = Literal["ollama", "oci", "modelpack"]
FORMS: tuple[Form, ...] = get_args(Form)


@dataclass(frozen=True, slots=True)
class Outgoing:
    """What is sent to a registry: blobs first, then the manifest."""

    raw: bytes
    """The manifest."""
    media_type: str
    stored: tuple[Descriptor, ...]
    """Its blobs that are in the store, each once."""
    made: tuple[tuple[Descriptor, bytes], ...] = ()
    """Its blobs that are not."""


def form_of(name: str) -> Form:
    """The form of this name. Raises InputError."""
    for form in FORMS:
        if form == name:
            return form
    raise InputError(f"{shown(name)}: no such format", hint=f"a model is pushed as one of {', '.join(FORMS)}")


def pack(
    form: str, manifest: Manifest, read: Callable[[Descriptor], bytes], original: Original | None = None
) -> Outgoing:
    """The model in this form, one of FORMS; one that was pulled in it is sent as it was, so that signatures of it hold.

    `read` gives the content of a small blob of the model. Raises InputError for an unknown form, InvalidManifestError for a
    model with too many layers for a manifest in this one.
    """
    form = form_of(form)
    if form == "ollama" or (form == "oci" and _type_of(manifest) == OCI_MANIFEST):
        return Outgoing(manifest.raw, _type_of(manifest), once(manifest.blobs))
    if original and (again := _again(form, manifest, original)):
        return again
    if form == "oci":
        return Outgoing(layout.wrap(manifest), OCI_MANIFEST, once(manifest.blobs))
    raw, config = modelpack.write(manifest, read)
    return Outgoing(raw, OCI_MANIFEST, once(manifest.blobs), (config,))


def _again(form: Form, manifest: Manifest, original: Original) -> Outgoing | None:
    """The manifest that was pulled, where it has the form and all its blobs are here."""
    identity = str(original.digest)
    if recognise(original.raw, original.media_type, identity).format != form:
        return None
    document = Document.parse(original.raw, original.media_type, identity)
    own = {blob.digest for blob in manifest.blobs}
    blobs = once(document.manifest.blobs)
    if any(blob.digest not in own and blob.digest not in original.blobs for blob in blobs):
        return None
    stored = tuple(blob for blob in blobs if blob.digest in own)
    made = tuple((blob, original.blobs[blob.digest]) for blob in blobs if blob.digest not in own)
    return Outgoing(original.raw, document.media_type or OCI_MANIFEST, stored, made)


class _Typed(msgspec.Struct):
    media_type: str | None = msgspec.field(name="mediaType", default=None)


def _type_of(manifest: Manifest) -> str:
    """How a model's own manifest is sent. One that another tool made of Ollama's layers may be an OCI manifest."""
    try:
        said = msgspec.json.decode(manifest.raw, type=_Typed).media_type
    except msgspec.DecodeError:
        return MANIFEST_TYPE
    return OCI_MANIFEST if said == OCI_MANIFEST else MANIFEST_TYPE
