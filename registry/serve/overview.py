"""Overview: what people want to see of a registry's repositories: their tags, and what is in each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from ...store.digest import Digest
from ...store.errors import InvalidManifestError
from ...store.repository import Repository
from ..contents import Contents
from .catalog import Catalog, Served
from .errors import ServingError

MOST_TAGS = 100
"""Of one repository that are shown."""
MOST_PIECES = 50
"""Of one tag."""
_LONGEST_TYPE = 128


@dataclass(frozen=True, slots=True)
class Piece:
    """A layer, the config, or a manifest of an index."""

    media_type: str
    digest: Digest
    size: int
    """Bytes."""


@dataclass(frozen=True, slots=True)
class Tag:
    """A tag and what it leads to."""

    name: str
    digest: Digest
    media_type: str
    size: int
    """Bytes of all pieces, of each once."""
    is_model: bool
    """Whether the store has it as a model, that can be run."""
    pieces: tuple[Piece, ...]
    """The layers and then the config; of an index, its manifests."""
    more: int
    """Pieces that are not among these."""


@dataclass(frozen=True, slots=True)
class Shelf:
    """A repository."""

    repository: Repository
    tags: tuple[Tag, ...]
    others: int
    """Tags that are not among these."""


def shelf(catalog: Catalog, repository: Repository) -> Shelf:
    """What there is to see of a repository; nothing of one that is not there, or not any more."""
    names: list[str] = []
    with suppress(ServingError):
        names = catalog.tags(repository)
    return Shelf(repository, tuple(_tags(catalog, repository, names[:MOST_TAGS])), max(0, len(names) - MOST_TAGS))


def _tags(catalog: Catalog, repository: Repository, names: list[str]) -> Iterator[Tag]:
    for name in names:
        with suppress(ServingError):  # removed this moment
            served = catalog.manifest(repository, name, lambda types: types[0])
            contents = _contents(served)
            config = [contents.config] if contents.config else []
            parts = (*contents.layers, *config, *contents.manifests)
            shown = [part.descriptor for part in parts[:MOST_PIECES]]
            pieces = tuple(Piece(one.media_type[:_LONGEST_TYPE], one.digest, one.size) for one in shown)
            is_model = catalog.model(repository, name) is not None
            more = len(parts) - len(pieces)
            yield Tag(name, served.digest, served.media_type, contents.size, is_model, pieces, more)


def _contents(served: Served) -> Contents:
    with suppress(InvalidManifestError):  # of an unknown type
        return Contents.parse(served.raw, str(served.digest))
    return Contents()
