"""Repository files: the many small files of repositories, which may be absent, and last once they are written."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import BinaryIO, TypeVar

from .errors import CorralError, system_errors
from .files import sync_folder, sync_folders

_T = TypeVar("_T")


@contextlib.contextmanager
def lasting(folder: Path) -> Generator[None]:
    """Make what the block adds to the folder survive a power cut, and the folder too where the block makes it."""
    above = folder
    while not above.is_dir():
        above = above.parent
    yield
    sync_folders(folder, above)


def content(path: Path, read: Callable[[BinaryIO], bytes]) -> bytes | None:
    """What `read` takes of a file; None where there is none. Raises StoreError: what cannot be read is not gone."""
    with system_errors(path, "read"):
        try:
            with path.open("rb") as file:
                return read(file)
        except (FileNotFoundError, NotADirectoryError):
            return None


def removed(path: Path) -> bool:
    """Remove a file; whether there was one. Raises StoreError."""
    with system_errors(path, "delete"):
        try:
            path.unlink()
        except (FileNotFoundError, NotADirectoryError):
            return False
        sync_folder(path.parent)
    return True


def listed(folder: Path, parse: Callable[[str], _T]) -> Iterator[_T]:
    """What the names in a folder say, in their order, but for those that `parse` refuses. Raises StoreError."""
    with system_errors(folder, "list"):
        try:
            names = sorted(entry.name for entry in os.scandir(folder))
        except (FileNotFoundError, NotADirectoryError):
            return
    for name in names:
        with contextlib.suppress(CorralError):
            yield parse(name)
