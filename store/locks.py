"""Locks between processes. All are flocks: the kernel releases them when their owner dies, however it dies.

The store's own lock is held for moments only, never while bytes move: writers share it to take note of what they rely on
(leases.py), the collector holds it alone to see what nobody does. A keyed lock is held as long as the work on one thing
takes, by one process at a time.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from .errors import system_errors
from .files import make_folders, open_shared


@contextmanager
def shared(lock_file: Path) -> Generator[None]:
    """Keep the collector away for a moment."""
    with _held(lock_file, fcntl.LOCK_SH):
        yield


@contextmanager
def exclusive(lock_file: Path) -> Generator[None]:
    """Keep everybody else away for a moment."""
    with _held(lock_file, fcntl.LOCK_EX):
        yield


@contextmanager
def _held(lock_file: Path, operation: int) -> Generator[None]:
    descriptor = _opened(lock_file)
    try:
        fcntl.flock(descriptor, operation)
        yield
    finally:
        os.close(descriptor)


class BusyError(Exception):
    """Somebody else is at work on it."""


@contextmanager
def keyed(lock_file: Path, *, waits: bool = True) -> Generator[None]:
    """Be the only one at work on what the file is named after. The file is removed afterwards.

    Waits for others; or, unless it `waits`, raises BusyError.
    """
    while True:
        descriptor = _opened(lock_file)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if waits else fcntl.LOCK_NB))
            if _is_at(descriptor, lock_file):
                break
        except BlockingIOError:
            os.close(descriptor)
            raise BusyError(str(lock_file)) from None
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # somebody removed it while we waited: the next one is made anew
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            lock_file.unlink(missing_ok=True)
        os.close(descriptor)


def is_held(path: Path) -> bool:
    """Whether somebody holds a lock on this file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _opened(lock_file: Path) -> int:
    with system_errors(lock_file, "open"):
        make_folders(lock_file.parent)
        return open_shared(lock_file, os.O_RDWR)


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
