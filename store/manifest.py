"""Descriptor and Manifest: how a model is put together from blobs, in Ollama's docker-v2 form.

A Manifest keeps the raw bytes it was read from, and its digest is theirs: what was pulled stays byte-identical. Manifests
made here have one canonical layer order and never Ollama's `from`, so their digest depends only on layers and config. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from . import gojson
from .digest import Digest
from .errors import AGAIN, InvalidDigestError, InvalidManifestError, shown

MANIFEST_TYPE = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG_TYPE = "application/vnd.docker.container.image.v1+json"

_LAYER = "application/vnd.ollama.image."
MODEL, PROJECTOR, ADAPTER, DRAFT = (_LAYER + kind for kind in ("model", "projector", "adapter", "draft"))
TEMPLATE, SYSTEM, PARAMS, MESSAGES, LICENSE = (
    _LAYER + kind for kind in ("template", "system", "params", "messages", "license")
)
PROMPT = _LAYER + "prompt"
"""The legacy spelling of TEMPLATE."""

CANONICAL_ORDER = (MODEL, PROJECTOR, ADAPTER, DRAFT, TEMPLATE, SYSTEM, PARAMS, MESSAGES, LICENSE)

MAX_MANIFEST_BYTES = 4 << 20
MAX_BLOB_BYTES = 16 << 40
_MAX_LAYERS = 10_000


@dataclass(frozen=True, slots=True)
class Descriptor:
    """Content by media type, digest and size in bytes; never by path."""

    media_type: str
    digest: Digest
    size: int

    def to_json(self) -> dict[str, gojson.Json]:
        """The fields in manifest order."""
        return {"mediaType": self.media_type, "digest": str(self.digest), "size": self.size}


@dataclass(frozen=True, slots=True)
class Manifest:
    """A model: a config and layers. Equality and identity are those of `raw`."""

    raw: bytes
    config: Descriptor = field(compare=False)
    layers: tuple[Descriptor, ...] = field(compare=False)

    @classmethod
    def build(cls, config: Descriptor, layers: list[Descriptor]) -> Manifest:
        """The canonical manifest of these parts: compact JSON and a newline, layers in CANONICAL_ORDER."""
        ordered = sorted(layers, key=_canonical_rank)
        document: dict[str, gojson.Json] = {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": config.to_json(),
            "layers": [layer.to_json() for layer in ordered],
        }
        return cls(gojson.encode(document), config, tuple(ordered))

    @classmethod
    def parse(cls, raw: bytes, identity: str = "manifest") -> Manifest:
        """Read and check a manifest's bytes, from a store or a registry.

        Raises InvalidManifestError, naming `identity`, when any part is missing, ill-typed or out of bounds.
        """
        if len(raw) > MAX_MANIFEST_BYTES:
            raise InvalidManifestError(identity, f"{len(raw)} bytes, at most {MAX_MANIFEST_BYTES} are read")
        if not raw.strip():
            raise InvalidManifestError(identity, "the file is empty", hint=AGAIN)
        try:
            document = _decoder.decode(raw)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as cause:
            raise InvalidManifestError(identity, str(cause)) from None
        if document.schema_version != 2:
            raise InvalidManifestError(identity, f"schemaVersion is {document.schema_version}, expected 2")
        layers = document.layers or []
        if len(layers) > _MAX_LAYERS:
            raise InvalidManifestError(identity, f"{len(layers)} layers, at most {_MAX_LAYERS} are read")
        return cls(
            raw,
            _descriptor(document.config, identity, "config"),
            tuple(_descriptor(layer, identity, f"layer {i}") for i, layer in enumerate(layers)),
        )

    @property
    def digest(self) -> Digest:
        """The sha256 of the raw bytes: Ollama's model ID."""
        return Digest.of(self.raw)

    @property
    def size(self) -> int:
        """The model's size in bytes: all layers and the config."""
        return sum(blob.size for blob in self.blobs)

    @property
    def blobs(self) -> tuple[Descriptor, ...]:
        """Every blob the manifest names: layers, then the config."""
        return (*self.layers, self.config)

    def of_type(self, *media_types: str) -> tuple[Descriptor, ...]:
        """The layers of these media types, in manifest order."""
        return tuple(layer for layer in self.layers if layer.media_type in media_types)


class _WireDescriptor(msgspec.Struct):
    digest: str
    size: int
    media_type: str = msgspec.field(name="mediaType")


class _WireManifest(msgspec.Struct):
    config: _WireDescriptor
    layers: list[_WireDescriptor] | None
    """Ollama writes null for a model that runs elsewhere."""
    schema_version: int = msgspec.field(name="schemaVersion")


_decoder = msgspec.json.Decoder(_WireManifest)


def _descriptor(wire: _WireDescriptor, identity: str, where: str) -> Descriptor:
    try:
        digest = Digest.parse(wire.digest)
    except InvalidDigestError:
        raise InvalidManifestError(identity, f"{where}: {shown(wire.digest)} is not a digest") from None
    if not 0 <= wire.size <= MAX_BLOB_BYTES:
        raise InvalidManifestError(
            identity, f"{where}: size is {shown(str(wire.size), 20)}, expected 0 to {MAX_BLOB_BYTES}"
        )
    return Descriptor(wire.media_type, digest, wire.size)


def _canonical_rank(layer: Descriptor) -> int:
    known = layer.media_type in CANONICAL_ORDER
    return CANONICAL_ORDER.index(layer.media_type) if known else len(CANONICAL_ORDER)
