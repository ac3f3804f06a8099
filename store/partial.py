"""Partial: a blob that comes from elsewhere, in pieces and not in order. What has come outlives the process.

It is a file of the blob's full size in `.corral/partial/`, beside a journal that says which of its bytes are there. Only one
process at a time works on one: it holds BlobStore.once() of the digest. After a crash of the whole machine the file may lack
what its journal claims, so a journal of an earlier boot counts only up to its last mark that all was brought to the disk.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from .digest import Digest
from .errors import MachineError, MismatchError, system_errors
from .files import open_shared, start_writing_back, sync_folder
from .manifest import Descriptor
from .spans import Spans

if TYPE_CHECKING:
    from .blobs import BlobStore

_BUFFER = 1 << 20
_STRIDE = 32 << 20
_SYNCED = "synced"
_SYNC_EVERY = 10.0
"""In seconds: how much work a power cut may cost."""
_MAX_JOURNAL = 64 << 20


class Partial:
    """The bytes of one blob as far as they are there. write() and the rest may be called from several threads."""

    def __init__(self, blobs: BlobStore, blob: Descriptor) -> None:
        self.blob = blob
        self._blobs = blobs
        self._path = path_of(blobs, blob.digest)
        self._journal_path = _journal_of(self._path)
        self.done = Spans()
        """What has come; guard it where several threads write."""
        self._hash = hashlib.sha256()
        self.hashed = 0
        """How many bytes, from the start, the digest has been fed."""
        self._last_sync = time.monotonic()
        with system_errors(blobs.folder, "write to the store"):
            self._file = open_shared(self._path, os.O_RDWR)
            try:
                self._is_reserved = os.fstat(self._file).st_size == blob.size
                vouched, rest = recorded(self._journal_path, blob.size) if self._is_reserved else ([], [])
                for start, stop in (*vouched, *rest):
                    self.done.add(start, stop)
                self._journal = self._begun_journal(vouched, rest)
            except BaseException:
                os.close(self._file)
                raise

    def close(self) -> None:
        """Leave it as it is, to be gone on with."""
        os.close(self._file)
        os.close(self._journal)

    def reserve(self) -> None:
        """Make room for the whole blob, once its size is confirmed. Raises MachineError when there is none."""
        if self._is_reserved:
            return
        with system_errors(self._blobs.folder, "write to the store"):
            free = shutil.disk_usage(self._path.parent).free
            if self.blob.size > free:
                raise MachineError(
                    f"{self._blobs.folder}: {self.blob.size} bytes to write, {free} free",
                    hint="free some space (`corral gc` removes what no model uses)",
                )
            os.truncate(self._file, 0)
            if self.blob.size:
                os.posix_fallocate(self._file, 0, self.blob.size)
            self._is_reserved = True

    def write(self, data: bytes | memoryview, offset: int) -> None:
        """Put bytes where they belong."""
        view = memoryview(data)
        with system_errors(self._blobs.folder, "write to the store"):
            while view:
                count = os.pwrite(self._file, view, offset)
                view, offset = view[count:], offset + count

    def record(self, start: int, stop: int) -> None:
        """Note in the journal that these bytes are written."""
        with system_errors(self._blobs.folder, "write to the store"):
            os.write(self._journal, f"{start} {stop}\n".encode())

    def follow(self, frontier: int) -> None:
        """Feed the digest with what is there up to `frontier`; one thread does this."""
        buffer = memoryview(bytearray(min(_BUFFER, max(frontier - self.hashed, 1))))
        with system_errors(self._blobs.folder, "write to the store"):
            while self.hashed < frontier:
                count = os.preadv(self._file, [buffer[: frontier - self.hashed]], self.hashed)
                if not count:
                    return
                self._hash.update(buffer[:count])
                before, self.hashed = self.hashed, self.hashed + count
                if before // _STRIDE < self.hashed // _STRIDE:  # the disk has work while the next bytes come
                    start_writing_back(self._file, before // _STRIDE * _STRIDE, _STRIDE)
            if time.monotonic() - self._last_sync > _SYNC_EVERY:
                self._sync()

    def _sync(self) -> None:
        """Bring to the disk what the journal says so far, and then say that it is there."""
        claimed = os.fstat(self._journal).st_size
        os.fdatasync(self._file)
        os.write(self._journal, f"{_SYNCED} {claimed}\n".encode())
        os.fdatasync(self._journal)
        self._last_sync = time.monotonic()

    def commit(self) -> None:
        """Give the whole blob its final name. Raises MismatchError unless its bytes are its digest's."""
        got = Digest("sha256", self._hash.hexdigest())
        if self.hashed != self.blob.size or got != self.blob.digest:
            raise MismatchError(f"blob {self.blob.digest.short}", expected=str(self.blob.digest), got=str(got))
        self._blobs.place(self._file, self._path, self.blob.digest, is_lent=True)
        self._journal_path.unlink(missing_ok=True)

    def begin_again(self) -> None:
        """Forget what has come."""
        with system_errors(self._blobs.folder, "write to the store"):
            os.truncate(self._journal, 0)
            os.write(self._journal, f"boot {_boot()}\n".encode())
            self.done.clear()
            self._hash = hashlib.sha256()
            self.hashed = 0

    def discard(self) -> None:
        """Remove it from the disk."""
        self._path.unlink(missing_ok=True)
        self._journal_path.unlink(missing_ok=True)

    def _begun_journal(self, vouched: list[tuple[int, int]], rest: list[tuple[int, int]]) -> int:
        """The journal for appending, begun anew with what it said and counts."""
        temporary = self._journal_path.with_suffix(".new")
        lines = [f"boot {_boot()}\n", *(f"{start} {stop}\n" for start, stop in vouched)]
        lines += [f"{_SYNCED} {sum(map(len, lines))}\n", *(f"{start} {stop}\n" for start, stop in rest)]
        temporary.unlink(missing_ok=True)
        descriptor = open_shared(temporary, os.O_RDWR | os.O_APPEND | os.O_EXCL)
        try:
            os.write(descriptor, "".join(lines).encode())
            temporary.rename(self._journal_path)
            if self.done.total:
                sync_folder(self._path.parent)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor


