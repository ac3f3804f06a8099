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
        return _read(str(path), self._name(path), str(name))

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
        for _, name in self._files():
            yield name

    def models(self) -> tuple[list[TaggedModel], list[InvalidManifestError]]:
        """All models, newest first, and for each unreadable manifest what is wrong with it."""
        models: list[TaggedModel] = []
        broken: list[InvalidManifestError] = []
        for path, name in self._files():
            try:
                models.append(_read(path, name, str(name)))
            except InvalidManifestError as error:
                broken.append(error)
            except ModelNotFoundError:
                continue  # deleted since it was listed
        models.sort(key=lambda model: (-model.modified, str(model.name)))
        return models, broken

    def _files(self) -> Iterator[tuple[str, Name]]:
        """Path and name of every manifest file. Strings, because there may be many."""
        folders: list[tuple[str, tuple[str, ...]]] = [(str(self.folder), ())]
        for _ in range(3):
            folders = [(entry.path, (*parts, entry.name)) for path, parts in folders for entry in _entries(path)]
        for path, (host, namespace, model) in folders:
            for entry in _entries(path):
                with contextlib.suppress(InvalidNameError):
                    name = Name(host, namespace, model, entry.name)
                    if entry.is_file():
                        yield entry.path, name

    def _path(self, name: Name) -> Path:
        return self.folder.joinpath(*name.parts)

    def _name(self, path: Path) -> Name:
        host, namespace, model, tag = path.parts[-4:]
        return Name(host, namespace, model, tag)


def _read(path: str, name: Name, identity: str) -> TaggedModel:
    with system_errors(path, "read"):
        try:
            with open(path, "rb", 0) as file:  # noqa: PTH123 - a Path for each of many takes long
                status = os.fstat(file.fileno())
                raw = file.read(min(status.st_size, MAX_MANIFEST_BYTES) + 1)
        except (FileNotFoundError, NotADirectoryError):
            raise ModelNotFoundError(identity) from None
    return TaggedModel(name, Manifest.parse(raw, identity), status.st_mtime)


def _entries(path: str) -> list[os.DirEntry[str]]:
    with system_errors(path, "list"):
        try:
            with os.scandir(path) as entries:
                return sorted((one for one in entries if one.name[0] != "."), key=lambda one: one.name)
        except (FileNotFoundError, NotADirectoryError):
            return []


def _children(folder: Path) -> list[Path]:
    return [folder / entry.name for entry in _entries(str(folder))]
