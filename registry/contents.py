"""Contents: what any OCI or docker manifest says of its parts, a model's or not: an image's, an index's, a signature's. Pure.

By image-spec 1.1. Where store/manifest.py is strict, as a model needs it, here only what is acted on is checked: media
types, digests and sizes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from ..store.digest import Digest
from ..store.errors import InvalidDigestError, InvalidManifestError, shown
from ..store.manifest import MAX_BLOB_BYTES, MAX_MANIFEST_BYTES, Descriptor

_MAX_PARTS = 10_000


@dataclass(frozen=True, slots=True)
class Part:
    """A part as its manifest describes it."""

    descriptor: Descriptor
    artifact_type: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict[str, str])
    platform: str = ""
    """`os/architecture`, where an index names it."""

    def to_json(self) -> dict[str, Any]:
        """The fields that are set, as in an index."""
        fields: dict[str, Any] = dict(self.descriptor.to_json())
        if self.artifact_type:
            fields["artifactType"] = self.artifact_type
        if self.annotations:
            fields["annotations"] = dict(self.annotations)
        return fields


@dataclass(frozen=True, slots=True)
class Contents:
    """A manifest's parts."""

    media_type: str = ""
    """What it says it is itself; older ones say nothing."""
    artifact_type: str = ""
    """What it says of itself; else its config's media type."""
    config: Part | None = None
    layers: tuple[Part, ...] = ()
    manifests: tuple[Part, ...] = ()
    """An index's."""
    subject: Part | None = None
    """The manifest that this one is about."""
    annotations: Mapping[str, str] = field(default_factory=dict[str, str])

    @classmethod
    def parse(cls, raw: bytes, identity: str) -> Contents:
        """Read a manifest's bytes. Raises InvalidManifestError, naming `identity`."""
        if len(raw) > MAX_MANIFEST_BYTES:
            raise InvalidManifestError(identity, f"{len(raw)} bytes, at most {MAX_MANIFEST_BYTES} are read")
        try:
            wire = _decoder.decode(raw)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as cause:
            raise InvalidManifestError(identity, str(cause)) from None
        if wire.schema_version != 2:
            raise InvalidManifestError(identity, f"schemaVersion is {wire.schema_version}, expected 2")
        layers, manifests = wire.layers or [], wire.manifests or []
        if len(layers) + len(manifests) > _MAX_PARTS:
            raise InvalidManifestError(identity, f"{len(layers) + len(manifests)} parts, at most {_MAX_PARTS} are read")
        config = _part(wire.config, identity, "config") if wire.config else None
        return cls(
            wire.media_type or "",
            wire.artifact_type or (config.descriptor.media_type if config else ""),
            config,
            tuple(_part(layer, identity, f"layer {i}") for i, layer in enumerate(layers)),
            tuple(_part(manifest, identity, f"manifest {i}") for i, manifest in enumerate(manifests)),
            _part(wire.subject, identity, "subject") if wire.subject else None,
            wire.annotations or {},
        )

    @property
    def blobs(self) -> tuple[Descriptor, ...]:
        """Every blob it names, once: layers, then the config."""
        parts = [*self.layers, *([self.config] if self.config else [])]
        return tuple({part.descriptor.digest: part.descriptor for part in parts}.values())

    def described(self, digest: Digest, media_type: str, size: int) -> Part:
        """The manifest itself, of so many bytes, as an index would name it."""
        return Part(Descriptor(media_type, digest, size), self.artifact_type, self.annotations)

    @property
    def size(self) -> int:
        """In bytes, of all its blobs; of an index, of its manifests."""
        return sum(blob.size for blob in (*self.blobs, *(part.descriptor for part in self.manifests)))


class _WirePlatform(msgspec.Struct):
    architecture: str = ""
    os: str = ""


class _WirePart(msgspec.Struct):
    digest: str
    size: int
    media_type: str = msgspec.field(name="mediaType", default="")
    artifact_type: str | None = msgspec.field(name="artifactType", default=None)
    annotations: dict[str, str] | None = None
    platform: _WirePlatform | None = None


class _WireContents(msgspec.Struct):
    schema_version: int = msgspec.field(name="schemaVersion")
    media_type: str | None = msgspec.field(name="mediaType", default=None)
    artifact_type: str | None = msgspec.field(name="artifactType", default=None)
    config: _WirePart | None = None
    layers: list[_WirePart] | None = None
    manifests: list[_WirePart] | None = None
    subject: _WirePart | None = None
    annotations: dict[str, str] | None = None


_decoder = msgspec.json.Decoder(_WireContents)


def _part(wire: _WirePart, identity: str, where: str) -> Part:
    try:
        digest = Digest.parse(wire.digest)
    except InvalidDigestError:
        raise InvalidManifestError(identity, f"{where}: {shown(wire.digest)} is not a digest") from None
    if not 0 <= wire.size <= MAX_BLOB_BYTES:
        raise InvalidManifestError(
            identity, f"{where}: size is {shown(str(wire.size), 20)}, expected 0 to {MAX_BLOB_BYTES}"
        )
    platform = f"{wire.platform.os}/{wire.platform.architecture}" if wire.platform else ""
    descriptor = Descriptor(wire.media_type, digest, wire.size)
    return Part(descriptor, wire.artifact_type or "", wire.annotations or {}, platform)
