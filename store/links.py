"""Links: blobs that are second names of files of the user's, and whether those have been edited since.

An edit in place changes the blob too. It shows in the file's size and times, which are remembered when the link is made; a
file whose inode was merely touched (another link, a rename) is hashed once and remembered anew. A blob that is not the file
remembered is none of these.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from .digest import Digest
from .files import sync_folder, write_whole
from .stamps import Stamp


class Links:
    """The linked blobs of one store."""

    def __init__(self, folder: Path, ingest_folder: Path) -> None:
        self._folder = folder
        self._ingest_folder = ingest_folder

    def make(self, file: BinaryIO, digest: Digest, path: Path) -> bool:
        """Give an open file the second name `path`; False where that cannot be, as across file systems.

        The file has just been hashed. The caller keeps the collector away.
        """
        os.fsync(file.fileno())
        temporary = self._ingest_folder / secrets.token_hex(12)
        try:
            # By its descriptor: the name may be another file's by now. Only with a folder's descriptor does Python follow it.
            os.link(f"/proc/self/fd/{file.fileno()}", temporary, src_dir_fd=file.fileno(), follow_symlinks=True)
        except OSError:
            return False
        try:
            self._record(digest, temporary)
            temporary.rename(path)
        finally:
            temporary.unlink(missing_ok=True)
        if os.path.samestat(os.fstat(file.fileno()), path.stat()):
            self._record(digest, path)
        else:  # somebody else has just written the same blob
            self.forget(digest)
        sync_folder(path.parent)
        return True

    def has(self, digest: Digest) -> bool:
        """Whether the blob is a link."""
        return (self._folder / digest.filename).exists()

    def is_intact(self, digest: Digest, path: Path) -> bool:
        """Whether the blob at `path` is no link, or one whose file is as it was."""
        known = self._find(digest)
        if known is None:
            return True
        try:
            now = Stamp.of(path.stat())
            if now == known or now[:2] != known[:2]:
                return True  # as it was, or another file, which somebody wrote while the link was made or since
            if now[:4] != known[:4]:
                return False
            with path.open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != digest.hex:
                    return False
        except FileNotFoundError:  # it has just been removed
            return False
        self._record(digest, path)
        return True

    @contextmanager
    def renaming(self, digest: Digest, path: Path) -> Generator[None]:
        """Give the blob at `path` another name, or take one, in the block: its inode is touched then, which is no edit."""
        known = self._find(digest)
        is_as_known = known is not None and Stamp.of(path.stat()) == known
        yield
        if known and is_as_known:
            with contextlib.suppress(FileNotFoundError):  # it has just been removed
                if Stamp.of(path.stat())[:4] == known[:4]:
                    self._record(digest, path)

    def forget(self, digest: Digest) -> None:
        """The blob is no link any more."""
        (self._folder / digest.filename).unlink(missing_ok=True)

    def _record(self, digest: Digest, path: Path) -> None:
        text = " ".join(map(str, Stamp.of(path.stat())))
        write_whole(self._folder / digest.filename, text.encode(), self._ingest_folder)

    def _find(self, digest: Digest) -> Stamp | None:
        try:
            return Stamp(*map(int, (self._folder / digest.filename).read_text().split()))
        except (OSError, ValueError, TypeError):
            return None
