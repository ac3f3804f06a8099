"""Tags: the manifests of one store, in Ollama's `manifests/<host>/<namespace>/<model>/<tag>` files.

Those whose names Ollama does not have are in `.corral/oci/manifests/` likewise, with + for each / of the namespace, and a
bare + for none. A tag is written whole or not at all. Reading never fails because of some other, broken manifest.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from .errors import InvalidManifestError, InvalidNameError, ModelNotFoundError, system_errors
from .files import sync_folder, sync_folders, write_whole
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
        self._root = root
        self.folder = root / "manifests"
        self.oci_folder = root / ".corral" / "oci" / "manifests"
        """Of the names that are not Ollama's."""
        self._ingest = root / ".corral" / "ingest"

    def spelled(self, name: Name, *, is_new: bool = False) -> Name:
        """`name` in the spelling it is stored under: as Ollama, two names that differ only by case are one.

        But one that `is_new` does not take the place of another tag of the same registry, unless that is Ollama's.
        """
        with system_errors(self._path(name), "read"):
            if self._path(name).is_file():
                return name
        tags = [path for path in self._of_model(name) if path.name.lower() == name.tag.lower()]
        found = [path for path in tags if not is_new or name.is_tag(path.name)]
        for path in found:
            with contextlib.suppress(InvalidNameError):
                return name_at(path.parts[-4:], is_ollamas=name.is_ollamas)
        return name

    def read(self, name: Name) -> TaggedModel:
        """The tag's manifest, as it was written. Raises ModelNotFoundError, InvalidManifestError."""
        stored = replace(self.spelled(name), digest=None, scheme=None)
        return _read(str(self._path(stored)), stored, str(name))

    def write(self, name: Name, manifest: Manifest) -> None:
        """Point the tag at the manifest, durably: temp file, fsync, rename, fsync of the folder.

        The caller has seen to it that all blobs are there (LocalStore.tag does).
        """
        path = self._path(name)
        with system_errors(path, "write the manifest"):
            write_whole(path, manifest.raw, self._ingest)
            sync_folders(path.parent, self._root)

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
        """Every name with a manifest file, readable or not; files that are nowhere a name's are passed over."""
        for _, name in self.files():
            yield name

    def of_model(self, name: Name) -> list[Name]:
        """The names with a manifest file whose host, namespace and model are this name's."""
        found: list[Name] = []
        for path in self._of_model(name):
            with contextlib.suppress(InvalidNameError):
                found.append(name_at(path.parts[-4:], is_ollamas=name.is_ollamas))
        return found

    def models(self) -> tuple[list[TaggedModel], list[InvalidManifestError]]:
        """All models, newest first, and for each unreadable manifest what is wrong with it."""
        models: list[TaggedModel] = []
        broken: list[InvalidManifestError] = []
        for path, name in self.files():
            try:
                models.append(self.read_file(path, name))
            except InvalidManifestError as error:
                broken.append(error)
            except ModelNotFoundError:
                continue  # deleted since it was listed
        models.sort(key=lambda model: (-model.modified, str(model.name)))
        return models, broken

    def files(self, on_look: Callable[[str], object] = lambda _: None) -> Iterator[tuple[str, Name]]:
        """Path and name of every manifest file. Strings, because there may be many.

        `on_look` hears of each folder, and of all else that decides which files there are.
        """

        def entries(folder: str) -> list[os.DirEntry[str]]:
            on_look(folder)
            return _entries(folder)

        for root in (self.folder, self.oci_folder):
            folders: list[tuple[str, tuple[str, ...]]] = [(str(root), ())]
            for _ in range(3):
                folders = [(entry.path, (*parts, entry.name)) for path, parts in folders for entry in entries(path)]
            for path, parts in folders:
                for entry in entries(path):
                    with contextlib.suppress(InvalidNameError):
                        name = name_at((*parts, entry.name), is_ollamas=root == self.folder)
                        if entry.is_symlink():
                            on_look(entry.path)
                        if entry.is_file():
                            yield entry.path, name

    def read_file(self, path: str, name: Name) -> TaggedModel:
        """The manifest of one of files(). Raises ModelNotFoundError when it is not there any more, InvalidManifestError."""
        return _read(path, name, str(name))

    def _of_model(self, name: Name) -> list[Path]:
        """The files of all tags of the same model, however it is spelled."""
        folders = [self._folder(name)]
        for part in _files_of(name)[:3]:
            folders = [child for folder in folders for child in _children(folder) if child.name.lower() == part.lower()]
        return [child for folder in folders for child in _children(folder)]

    def _folder(self, name: Name) -> Path:
        return self.folder if name.is_ollamas else self.oci_folder

    def _path(self, name: Name) -> Path:
        return self._folder(name).joinpath(*_files_of(name))


def _files_of(name: Name) -> tuple[str, str, str, str]:
    """Three folders and a file. No part of a name has a + in it."""
    host, namespace, model, tag = name.parts
    return (host, namespace.replace("/", "+") or "+", model, tag)


def name_at(files: Sequence[str], *, is_ollamas: bool) -> Name:
    """The name whose manifest is at these three folders and file, in Ollama's folder or the other.

    Raises InvalidNameError where there is none, and where Ollama's rules say that it belongs in the other.
    """
    host, namespace, model, tag = files
    if not is_ollamas:
        namespace = "" if namespace == "+" else namespace.replace("+", "/")
    name = Name(host, namespace, model, tag)
    if name.is_ollamas != is_ollamas:
        raise InvalidNameError(str(name), f"Ollama {'has no such names' if is_ollamas else 'has such names'}")
    return name


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