def path_of(blobs: BlobStore, digest: Digest) -> Path:
    """Where a blob's bytes are gathered."""
    return blobs.partial_folder / digest.filename


def _journal_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.journal")


def received(blobs: BlobStore, blob: Descriptor) -> int:
    """How many bytes of a blob that another process fetches are there."""
    found = Spans()
    vouched, rest = recorded(_journal_of(path_of(blobs, blob.digest)), blob.size)
    for start, stop in (*vouched, *rest):
        found.add(start, stop)
    return found.total


def recorded(journal: Path, size: int) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """What a journal says and counts, in lines that are whole and make sense: what is known to be on the disk, and the rest.

    Of an earlier boot there is no rest.
    """
    raw = b""
    with contextlib.suppress(OSError), journal.open("rb") as file:
        raw = file.read(_MAX_JOURNAL)
    raw = raw[: raw.rfind(b"\n") + 1]
    lines, vouched = raw.split(b"\n")[:-1], _synced(raw)
    rest = lines[len(vouched) :] if lines and lines[0] == f"boot {_boot()}".encode() else []
    return list(_intervals(vouched, size)), list(_intervals(rest, size))


def _synced(raw: bytes) -> list[bytes]:
    """The lines before the last mark, as far as it vouches for them."""
    marks = [line for line in raw.split(b"\n") if line.startswith(_SYNCED.encode())]
    claimed = marks[-1].split()[-1] if marks else b"0"
    return raw[: int(claimed)].split(b"\n")[:-1] if claimed.isdigit() and len(claimed) < 12 else []


def _intervals(lines: Iterable[bytes], size: int) -> Iterable[tuple[int, int]]:
    for line in lines:
        words = line.split()
        if len(words) == 2 and all(word.isdigit() and len(word) < 20 for word in words):
            start, stop = map(int, words)
            if start < stop <= size:
                yield start, stop


def _boot() -> str:
    """What tells one run of the machine from another."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:  # not Linux: nothing of an earlier process counts
        return f"{os.getpid()}-{time.monotonic_ns()}"
