"""Stamps: the digests of files already hashed, by what the file system says of them, so that nothing is hashed twice.

A stamp is device, inode, size, time of change and time of the inode's change. It is not trusted where it could lie: on file
systems whose inodes or times are not their own (network, FUSE, FAT), nor for a file that changed within a tick of the clock
before it was read. A lost or damaged record costs a hash, so nothing here is synced.
"""

from __future__ import annotations

import ctypes
import os
import time
from pathlib import Path
from typing import NamedTuple

from .digest import Digest
from .errors import InvalidDigestError, system_errors
from .files import write_whole

_TICK = 100_000_000
"""Nanoseconds: the kernel's clock for file times is coarser than its nanoseconds; no tick of it is longer than this."""
_SOUND = {
    0xEF53: "ext4",
    0x58465342: "XFS",
    0x9123683E: "btrfs",
    0x01021994: "tmpfs",
    0xF2F52010: "F2FS",
    0x2FC12FC1: "ZFS",
    0x794C7630: "overlay",
    0xCA451A4E: "bcachefs",
}
"""File systems (statfs(2)) whose inodes and times can be relied on."""


class Stamp(NamedTuple):
    """What the file system says of a file's content."""

    device: int
    inode: int
    size: int
    changed: int
    """Nanoseconds: mtime."""
    touched: int
    """Nanoseconds: ctime, which links and renames change too."""

    @classmethod
    def of(cls, status: os.stat_result) -> Stamp:
        """From stat(2)."""
        return cls(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)

    def is_settled(self, since: int | None = None) -> bool:
        """Whether whatever changes the file from now on, or `since` these nanoseconds of time, changes its times too."""
        now = time.time_ns() if since is None else since
        return 0 <= max(self.changed, self.touched) < now - _TICK


class Stamps:
    """The remembered digests of one store."""

    def __init__(self, folder: Path, ingest_folder: Path) -> None:
        self._folder = folder
        self._ingest_folder = ingest_folder

    def key(self, stamp: Stamp) -> Path:
        """The file that remembers this inode's digest."""
        return self._folder / f"{stamp.device:x}-{stamp.inode:x}"

    def find(self, stamp: Stamp) -> Digest | None:
        """The digest of the file with this stamp, None when it is not known."""
        try:
            *numbers, digest = self.key(stamp).read_text().split()
            known = Stamp(stamp.device, stamp.inode, *map(int, numbers))
            return Digest.parse(digest) if known == stamp else None
        except (OSError, ValueError, TypeError, InvalidDigestError):
            return None

    def record(self, stamp: Stamp, digest: Digest) -> None:
        """Remember a digest."""
        text = f"{stamp.size} {stamp.changed} {stamp.touched} {digest}\n"
        with system_errors(self._folder, "write to the store"):
            write_whole(self.key(stamp), text.encode(), self._ingest_folder, is_durable=False)


def has_sound_stamps(path: Path) -> bool:
    """Whether the file system that holds the file keeps inodes and times that say when a file is another."""
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        buffer = ctypes.create_string_buffer(512)
        if libc.statfs(os.fsencode(path), buffer):
            return False
        return (ctypes.c_long.from_buffer(buffer).value & 0xFFFFFFFF) in _SOUND
    except (OSError, AttributeError):
        return False
