"""Spares: second names, in `.corral/oci/blobs/`, of the blobs of models whose names Ollama does not have.

An Ollama on the same store deletes from `blobs/` what no model that it sees needs. A spare is a hard link and takes no
space; where there can be none, it is a copy.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from .digest import Digest
from .files import give_second_name, make_folders, sync_folder, sync_folders
from .links import Links


class Spares:
    """The second names of one store's blobs. Who changes them keeps the collector away. All raise OSErrors."""

    def __init__(self, root: Path, ingest_folder: Path, links: Links) -> None:
        self.folder = root / ".corral" / "oci" / "blobs"
        self._root = root
        self._ingest_folder = ingest_folder
        self._links = links

    def path(self, digest: Digest) -> Path:
        """Where the blob's spare is, or would be."""
        return self.folder / digest.filename

    def add(self, digest: Digest, path: Path) -> None:
        """Give the blob at `path` a spare, if it is no spare itself; what another file has the place of gives way."""
        spare = self.path(digest)
        if path != spare and not (spare.exists() and spare.samefile(path)):
            make_folders(self.folder)
            self._link(digest, path, spare)

    def lend(self, digest: Digest, path: Path) -> None:
        """Give a file that is to be the blob a spare until its model has a tag, where that takes no space."""
        with contextlib.suppress(OSError):
            make_folders(self.folder)
            os.link(path, self.path(digest))

    def renew(self, digest: Digest, path: Path) -> None:
        """Let the file at `path` take the place of the blob's spare, if there is one."""
        spare = self.path(digest)
        if spare.exists() and not spare.samefile(path):
            self._link(digest, path, self.path(digest))
            sync_folder(self.folder)

    def give_back(self, digest: Digest, path: Path) -> None:
        """Have the blob at `path`, as which it was taken away."""
        self._link(digest, self.path(digest), path)

    def sync(self) -> None:
        """Make what was added survive a power cut."""
        make_folders(self.folder)
        sync_folders(self.folder, self._root)

    def _link(self, digest: Digest, path: Path, name: Path) -> None:
        with self._links.renaming(digest, path):
            give_second_name(path, name, self._ingest_folder)
