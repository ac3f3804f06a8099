"""Layout: a model in the documents of an OCI image layout (image-spec v1.1), and out of them again. Pure.

Inside, the model is an OCI image manifest with the same layers and the same config, so that any tool can carry it. The
model's own manifest, to the byte, is an annotation of it: tools copy manifests as they are, but know nothing of further
blobs.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from . import gojson
from .digest import Digest
from .errors import InputError, InvalidArchiveError, InvalidDigestError, InvalidManifestError, InvalidNameError, shown
from .manifest import MANIFEST_TYPE, MAX_BLOB_BYTES, MAX_MANIFEST_BYTES, Descriptor, Manifest
from .name import Name

LAYOUT, INDEX = "oci-layout", "index.json"
MARK = b'{"imageLayoutVersion":"1.0.0"}'
"""The content of the file that makes a folder a layout."""
MAX_DOCUMENT = MAX_MANIFEST_BYTES
ORIGINAL = "vnd.corral.manifest"
"""The annotation with the model's own manifest, in base64: its digest is the model's, so not a byte may change."""

_OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_OCI_INDEX = "application/vnd.oci.image.index.v1+json"
_REF_NAME = "org.opencontainers.image.ref.name"
_OLLAMAS = "application/vnd.ollama.image."
_BLOB = re.compile(r"blobs/sha256/([0-9a-f]{64})")


def file_of(digest: Digest) -> str:
    """Where a layout has a blob."""
    return f"blobs/{digest.algorithm}/{digest.hex}"


def digest_of(file: str) -> Digest | None:
    """The blob that a layout has at this place; None for any other file."""
    found = _BLOB.fullmatch(file)
    return Digest("sha256", found[1]) if found else None


def wrap(model: Manifest) -> bytes:
    """The OCI image manifest of a model. Raises InvalidManifestError for one that is too large for any reader of it."""
    document: dict[str, gojson.Json] = {
        "schemaVersion": 2,
        "mediaType": _OCI_MANIFEST,
        "config": model.config.to_json(),
        "layers": [layer.to_json() for layer in model.layers],
        "annotations": {ORIGINAL: base64.b64encode(model.raw).decode()},
    }
    raw = gojson.encode(document)
    if len(raw) > MAX_DOCUMENT:
        why = f"an image manifest of it has {len(raw)} bytes, at most {MAX_DOCUMENT} are read"
        raise InvalidManifestError(str(model.digest), why)
    return raw


def unwrap(raw: bytes, identity: str) -> Manifest:
    """The model of an image manifest: the one it was made of, or itself when its layers are of Ollama's types.

    Raises InvalidManifestError, InvalidArchiveError.
    """
    outer = Manifest.parse(raw, identity)
    try:
        kept = msgspec.json.decode(raw, type=_Annotated).annotations or {}
    except msgspec.DecodeError as cause:
        raise InvalidManifestError(identity, str(cause)) from None
    model = outer
    if ORIGINAL in kept:
        try:
            model = Manifest.parse(base64.b64decode(kept[ORIGINAL], validate=True), identity)
        except (binascii.Error, ValueError):
            raise InvalidArchiveError(identity, f"{ORIGINAL} is not base64") from None
        if _content(model) != _content(outer):
            raise InvalidArchiveError(identity, f"{ORIGINAL} and the image manifest around it name different blobs")
    elif not any(layer.media_type.startswith(_OLLAMAS) for layer in outer.layers):
        types = ", ".join(sorted({layer.media_type for layer in outer.layers})) or "none"
        raise InvalidArchiveError(identity, f"it is no model: no layer is of Ollama's types, but {shown(types)}")
    for blob in model.blobs:
        if blob.digest.algorithm != "sha256":
            raise InvalidArchiveError(identity, f"{blob.digest}: Ollama's store holds blobs by sha256 only")
    return model


def _content(model: Manifest) -> set[tuple[Digest, int]]:
    return {(blob.digest, blob.size) for blob in model.blobs}


def write_index(image: Descriptor, name: Name) -> bytes:
    """The index of a layout with one image."""
    entry: dict[str, gojson.Json] = {**image.to_json(), "annotations": {_REF_NAME: str(name)}}
    return gojson.encode({"schemaVersion": 2, "mediaType": _OCI_INDEX, "manifests": [entry]})


def image_of(document: bytes) -> Descriptor:
    """An image manifest as an index names it."""
    return Descriptor(_OCI_MANIFEST, Digest.of(document), len(document))


@dataclass(frozen=True, slots=True)
class Image:
    """An entry of an index."""

    manifest: Descriptor
    name: str
    """What the layout calls it, "" when it does not say."""


def check_mark(raw: bytes, identity: str) -> None:
    """Raise InvalidArchiveError unless this is the mark of a layout whose version is known."""
    try:
        version = msgspec.json.decode(raw, type=_Mark).version
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as cause:
        raise InvalidArchiveError(identity, f"{LAYOUT}: {cause}") from None
    if not version.startswith("1."):
        raise InvalidArchiveError(identity, f"{LAYOUT}: version {shown(version)}, expected 1.0.0")


def read_index(raw: bytes, identity: str) -> list[Image]:
    """The images of an index; what is something else is passed over. Raises InvalidArchiveError."""
    try:
        entries = msgspec.json.decode(raw, type=_Index).manifests
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as cause:
        raise InvalidArchiveError(identity, f"{INDEX}: {cause}") from None
    found: list[Image] = []
    for entry in entries:
        if entry.media_type not in (_OCI_MANIFEST, MANIFEST_TYPE):
            continue
        try:
            digest = Digest.parse(entry.digest)
        except InvalidDigestError:
            raise InvalidArchiveError(identity, f"{INDEX}: {shown(entry.digest)} is not a digest") from None
        if digest.algorithm != "sha256" or not 0 <= entry.size <= MAX_BLOB_BYTES:
            raise InvalidArchiveError(identity, f"{INDEX}: {digest} of {shown(str(entry.size), 20)} bytes")
        name = (entry.annotations or {}).get(_REF_NAME, "")
        found.append(Image(Descriptor(entry.media_type, digest, entry.size), name))
    return found


def choose(images: Sequence[Image], wanted: Name | None, identity: str) -> tuple[Descriptor, Name]:
    """The image to import and the name it gets: the only one, or of several the one called `wanted`.

    Raises InvalidArchiveError when there is none, InputError when it has to be said which or how to call it.
    """
    if not images:
        raise InvalidArchiveError(identity, "its index names no image")
    named = [(image, _name(image)) for image in images]
    same = [image for image, name in named if wanted and name and name.folded() == wanted.folded()]
    chosen = same or [image for image, _ in named]
    if len({image.manifest for image in chosen}) > 1:
        names = ", ".join(sorted(shown(image.name) for image in images)[:20])
        raise InputError(f"{identity}: holds several images: {names}", hint="give the name of one of them")
    name = wanted or _name(chosen[0])
    if name is None:
        said = f"calls it {shown(chosen[0].name)}" if chosen[0].name else "does not say what it is called"
        raise InputError(f"{identity}: {said}", hint="give the model a name behind the archive's")
    return chosen[0].manifest, name


def _name(image: Image) -> Name | None:
    try:
        return Name.parse(image.name)
    except InvalidNameError:
        return None


class _Annotated(msgspec.Struct):
    annotations: dict[str, str] | None = None


class _Mark(msgspec.Struct):
    version: str = msgspec.field(name="imageLayoutVersion")


class _Entry(msgspec.Struct):
    digest: str
    size: int
    media_type: str = msgspec.field(name="mediaType")
    annotations: dict[str, str] | None = None


class _Index(msgspec.Struct):
    manifests: list[_Entry]
