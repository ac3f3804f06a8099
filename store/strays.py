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
from .tags import name_at


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
    found: list[tuple[Path, str]] = []
    for folder, is_ollamas in ((store.tags.folder, True), (store.tags.oci_folder, False)):
        found += [(path, _in_manifests(path.relative_to(folder), is_ollamas=is_ollamas)) for path in _files(folder)]
    for folder in (store.blobs.folder, store.blobs.spares.folder):
        found += [(path, _in_blobs(path.relative_to(folder), used)) for path in _files(folder)]
    if originals := list(_files(store.kept.folder)):
        tagged = {model.manifest.digest.filename for model in store.tags.models()[0]}
        found += [(path, "the original of no model; gc removes it") for path in originals if path.name not in tagged]
    found += [
        (path, "left by a broken-off write; gc removes it")
        for path in _files(store.blobs.ingest_folder)
        if not locks.is_held(_outermost(path, store.blobs.ingest_folder))
    ]
    found += [
        (path, "an unfinished download; the next pull goes on with it, gc removes it with age")
        for path in _files(store.blobs.partial_folder)
        if not locks.is_held(store.blobs.busy_file(path.stem))
    ]
    found += [
        (path, "an unfinished upload; its client may go on with it, gc removes it with age")
        for path in _files(store.repositories.uploads_folder)
        if not locks.is_held(path)
    ]
    return sorted(Stray(path.relative_to(store.root).as_posix(), note) for path, note in found if note)


def _outermost(path: Path, folder: Path) -> Path:
    """What of the folder's own entries the path is, or is in: that is what its writer holds."""
    return folder / path.relative_to(folder).parts[0]


def _in_manifests(path: Path, *, is_ollamas: bool) -> str:
    if len(path.parts) != 4 or any(part.startswith(".") for part in path.parts):
        return "no model: a manifest is HOST/NAMESPACE/MODEL/TAG"
    try:
        name_at(path.parts, is_ollamas=is_ollamas)
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
