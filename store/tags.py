"""Tags: the manifests of one store, in Ollama's `manifests/<host>/<namespace>/<model>/<tag>` files.

A tag is written whole or not at all. Reading never fails because of some other, broken manifest.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .errors import InvalidManifestError, InvalidNameError, ModelNotFoundError, system_errors
from .files import sync_folder, write_whole
from .manifest import MAX_MANIFEST_BYTES, Manifest
from .name import Name


@dataclass(frozen=True, slots=True)
class TaggedModel:
    """A tag and what it points at."""

    name: Name
    manifest: Manifest
    modified: float
    """Seconds since the epoch: the manifest file's time."""


class Tags:
    """The names of one store root."""

    def __init__(self, root: Path) -> None:
        self.folder = root / "manifests"
        self._ingest = root / ".corral" / "ingest"

    def spelled(self, name: Name) -> Name:
        """`name` in the spelling it is stored under: as Ollama, two names that differ only by case are one."""
        with system_errors(self._path(name), "read"):
            if self._path(name).is_file():
                return name
        found = [self.folder]
        for part in name.parts:
            found = [child for folder in found for child in _children(folder) if child.name.lower() == part.lower()]
        for path in found:
            with contextlib.suppress(InvalidNameError):
                return self._name(path)
        return name

    def read(self, name: Name) -> TaggedModel:
        """The tag's manifest, as it was written. Raises ModelNotFoundError, InvalidManifestError."""
        path = self._path(self.spelled(name))
        with system_errors(path, "read"):
            try:
                with path.open("rb") as file:
                    raw = file.read(MAX_MANIFEST_BYTES + 1)
                    modified = os.fstat(file.fileno()).st_mtime
            except (FileNotFoundError, NotADirectoryError):
                raise ModelNotFoundError(str(name)) from None
        return TaggedModel(self._name(path), Manifest.parse(raw, str(name)), modified)

    def write(self, name: Name, manifest: Manifest) -> None:
        """Point the tag at the manifest, durably: temp file, fsync, rename, fsync of the folder.

        The caller has seen to it that all blobs are there (LocalStore.tag does).
        """
        path = self._path(name)
        with system_errors(path, "write the manifest"):
            write_whole(path, manifest.raw, self._ingest)
            for folder in list(path.parents)[:5]:  # up to the root of the store, all of which may be new
                sync_folder(folder)

    def delete(self, name: Name) -> None:
        """Remove the tag and the folders it leaves empty. Raises ModelNotFoundError."""
        path = self._path(self.spelled(name))
        with system_errors(path, "delete"):
            try:
                path.unlink()
            except (FileNotFoundError, NotADirectoryError):
                raise ModelNotFoundError(str(name)) from None
            sync_folder(path.parent)
            for folder in list(path.parents)[:3]:
                with contextlib.suppress(OSError):
                    folder.rmdir()

    def names(self) -> Iterator[Name]:
        """Every name with a manifest file, readable or not; files elsewhere than four deep are passed over."""
        paths = [self.folder]
        for _ in range(4):
            paths = [child for folder in paths for child in _children(folder)]
        for path in paths:
            with contextlib.suppress(InvalidNameError):
                if path.is_file():
                    yield self._name(path)

    def models(self) -> tuple[list[TaggedModel], list[InvalidManifestError]]:
        """All models, newest first, and for each unreadable manifest what is wrong with it."""
        models: list[TaggedModel] = []
        broken: list[InvalidManifestError] = []
        for name in self.names():
            try:
                models.append(self.read(name))
            except InvalidManifestError as error:
                broken.append(error)
            except ModelNotFoundError:
                continue  # deleted since it was listed
        models.sort(key=lambda model: (-model.modified, str(model.name)))
        return models, broken

    def _path(self, name: Name) -> Path:
        return self.folder.joinpath(*name.parts)

    def _name(self, path: Path) -> Name:
        host, namespace, model, tag = path.parts[-4:]
        return Name(host, namespace, model, tag)


def _children(folder: Path) -> list[Path]:
    with system_errors(folder, "list"):
        try:
            return sorted(child for child in folder.iterdir() if not child.name.startswith("."))
        except (FileNotFoundError, NotADirectoryError):
            return []
