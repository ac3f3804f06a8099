"""Ingest: a blob in the making, in a file of its own on the store's file system, hashed on the way.

Its owner holds an flock on the file, so that a collection can tell it from what a dead process left.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import secrets
import shutil
from collections.abc import Callable
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from . import locks
from .digest import Digest
from .errors import MachineError, MismatchError, system_errors
from .files import open_shared, start_writing_back
from .manifest import Descriptor

if TYPE_CHECKING:
    from .blobs import BlobStore

CHUNK = 4 << 20
_STRIDE = 32 << 20
_FICLONE = 0x40049409
"""ioctl(2): share another file's blocks."""
_NOT_HERE = (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTTY, errno.EPERM)
"""What a kernel or file system says that has no such way to copy."""


class Written(NamedTuple):
    """What a write left in the store."""

    blob: Descriptor
    is_new: bool
    """Whether the store did not have it before."""


class Ingest:
    """A blob being written: feed it with write() or copy(), then commit(). Use it as a context manager."""

    def __init__(self, blobs: BlobStore, size: int | None = None) -> None:
        self._blobs = blobs
        self._path = blobs.ingest_folder / secrets.token_hex(12)
        self._hash = hashlib.sha256()
        self.size = 0
        self._check_space(size or 0)
        # Under the lock, so that no collection sees the file before its owner holds it.
        with locks.shared(blobs.lock_file), system_errors(blobs.folder, "write to the store"):
            descriptor = open_shared(self._path, os.O_RDWR | os.O_EXCL)
            self._file = os.fdopen(descriptor, "r+b", 0)
            fcntl.flock(descriptor, fcntl.LOCK_EX)

    def __enter__(self) -> Ingest:
        return self

    def __exit__(self, *_: object) -> None:
        self._path.unlink(missing_ok=True)
        self._file.close()

    def write(self, data: bytes | memoryview) -> None:
        """Append to the blob."""
        view = memoryview(data)
        with system_errors(self._blobs.folder, "write to the store"):
            while view:
                view = view[self._file.write(view) :]
        self._take(data)

    def copy(self, source: BinaryIO, on_bytes: Callable[[int], None] | None = None) -> None:
        """Take a file's content: its very blocks where the file system can share them, else one copy made by the kernel.

        What is hashed is what is here then, whatever happens to the source.
        """
        is_shared = self._shares(source)
        size = os.fstat((self._file if is_shared else source).fileno()).st_size
        if not is_shared:
            self._check_space(size)
        buffer = bytearray(CHUNK)
        by_kernel = True
        with system_errors(self._blobs.folder, "write to the store"):
            while self.size < size:  # no further, should the source grow
                count = CHUNK
                if not is_shared and by_kernel:
                    by_kernel, count = self._copied(source)
                if not is_shared and not by_kernel:
                    if not (chunk := source.read(CHUNK)):
                        return
                    self.write(chunk)
                else:
                    count = os.preadv(self._file.fileno(), [memoryview(buffer)[:count]], self.size) if count else 0
                    if not count:
                        return
                    self._take(memoryview(buffer)[:count])
                if on_bytes:
                    on_bytes(self.size)

    def _take(self, data: bytes | memoryview) -> None:
        self._hash.update(data)
        before, self.size = self.size, self.size + len(data)
        if before // _STRIDE < self.size // _STRIDE:  # the disk has work while the next bytes come
            start_writing_back(self._file.fileno(), before // _STRIDE * _STRIDE, _STRIDE)

    def commit(
        self, media_type: str, *, expected: Digest | None = None, size: int | None = None, replaces: bool = False
    ) -> Written:
        """Give the blob its final name and make that durable; `replaces` what is there even if that looks sound.

        Raises MismatchError, with nothing left behind, unless size and digest are the expected ones.
        """
        digest = Digest("sha256", self._hash.hexdigest())
        if size is not None and self.size != size:
            raise MismatchError(f"blob {expected or digest}", expected=f"{size} bytes", got=f"{self.size} bytes")
        if expected is not None and digest != expected:
            raise MismatchError("blob", expected=str(expected), got=str(digest))
        blob = Descriptor(media_type, digest, self.size)
        if self._blobs.is_kept(blob) and not replaces:
            return Written(blob, is_new=False)
        self._blobs.place(self._file.fileno(), self._path, digest)
        return Written(blob, is_new=True)

    def _shares(self, source: BinaryIO) -> bool:
        try:
            fcntl.ioctl(self._file.fileno(), _FICLONE, source.fileno())
        except OSError:
            return False
        return True

    def _copied(self, source: BinaryIO) -> tuple[bool, int]:
        """Have the kernel copy some: whether it can, and how many bytes it did."""
        try:
            return True, os.copy_file_range(source.fileno(), self._file.fileno(), CHUNK)
        except OSError as cause:
            if self.size or cause.errno not in _NOT_HERE:
                raise
            return False, 0

    def _check_space(self, size: int) -> None:
        with system_errors(self._blobs.folder, "write to the store"):
            free = shutil.disk_usage(self._blobs.ingest_folder).free
        if size > free:
            raise MachineError(
                f"{self._blobs.folder}: {size} bytes to write, {free} free",
                hint="free some space (`corral gc` removes what no model uses)",
            )
