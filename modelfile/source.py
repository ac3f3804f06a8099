"""Source: a Modelfile's text, decoded, with the way from an offset to a line and column. Pure."""

from __future__ import annotations

import codecs
import re
from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property

from ..store.errors import InputError

MAX_BYTES = 64 << 20
MAX_NODES = 500_000
"""Instructions and comments in a file; each takes far more memory than the few bytes it may have."""
_LINE_END = re.compile(r"\r\n|\r|\n")


@dataclass(frozen=True, slots=True)
class Span:
    """A half-open range of character offsets into a Source."""

    start: int
    end: int


@dataclass(frozen=True)
class Source:
    """Decoded text and the name it goes by in messages."""

    text: str
    filename: str = "Modelfile"
    is_damaged: bool = False
    """Whether bytes were not text and became U+FFFD."""

    @classmethod
    def decode(cls, data: bytes, filename: str = "Modelfile") -> Source:
        """Decode as Ollama does: UTF-8, or UTF-16 by its byte order mark; invalid bytes become U+FFFD.

        Raises InputError above 64 MiB.
        """
        if len(data) > MAX_BYTES:
            raise InputError(f"{filename}: {len(data)} bytes, at most {MAX_BYTES} are read")
        is_utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        encoding, data = ("utf-16", data) if is_utf16 else ("utf-8", data.removeprefix(codecs.BOM_UTF8))
        try:
            return cls(data.decode(encoding), filename)
        except UnicodeDecodeError:
            return cls(data.decode(encoding, "replace"), filename, is_damaged=True)

    def position(self, offset: int) -> tuple[int, int]:
        """Line and column of an offset, both from 1; columns count characters, and CRLF ends one line."""
        line = bisect_right(self._line_starts, offset)
        return line, offset - self._line_starts[line - 1] + 1

    def line(self, number: int) -> str:
        """A line's text without its end; numbers start at 1."""
        starts = self._line_starts
        end = starts[number] if number < len(starts) else len(self.text)
        return self.text[starts[number - 1] : end].rstrip("\r\n")

    @cached_property
    def _line_starts(self) -> list[int]:
        return [0, *(found.end() for found in _LINE_END.finditer(self.text))]
