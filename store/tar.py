"""Tar: how a model's archive is written, in one way only, and how anybody's is read within bounds.

The reader keeps nothing but the header it is at, whatever the file claims: regular files and folders come through; links,
devices, sparse files and names that need more than a header are refused.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from .errors import FileError, InvalidArchiveError, shown, system_errors

END = bytes(2 * tarfile.BLOCKSIZE)
"""What ends an archive."""
MAX_MEMBERS = 50_000
_CHUNK = 1 << 20
_MAX_RECORDS = 64 << 10
_SIZE, _IGNORED = "size", ("mtime", "atime", "ctime", "uid", "gid", "uname", "gname", "comment")
_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}


@dataclass(frozen=True, slots=True)
class Member:
    """A regular file or a folder in an archive."""

    name: str
    size: int
    start: int
    """Where its bytes begin in the file."""
    is_folder: bool = False


def header(name: str, size: int) -> bytes:
    """What stands before a file's bytes: no owner, no time."""
    member = tarfile.TarInfo(name)
    member.size = size
    return member.tobuf(tarfile.GNU_FORMAT)


def padding(size: int) -> bytes:
    """What stands behind a file's bytes."""
    return bytes(-size % tarfile.BLOCKSIZE)


class Reader:
    """What is in an archive, in its order. `size` is the archive's, None for a pipe, which cannot be sought in."""

    def __init__(self, file: BinaryIO, identity: str, size: int | None) -> None:
        self._file = file
        self._identity = identity
        self._size = size
        self._at = 0
        self._end = 0
        """Where the current member's bytes end."""

    def __iter__(self) -> Iterator[Member]:
        """Raises InvalidArchiveError where it finds what does not belong in a model's archive."""
        names: set[str] = set()
        extended: int | None = None
        for _ in range(MAX_MEMBERS):
            self._skip_to(-(-self._end // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE)
            info = self._header()
            if info is None:
                return
            if info.type in (tarfile.XHDTYPE, tarfile.XGLTYPE):
                extended = self._records(info.size)
                continue
            size, extended = info.size if extended is None else extended, None
            member = Member(info.name.removeprefix("./"), size, self._at, info.isdir())
            self._check(member, info)
            if member.name in names:
                raise self._wrong(f"{shown(member.name)} is in it twice")
            names.add(member.name)
            self._end = self._at + member.size
            yield member
        raise self._wrong(f"more than {MAX_MEMBERS} entries")

    def chunks(self, member: Member) -> Iterator[bytes]:
        """The bytes of a member; in a pipe, of the one that was given last."""
        self._skip_to(member.start)
        while left := member.start + member.size - self._at:
            yield self._read(min(left, _CHUNK))

    def _header(self) -> tarfile.TarInfo | None:
        block = self._read(tarfile.BLOCKSIZE)
        for start, kind in _COMPRESSED.items():
            if self._at == tarfile.BLOCKSIZE and block.startswith(start):
                raise self._wrong(f"it is compressed with {kind}", hint=f"decompress it first, with {kind} -d")
        if not any(block):
            return None
        try:
            return tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except (tarfile.HeaderError, ValueError) as cause:
            where = f"at byte {self._at - tarfile.BLOCKSIZE}"
            raise self._wrong(f"it is no tar archive {where}: {cause}") from None

    def _records(self, size: int) -> int | None:
        """The size that an extended header gives the next file, which may be too large for its own."""
        if not 0 <= size <= _MAX_RECORDS:
            raise self._wrong(f"an extended header of {size} bytes, at most {_MAX_RECORDS} are read")
        data, found = self._read(size), None
        self._end = self._at
        while data:
            length, _, rest = data.partition(b" ")
            count = int(length) if length.isdigit() and len(length) < 8 else 0
            key, _, value = rest[: count - len(length) - 2].decode("utf-8", "replace").partition("=")
            if not 0 < count <= len(data) or not data[:count].endswith(b"\n"):
                raise self._wrong("an extended header that cannot be read")
            if key == _SIZE and value.isascii() and value.isdigit() and len(value) < 20:
                found = int(value)
            elif key not in _IGNORED and not key.startswith(("SCHILY.", "LIBARCHIVE.")):
                raise self._wrong(f"an extended header with {shown(key)}")
            data = data[count:]
        return found

    def _check(self, member: Member, info: tarfile.TarInfo) -> None:
        if info.type not in (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.DIRTYPE):
            raise self._wrong(f"{shown(member.name)} is neither a file nor a folder")
        if member.size < 0 or (member.is_folder and member.size):
            raise self._wrong(f"{shown(member.name)} has {member.size} bytes")
        if self._size is not None and self._at + member.size > self._size:
            end = self._at + member.size
            raise self._wrong(f"truncated: {shown(member.name)} ends at byte {end}, the file has {self._size}")

    def _skip_to(self, place: int) -> None:
        if self._size is not None:
            with system_errors(self._identity, "read", FileError):
                self._file.seek(place)
            self._at = place
        while self._at < place:
            self._read(min(place - self._at, _CHUNK))

    def _read(self, size: int) -> bytes:
        with system_errors(self._identity, "read", FileError):
            data = self._file.read(size)
        self._at += len(data)
        if len(data) < size:
            raise self._wrong(f"truncated: it ends at byte {self._at}")
        return data

    def _wrong(self, why: str, *, hint: str | None = None) -> InvalidArchiveError:
        return InvalidArchiveError(self._identity, why, hint=hint)
