"""Leases: the blobs that running processes rely on though no tag names them yet.

A lease is a file with a digest a line, which its owner holds an flock on as long as it is at work. A file that nobody
holds is left by somebody who died, and protects nothing.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from . import locks
from .digest import Digest
from .errors import InvalidDigestError, system_errors
from .files import open_shared


class Leases:
    """The leases of one store; this process has at most one at a time, shared by its threads."""

    def __init__(self, folder: Path, lock_file: Path) -> None:
        self._folder = folder
        self._lock_file = lock_file
        self._guard = threading.Lock()
        self._holders = 0
        self._descriptor = -1
        self._path = folder

    @contextmanager
    def held(self) -> Generator[None]:
        """Have what is added kept until the block ends."""
        with self._guard:
            if not self._holders:
                self._open()
            self._holders += 1
        try:
            yield
        finally:
            with self._guard:
                self._holders -= 1
                if not self._holders:
                    self._close()

    def add(self, digest: Digest) -> None:
        """Take note of a blob before looking whether it is there; a collection comes before this, or heeds it."""
        with self._guard:
            if self._holders:
                with locks.shared(self._lock_file), system_errors(self._path, "write to the store"):
                    os.write(self._descriptor, f"{digest.filename}\n".encode())

    def protected(self) -> set[Digest]:
        """What living processes rely on; leases of dead ones are removed. The caller holds the store's lock alone."""
        found: set[Digest] = set()
        with system_errors(self._folder, "list"):
            paths = list(self._folder.iterdir()) if self._folder.is_dir() else []
        for path in paths:
            if not locks.is_held(path):
                path.unlink(missing_ok=True)
                continue
            try:
                lines = path.read_text().splitlines()
            except FileNotFoundError:  # its owner is done, and what it tagged was tagged before the lock was taken
                continue
            for line in lines:
                with contextlib.suppress(InvalidDigestError):  # a line half written when its owner died
                    found.add(Digest.from_filename(line))
        return found

    def _open(self) -> None:
        # Under the lock, so that no collection sees the file before its owner holds it.
        with locks.shared(self._lock_file), system_errors(self._folder, "write to the store"):
            self._path = self._folder / secrets.token_hex(12)
            self._descriptor = open_shared(self._path, os.O_WRONLY | os.O_APPEND | os.O_EXCL)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)

    def _close(self) -> None:
        self._path.unlink(missing_ok=True)
        os.close(self._descriptor)
        self._descriptor = -1
