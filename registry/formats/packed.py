"""Packed: a model as a registry has it, and what becomes of it here. Pure.

A format says which blobs are taken byte for byte and which small ones it has to read. Weights are never changed; only the
parts of a split GGUF are put together, as they are on `create`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from ...store.digest import Digest
from ...store.header import GGUF
from ...store.kept import MAX_BLOBS, MAX_BYTES
from ...store.manifest import Descriptor, Manifest
from .document import Document

Small: TypeAlias = "Mapping[Digest, bytes]"
"""The content of small blobs."""
ReadHeader: TypeAlias = "Callable[[Digest], GGUF]"
"""Reads the header of a GGUF that is in the store. Raises InvalidGGUFError."""
Merge: TypeAlias = "Callable[[Sequence[Digest]], Descriptor]"
"""Puts the parts of a split GGUF, in their order, together into one blob of the store. Raises InvalidGGUFError."""


@dataclass(frozen=True, slots=True)
class Unpacked:
    """A model for the store."""

    manifest: Manifest
    made: tuple[tuple[Descriptor, bytes], ...] = ()
    """Blobs of it that no registry has."""


class Packed(Protocol):
    """A model in a registry."""

    @property
    def format(self) -> str:
        """How it is packed: `ollama`, `oci`, `modelpack`, `docker` or `oras`."""
        ...

    @property
    def taken(self) -> tuple[Descriptor, ...]:
        """The blobs that go into the store as they are, each once, with our media types."""
        ...

    @property
    def small(self) -> tuple[Descriptor, ...]:
        """Other blobs, to be read, and to be kept with the manifest so that it can be sent again as it was.

        At most MAX_BLOBS of at most MAX_BYTES.
        """
        ...

    def model(self, small: Small, header: ReadHeader, merge: Merge) -> Unpacked:
        """The model, once all of `taken` is in the store and `small` is here, all of it verified.

        Raises InvalidManifestError for what is no model after all, InvalidGGUFError for weights that are no GGUF.
        """
        ...


@dataclass(frozen=True, slots=True)
class Whole:
    """A model whose manifest is known from the start."""

    format: str
    manifest: Manifest
    small: tuple[Descriptor, ...] = ()

    @property
    def taken(self) -> tuple[Descriptor, ...]:
        """All blobs of the model."""
        return once(self.manifest.blobs)

    def model(self, small: Small, header: ReadHeader, merge: Merge) -> Unpacked:  # noqa: ARG002 Packed's
        """The model."""
        return Unpacked(self.manifest)


def once(blobs: Sequence[Descriptor]) -> tuple[Descriptor, ...]:
    """Each blob once, as it is first described."""
    unique: dict[Digest, Descriptor] = {}
    for blob in blobs:
        unique.setdefault(blob.digest, blob)
    return tuple(unique.values())


def rest(document: Document, taken: Sequence[Descriptor]) -> tuple[Descriptor, ...]:
    """The blobs that are not taken: none at all where they are too many or too large to be kept."""
    digests = {blob.digest for blob in taken}
    others = tuple(blob for blob in once(document.manifest.blobs) if blob.digest not in digests)
    is_small = len(others) <= MAX_BLOBS and all(blob.size <= MAX_BYTES for blob in others)
    return others if is_small else ()
