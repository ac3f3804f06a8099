"""Artifacts made by hand, and what pull and push do with any of them, in memory: a registry is a manifest and its blobs."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from corral.registry.formats.packed import Packed, Unpacked
from corral.registry.formats.reading import choose, recognise
from corral.registry.formats.writing import Outgoing
from corral.store import gguf
from corral.store.digest import Digest
from corral.store.gguf import GGUF
from corral.store.kept import MAX_BLOBS, MAX_BYTES, Original
from corral.store.manifest import Descriptor, Manifest

OCI = "application/vnd.oci.image.manifest.v1+json"
DOCKER = "application/vnd.docker.distribution.manifest.v2+json"
EMPTY = "application/vnd.oci.empty.v1+json"
FILEPATH, TITLE = "org.cncf.model.filepath", "org.opencontainers.image.title"


@dataclass(frozen=True)
class Layer:
    """A layer, or a config: its type, its content, its annotations."""

    media_type: str
    data: bytes
    annotations: Mapping[str, str] | None = None

    @property
    def blob(self) -> Descriptor:
        """It as a manifest names it."""
        return Descriptor(self.media_type, Digest.of(self.data), len(self.data))

    def to_json(self) -> dict[str, Any]:
        """The same in JSON."""
        return {**self.blob.to_json(), **({} if self.annotations is None else {"annotations": dict(self.annotations)})}


@dataclass(frozen=True)
class Artifact:
    """What a registry has."""

    raw: bytes
    blobs: Mapping[Digest, bytes]
    media_type: str = OCI

    def packed(self) -> Packed:
        """How it is recognised."""
        assert choose(self.raw, self.media_type, "x") is None
        return recognise(self.raw, self.media_type, "x")


def artifact(*layers: Layer, config: Layer | None = None, media_type: str = OCI, **fields: Any) -> Artifact:
    """One with these layers, its fields in no order of ours."""
    config = config or Layer(EMPTY, b"{}")
    document = {
        "layers": [layer.to_json() for layer in layers],
        "config": config.to_json(),
        "mediaType": media_type,
        "schemaVersion": 2,
    } | fields
    return Artifact(
        json.dumps(document).encode(), {Digest.of(part.data): part.data for part in (config, *layers)}, media_type
    )


@dataclass(frozen=True)
class Pulled:
    """A model as a store has it after a pull."""

    manifest: Manifest
    blobs: Mapping[Digest, bytes]
    original: Original

    @property
    def layers(self) -> list[tuple[str, bytes]]:
        """The layers' types, their last word only where they are Ollama's, and their contents."""
        return [
            (layer.media_type.removeprefix("application/vnd.ollama.image."), self.blobs[layer.digest])
            for layer in self.manifest.layers
        ]

    @property
    def config(self) -> dict[str, Any]:
        """What the config says."""
        return json.loads(self.blobs[self.manifest.config.digest])


def pulled(source: Artifact) -> Pulled:
    """The model of an artifact, by the steps of a pull."""
    packed = source.packed()
    for blob in (*packed.taken, *packed.small):
        assert len(source.blobs[blob.digest]) == blob.size
    for blobs in (packed.taken, packed.small):
        assert len({blob.digest for blob in blobs}) == len(blobs)
    assert len(packed.small) <= MAX_BLOBS
    assert all(blob.size <= MAX_BYTES for blob in packed.small)
    small = {blob.digest: source.blobs[blob.digest] for blob in packed.small}
    store = {blob.digest: source.blobs[blob.digest] for blob in packed.taken}
    unpacked = packed.model(small, lambda digest: read_header(store[digest]), no_parts)
    check(unpacked, store)
    own = {blob.digest for blob in unpacked.manifest.blobs}
    kept = {digest: data for digest, data in small.items() if digest not in own}
    return Pulled(unpacked.manifest, store, Original(source.media_type, source.raw, kept))


def check(unpacked: Unpacked, store: dict[Digest, bytes]) -> None:
    """Put in place what was made, and see that nothing of the model is missing and nothing is misdescribed."""
    for blob, data in unpacked.made:
        assert blob == Descriptor(blob.media_type, Digest.of(data), len(data))
        store[blob.digest] = data
    for blob in unpacked.manifest.blobs:
        assert len(store[blob.digest]) == blob.size
    assert Manifest.parse(unpacked.manifest.raw).blobs == unpacked.manifest.blobs


def no_parts(digests: Sequence[Digest]) -> Descriptor:
    """What puts parts together where there are none."""
    pytest.fail(str(digests))


def read_header(data: bytes) -> GGUF:
    return gguf.parse(io.BytesIO(data), len(data), "x")


def sent(outgoing: Outgoing, blobs: Mapping[Digest, bytes]) -> Artifact:
    """What a registry has after a push; `blobs` are the store's."""
    every = {blob.digest: blobs[blob.digest] for blob in outgoing.stored} | {b.digest: d for b, d in outgoing.made}
    for blob in (*outgoing.stored, *(blob for blob, _ in outgoing.made)):
        assert Digest.of(every[blob.digest]) == blob.digest
        assert len(every[blob.digest]) == blob.size
    named = {blob.digest for blob in Manifest.parse(outgoing.raw).blobs}
    assert named == every.keys(), "a registry takes no manifest whose blobs it lacks, and nothing else is worth sending"
    return Artifact(outgoing.raw, every, outgoing.media_type)


def index(*entries: dict[str, Any], **fields: Any) -> bytes:
    document: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": list(entries),
    }
    return json.dumps(document | fields).encode()


def entry(number: int, **fields: Any) -> dict[str, Any]:
    """A manifest in an index."""
    return {"mediaType": OCI, "digest": str(Digest.of(b"%d" % number)), "size": 100 + number} | fields


def types(layers: Sequence[tuple[str, bytes]]) -> list[str]:
    return [kind for kind, _ in layers]
