"""Sight: how files are at one moment, and whether what was concluded from them at another moment still holds.

It does while the stamps of all of them are the same. That is enough, because a stamp is only relied on if it had settled when
the look began: whatever happens to the file from then on gives it a later ctime, which nobody can set. So these are seen too:
a change while the file is read, one within a tick of the clock, one that keeps the size and puts the old mtime back, a new
file that got the old one's inode. On file systems that keep no such stamps nothing holds.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from .stamps import Stamp, has_sound_stamps

_UNSEEN = Stamp(0, 0, 0, -1, -1)
"""Of what there is but cannot be looked at: it never settles."""


class Evidence(NamedTuple):
    """The files from which something was concluded, as they were."""

    paths: tuple[str, ...]
    stamps: tuple[Stamp | None, ...]
    """None of what was not there."""


class Sight(dict[str, Stamp | None]):
    """Stamps by path. Each file is looked at when it is first asked for, and then no more."""

    def __init__(self) -> None:
        self._since = time.time_ns()
        self._is_sound: dict[int, bool] = {}

    def __missing__(self, path: str) -> Stamp | None:
        try:
            stamp = Stamp.of(os.stat(path))  # noqa: PTH116 - a Path for each of many takes long
        except (FileNotFoundError, NotADirectoryError):
            stamp = None
        except OSError:
            stamp = _UNSEEN
        self[path] = stamp
        return stamp

    def evidence(self, paths: Iterable[str]) -> Evidence | None:
        """The files, for what is concluded from them by who reads them after the look began.

        None where a change of one might not show.
        """
        asked = tuple(paths)
        found = Evidence(asked, self._stamps(asked))
        return found if all(map(self._is_reliable, *found)) else None

    def shows(self, evidence: Evidence) -> bool:
        """Whether all files are as they were."""
        return self._stamps(evidence.paths) == evidence.stamps

    def _stamps(self, paths: tuple[str, ...]) -> tuple[Stamp | None, ...]:
        return tuple(map(self.__getitem__, paths))

    def _is_reliable(self, path: str, stamp: Stamp | None) -> bool:
        if stamp is None:
            return True
        if stamp.device not in self._is_sound:
            self._is_sound[stamp.device] = has_sound_stamps(Path(path))
        return self._is_sound[stamp.device] and stamp.is_settled(self._since)
