"""Tags: the manifests of one store, in Ollama's `manifests/<host>/<namespace>/<model>/<tag>` files.

A tag is written whole or not at all. Reading never fails because of some other, broken manifest.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .blobs import sync_folder
from .errors import IntegrityError, InvalidManifestError, InvalidNameError, ModelNotFoundError, system_errors
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
        try:
            with path.open("rb") as file:
                raw = file.read(MAX_MANIFEST_BYTES + 1)
                modified = os.fstat(file.fileno()).st_mtime
        except (FileNotFoundError, NotADirectoryError):
            raise ModelNotFoundError(str(name)) from None
        except OSError as cause:
            with system_errors(path, "read"):
                raise cause from None
        return TaggedModel(self._name(path), Manifest.parse(raw, str(name)), modified)

    def write(self, name: Name, manifest: Manifest) -> None:
        """Point the tag at the manifest, durably: temp file, fsync, rename, fsync of the folder.

        The caller has seen to it that all blobs are there (LocalStore.tag does).
        """
        path = self._path(name)
        temporary = self._ingest / secrets.token_hex(12)
        with system_errors(path, "write the manifest"):
            try:
                with temporary.open("xb") as file:
                    file.write(manifest.raw)
                    file.flush()
                    os.fsync(file.fileno())
                self._rename(temporary, path)
                for folder in path.relative_to(self.folder).parents:
                    sync_folder(self.folder / folder)
            finally:
                temporary.unlink(missing_ok=True)

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

    def models(self) -> tuple[list[TaggedModel], list[IntegrityError]]:
        """All models, newest first, and for each unreadable manifest what is wrong with it."""
        models: list[TaggedModel] = []
        broken: list[IntegrityError] = []
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

    def _rename(self, temporary: Path, path: Path) -> None:
        for attempt in range(5):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                temporary.rename(path)
            except FileNotFoundError:  # a concurrent delete removed the folder it had just emptied
                if attempt == 4:
                    raise
            else:
                return


def _children(folder: Path) -> list[Path]:
    try:
        return sorted(child for child in folder.iterdir() if not child.name.startswith("."))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as cause:
        with system_errors(folder, "list"):
            raise cause from None
