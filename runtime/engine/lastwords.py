"""LastWords: what a process says on stderr, of which the end is kept: why it died is mostly there."""

from __future__ import annotations

import asyncio
import re
from collections import deque
from pathlib import PurePath

_LINES = 20
_LINE = 500
"""Bytes; a name in a hostile file may make a line of any length."""
_SOURCE_FOLDER = re.compile(r"^/[^:]*/(?=[^/:]+:\d+: )")
"""Where the engine was built, before the file and line of a failed assertion."""


class LastWords:
    """Its last lines, each cut. The file it works on, at `path`, is called by its name, for other users may read them."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._lines: deque[str] = deque(maxlen=_LINES)

    async def read(self, stderr: asyncio.StreamReader) -> None:
        """Read to the end."""
        rest = b""
        while data := await stderr.read(1 << 16):
            *lines, rest = (rest + data).split(b"\n")
            rest = rest[:_LINE]
            self.keep(lines)
        self.keep([rest])

    def keep(self, lines: list[bytes]) -> None:
        """Add lines; blank ones say nothing."""
        texts = (line[:_LINE].decode("utf-8", "replace").rstrip() for line in lines)
        name = PurePath(self._path).name
        self._lines.extend(_SOURCE_FOLDER.sub("", text.replace(self._path, name)) for text in texts if text)

    @property
    def last(self) -> str:
        """The last line, "" when nothing was said."""
        return self._lines[-1] if self._lines else ""

    @property
    def complaint(self) -> str:
        """The first of the lines that speaks of an error, "" when none does."""
        return next((line for line in self._lines if "error" in line.lower()), "")
