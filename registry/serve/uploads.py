"""Uploads: blobs that clients are sending, each in a file of its own, which outlives the server.

An upload's name is random and bound to its repository. Who writes to one holds an flock on its file. The hash is kept in
memory while the server lives; one that began under an earlier server is hashed from its file at the end.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import secrets
import shutil
import time
from pathlib import Path

from ...store import locks
from ...store.digest import Digest
from ...store.errors import MachineError, system_errors
from ...store.files import make_folders, open_shared, start_writing_back
from ...store.ingest import CHUNK
from ...store.local import Store
from ...store.manifest import MAX_BLOB_BYTES, Descriptor
from ...store.repository import Repository
from .errors import ServingError

EXPIRY = 24 * 3600.0
"""Seconds without a byte after which an upload is removed; one that has none yet goes after an hour."""
_EMPTY_EXPIRY = 3600.0
_LOOK_EVERY = 1.0
"""Seconds between two looks at which uploads have expired."""
_STRIDE = 32 << 20
_ID = re.compile(r"[0-9a-f]{48}")


class Uploads:
    """The uploads of one store. At most `most` are open at once; a blob has at most `max_bytes`, 0 for no limit of ours."""

    def __init__(self, store: Store, *, most: int = 1024, max_bytes: int = 0, expiry: float = EXPIRY) -> None:
        self._store = store
        self.folder = store.repositories.uploads_folder
        self._most = most
        self.max_bytes = max_bytes or MAX_BLOB_BYTES
        self._expiry = expiry
        self._hashes: dict[str, tuple[int, hashlib._Hash]] = {}
        self._next_look = 0.0

    def begin(self, repository: Repository) -> Upload:
        """A new upload. Raises ServingError when too many are open."""
        self._store.blobs.prepare()
        with system_errors(self.folder, "write to the store"):
            make_folders(self.folder)
            if time.monotonic() >= self._next_look:
                self._next_look = time.monotonic() + _LOOK_EVERY
                self.expire()
            if sum(1 for _ in os.scandir(self.folder)) >= self._most:
                raise ServingError("TOOMANYREQUESTS", f"{self._most} uploads are open; try again later")
            name = secrets.token_hex(16) + _bound_to(repository)
            os.close(open_shared(self.folder / name, os.O_RDWR | os.O_EXCL))
        return self.open(repository, name)

    def open(self, repository: Repository, name: str) -> Upload:
        """An upload that was begun. Raises ServingError when there is none of the name here, BusyError when it is in use."""
        if not _ID.fullmatch(name) or not name.endswith(_bound_to(repository)):
            raise ServingError("BLOB_UPLOAD_UNKNOWN", "there is no such upload in this repository")
        path = self.folder / name
        self._expire(path)
        if (descriptor := _held(path)) is None:
            raise ServingError("BLOB_UPLOAD_UNKNOWN", "there is no such upload; it was ended, or expired")
        size = os.fstat(descriptor).st_size
        hashed, running = self._hashes.pop(name, (-1, None))
        if not size:
            running = hashlib.sha256()
        elif hashed != size:
            running = None
        return Upload(self, self._store, path, descriptor, size, running)

    def keep_hash(self, name: str, size: int, running: hashlib._Hash) -> None:
        """For who goes on with the upload."""
        self._hashes[name] = (size, running)

    def expire(self) -> None:
        """Remove the uploads that nobody goes on with."""
        for path in list(self.folder.iterdir()) if self.folder.is_dir() else ():
            self._expire(path)
        for name in list(self._hashes):
            if not (self.folder / name).exists():  # it expired, or a collection took it
                self._hashes.pop(name, None)

    def _expire(self, path: Path) -> None:
        with contextlib.suppress(FileNotFoundError, locks.BusyError):
            if self._is_old(path.stat()) and (descriptor := _held(path)) is not None:
                try:
                    if self._is_old(os.fstat(descriptor)):
                        path.unlink()
                finally:
                    os.close(descriptor)

    def _is_old(self, status: os.stat_result) -> bool:
        limit = self._expiry if status.st_size else min(self._expiry, _EMPTY_EXPIRY)
        return time.time() - status.st_mtime > limit


class Upload:
    """One upload, held by this request. Use it as a context manager; leaving it keeps what came."""

    def __init__(
        self,
        uploads: Uploads,
        store: Store,
        path: Path,
        descriptor: int,
        size: int,
        running: hashlib._Hash | None,
    ) -> None:
        self._uploads = uploads
        self._store = store
        self._path = path
        self._descriptor = descriptor
        self.size = size
        """Bytes that are here."""
        self._running = running
        self._is_open = True

    @property
    def id(self) -> str:
        """Its name, for a Location."""
        return self._path.name

    def __enter__(self) -> Upload:
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_open and self._running and self.size:
            self._uploads.keep_hash(self.id, self.size, self._running)
        os.close(self._descriptor)

    def check(self, size: int) -> None:
        """Raise ServingError unless a blob of so many bytes may be sent and has room here."""
        if size > self._uploads.max_bytes:
            why = f"a blob has at most {self._uploads.max_bytes} bytes here"
            raise ServingError("SIZE_INVALID", why, status=413)
        free = shutil.disk_usage(self._uploads.folder).free
        if size - self.size > free:
            raise ServingError("SIZE_INVALID", f"there is no room for {size} bytes here", status=507)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append to it. Raises ServingError when it gets too large, StoreError."""
        if self.size + len(data) > self._uploads.max_bytes:
            self.check(self.size + len(data))
        view, before = memoryview(data), self.size
        with system_errors(self._uploads.folder, "write to the store"):
            while view:
                count = os.pwrite(self._descriptor, view, self.size)
                if self._running:
                    self._running.update(view[:count])
                view, self.size = view[count:], self.size + count
        if before // _STRIDE < self.size // _STRIDE:  # the disk has work while the next bytes come
            start_writing_back(self._descriptor, before // _STRIDE * _STRIDE, _STRIDE)

    def truncate(self, size: int) -> None:
        """Forget what came behind so many bytes."""
        if size < self.size:
            with system_errors(self._uploads.folder, "write to the store"):
                os.truncate(self._descriptor, size)
            self.size, self._running = size, None

    def commit(self, repository: Repository, digest: Digest) -> Digest:
        """Make it the repository's blob; its sha256.

        Raises ServingError, with nothing left of it, when its bytes are not the digest's.
        """
        try:
            running = self._running or self._hashed("sha256")
            sha256 = Digest("sha256", running.hexdigest())
            got = sha256
            if digest.algorithm != "sha256":
                got = Digest(digest.algorithm, self._hashed(digest.algorithm).hexdigest())
            if got != digest:
                raise ServingError("DIGEST_INVALID", f"the blob's digest is {got}, not {digest}")
            store, blob = self._store, Descriptor("", sha256, self.size)
            with store.writing():
                if not store.blobs.is_kept(blob):
                    store.blobs.place(self._descriptor, self._path, sha256, is_lent=True)
                store.lend(repository, [sha256])
                store.repositories.alias(digest, sha256)
        finally:
            self.cancel()
        return sha256

    def cancel(self) -> None:
        """Remove it."""
        self._is_open = False
        self._path.unlink(missing_ok=True)

    def _hashed(self, algorithm: str) -> hashlib._Hash:
        running, buffer, offset = hashlib.new(algorithm), memoryview(bytearray(CHUNK)), 0
        with system_errors(self._uploads.folder, "read"):
            while count := os.preadv(self._descriptor, [buffer], offset):
                running.update(buffer[:count])
                offset += count
        if offset != self.size:
            raise MachineError(f"{self._path}: {offset} bytes, expected {self.size}")
        return running


def _held(path: Path) -> int | None:
    """A descriptor of an upload's file with the lock on it; None when it is not there. Raises BusyError."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Whoever held it before may have made it a blob, or removed it.
        if os.path.samestat(os.fstat(descriptor), path.stat()):
            return descriptor
    except BlockingIOError:
        os.close(descriptor)
        raise locks.BusyError from None
    except FileNotFoundError:
        pass
    os.close(descriptor)
    return None


def _bound_to(repository: Repository) -> str:
    return hashlib.sha256(repository.path.encode()).hexdigest()[:16]
