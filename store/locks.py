"""One advisory lock for the whole store: writers share it, the collector holds it alone.

It is an flock on a file that is never deleted, so the kernel releases it when its owner dies, however it dies.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import StoreBusyError, system_errors


@contextmanager
def writing(lock_file: Path) -> Generator[None]:
    """Keep the collector away while blobs are written that no tag names yet. Waits for a running collection."""
    yield from _held(lock_file, fcntl.LOCK_SH)


@contextmanager
def collecting(lock_file: Path) -> Generator[None]:
    """Be the only one in the store. Raises StoreBusyError at once when somebody is writing."""
    yield from _held(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _held(lock_file: Path, operation: int) -> Iterator[None]:
    with system_errors(lock_file, "open"):
        descriptor = os.open(lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(descriptor, operation)
        except BlockingIOError:
            raise StoreBusyError(
                f"{lock_file.parent.parent}: another corral is writing to this store", hint="try again when it is done"
            ) from None
        yield
    finally:
        os.close(descriptor)
