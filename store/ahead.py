"""Ahead: files hashed in the background from early on, while the program that will want their digests is still loading."""

from __future__ import annotations

import contextlib
import hashlib
import os
from concurrent.futures import Future
from io import BufferedReader
from pathlib import Path
from threading import Thread

from .digest import Digest
from .errors import CorralError
from .files import open_regular
from .stamps import Stamp

_PIECE = 32 << 20


class Ahead:
    """Digests on their way, by the stamps of the files as they were before they were read."""

    def __init__(self) -> None:
        self._digests: dict[Stamp, Future[Digest]] = {}

    def start(self, path: Path) -> None:
        """Begin to hash a file, if it is one; whatever is wrong with it shows when it is wanted."""
        with contextlib.suppress(OSError, CorralError):
            stamp = Stamp.of(path.stat())
            if stamp not in self._digests:
                promised: Future[Digest] = Future()
                self._digests[stamp] = promised
                Thread(target=_hash, args=(path, stamp, promised), daemon=True).start()

    def digest(self, stamp: Stamp) -> Digest | None:
        """The digest of the file with this stamp; waits for it. None when it is not on its way, or not this file's."""
        promised = self._digests.get(stamp)
        try:
            return promised.result() if promised else None
        except (OSError, CorralError):
            return None


def _hash(path: Path, stamp: Stamp, promised: Future[Digest]) -> None:
    try:
        with open_regular(path) as file:
            digest = _digest(file)
            if Stamp.of(os.fstat(file.fileno())) != stamp:
                raise OSError("it changed")
        promised.set_result(digest)
    except (OSError, CorralError) as cause:
        promised.set_exception(cause)


def _digest(file: BufferedReader) -> Digest:
    # In large pieces: after each one this thread waits for its turn beside one that never rests.
    hashed, buffer = hashlib.sha256(), memoryview(bytearray(_PIECE))
    while count := os.readv(file.fileno(), [buffer]):
        hashed.update(buffer[:count])
    return Digest("sha256", hashed.hexdigest())
