"""Strays: files of a store that belong to no model. Ollama and Corral pass them over; `gc` removes some with age."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from . import locks
from .digest import Digest
from .errors import InvalidDigestError, InvalidNameError, system_errors
from .local import Store
from .name import Name


@dataclass(frozen=True, slots=True, order=True)
class Stray:
    """A file, by its path in the store, and what it seems to be."""

    path: str
    note: str

    def to_json(self) -> dict[str, str]:
        """For programs."""
        return {"path": self.path, "note": self.note}

    def __str__(self) -> str:
        return f"{self.path}: {self.note}"


def strays(store: Store, used: set[Digest]) -> list[Stray]:
    """All that is in the store's folders but models and the blobs `used` by them. Raises StoreError."""
    folder = store.tags.folder
    found = [(path, _in_manifests(path.relative_to(folder))) for path in _files(folder)]
    found += [(path, _in_blobs(path.relative_to(store.blobs.folder), used)) for path in _files(store.blobs.folder)]
    found += [
        (path, "left by a broken-off write; gc removes it")
        for path in _files(store.blobs.ingest_folder)
        if not locks.is_held(path)
    ]
    return sorted(Stray(path.relative_to(store.root).as_posix(), note) for path, note in found if note)


def _in_manifests(path: Path) -> str:
    if len(path.parts) != 4 or any(part.startswith(".") for part in path.parts):
        return "no model: a manifest is HOST/NAMESPACE/MODEL/TAG"
    try:
        Name(*path.parts)
    except InvalidNameError as error:
        return f"no model: {error}"
    return ""


def _in_blobs(path: Path, used: set[Digest]) -> str:
    try:
        digest = Digest.from_filename(path.as_posix())
    except InvalidDigestError:
        is_partial = len(path.parts) == 1 and path.name.startswith("sha256-")
        return "an unfinished download or write; gc removes it with age" if is_partial else "no blob"
    return "" if digest in used else "no model uses it; gc removes it"


def _files(folder: Path) -> Iterator[Path]:
    """Everything below a folder but folders."""
    with system_errors(folder, "list"):
        for parent, _, names in os.walk(folder):
            yield from (Path(parent, name) for name in sorted(names))
