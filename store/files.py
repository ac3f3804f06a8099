"""Files: how one is opened without surprises, and how one is put in place whole and durably."""

from __future__ import annotations

import ctypes
import os
import secrets
import shutil
import stat
from collections.abc import Generator
from contextlib import contextmanager
from functools import cache
from io import BufferedReader
from pathlib import Path

from .errors import FileError, InputError, system_errors

_PIECE = 4 << 20
_GROUP = stat.S_IRGRP | stat.S_IWGRP


@contextmanager
def open_regular(path: Path) -> Generator[BufferedReader]:
    """A file of the user's for reading. Raises InputError for a device or a pipe (it may never end), FileError."""
    with system_errors(path, "read", FileError), open(path, "rb", opener=_without_waiting) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise InputError(f"{path}: not a regular file")
        yield file


def _without_waiting(path: str, flags: int) -> int:
    # Opening a named pipe for reading would else wait for a writer.
    return os.open(path, flags | os.O_NONBLOCK)


def open_shared(path: Path, flags: int) -> int:
    """A descriptor of a file, made if need be, that whoever may write to its folder may open too."""
    descriptor = os.open(path, flags | os.O_CREAT | os.O_CLOEXEC, 0o644)
    if os.fstat(descriptor).st_uid == os.geteuid():
        allow_group(descriptor, path.parent)
    return descriptor


def make_folders(folder: Path) -> None:
    """Make a folder, and those above it, with the rights a group has on the nearest one that is there."""
    if folder.is_dir():
        return
    make_folders(folder.parent)
    folder.mkdir(exist_ok=True)
    above = folder.parent.stat().st_mode
    if above & stat.S_IWGRP:
        folder.chmod(stat.S_IMODE(folder.stat().st_mode) | (above & (stat.S_IRWXG | stat.S_ISGID)))


def allow_group(descriptor: int, folder: Path) -> None:
    """Give a new file the rights of its folder's group, which the umask may have taken."""
    if folder.stat().st_mode & stat.S_IWGRP:
        os.fchmod(descriptor, stat.S_IMODE(os.fstat(descriptor).st_mode) | _GROUP)


def write_whole(path: Path, data: bytes, ingest_folder: Path, *, is_durable: bool = True) -> None:
    """Write a small file so that it is there whole or not at all: temp file, fsync, rename. Makes its folder.

    That the rename survives a power cut is the caller's: sync_folder().
    """
    temporary = ingest_folder / secrets.token_hex(12)
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            allow_group(file.fileno(), ingest_folder)
            if is_durable:
                os.fsync(file.fileno())
        for attempt in range(5):
            try:
                make_folders(path.parent)
                temporary.rename(path)
            except (FileNotFoundError, FileExistsError):  # a concurrent delete removed the folder it had just emptied
                if attempt == 4:
                    raise
            else:
                return
    finally:
        temporary.unlink(missing_ok=True)


def give_second_name(path: Path, name: Path, ingest_folder: Path) -> None:
    """Have a file, brought to the disk, by another name too; where it can have one only, a copy gets the other.

    What has the name gives way. That the name survives a power cut is the caller's: sync_folder().
    """
    temporary = ingest_folder / secrets.token_hex(12)
    try:
        with path.open("rb") as source:
            os.fsync(source.fileno())
            try:
                os.link(os.path.realpath(path), temporary)  # a link to a link would depend on where it is
            except FileNotFoundError:
                raise
            except OSError:  # a file system without links, or somebody else's file
                with temporary.open("xb") as copy:
                    shutil.copyfileobj(source, copy, _PIECE)
                    copy.flush()
                    allow_group(copy.fileno(), ingest_folder)
                    os.fsync(copy.fileno())
        temporary.rename(name)
    finally:
        temporary.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make the folder's entries (a rename into it) survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folders(folder: Path, root: Path) -> None:
    """sync_folder() of a folder and all above it up to `root`, any of which may be new."""
    sync_folder(folder)
    while folder != root:
        folder = folder.parent
        sync_folder(folder)


def start_writing_back(descriptor: int, start: int, count: int) -> None:
    """Have the kernel begin to write a range to the disk, so that a later fsync has less to wait for; a mere hint."""
    begin = getattr(_libc(), "sync_file_range", None)
    if begin:
        begin(descriptor, ctypes.c_int64(start), ctypes.c_int64(count), 2)  # SYNC_FILE_RANGE_WRITE


@cache
def _libc() -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL(None)
    except OSError:
        return None


def put_private(path: Path, data: bytes) -> None:
    """Put a file in place whole, readable by its owner alone from its first moment. Raises FileError."""
    target = path.resolve()  # a link to the file, as those have who keep their settings elsewhere, stays one
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(6)}")
    with system_errors(path, "write", FileError):
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            with open(temporary, "xb", opener=_private) as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.rename(target)
            sync_folder(target.parent)
        finally:
            temporary.unlink(missing_ok=True)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
