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
    damaged_at: int = -1
    """Where the first bytes stood that are no text and became U+FFFD; -1 when all are."""

    @classmethod
    def decode(cls, data: bytes, filename: str = "Modelfile") -> Source:
        """Decode as Ollama does: UTF-8, or UTF-16 by its byte order mark; invalid bytes become U+FFFD.

        Raises InputError above 64 MiB.
        """
        if len(data) > MAX_BYTES:
            raise InputError(f"{filename}: {len(data)} bytes, at most {MAX_BYTES} are read")
        is_utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        encoding = "utf-16" if is_utf16 else "utf-8-sig"
        try:
            return cls(data.decode(encoding), filename)
        except UnicodeDecodeError as cause:
            at = len(data[: cause.start].decode(encoding, "replace"))
            return cls(_utf16(data) if is_utf16 else _utf8(data), filename, at)

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


def _utf8(data: bytes) -> str:
    """As Go decodes what is no UTF-8: U+FFFD for each ill-formed sequence, but behind a byte order mark for each byte."""
    if not data.startswith(codecs.BOM_UTF8):
        return data.decode("utf-8", "replace")
    return data.removeprefix(codecs.BOM_UTF8).decode("utf-8", _EACH_BYTE)


def _utf16(data: bytes) -> str:
    """As Go decodes what is no UTF-16: one U+FFFD for a surrogate alone, or with a low one behind it, or half a unit."""
    whole = len(data) // 2 * 2
    encoding = "utf-16-le" if data.startswith(codecs.BOM_UTF16_LE) else "utf-16-be"
    text = data[2:whole].decode(encoding, "surrogatepass")
    return _SURROGATES.sub("\ufffd", text) + "\ufffd" * (len(data) - whole)


def _replace_each(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    return "\ufffd" * (error.end - error.start), error.end


_SURROGATES = re.compile(r"[\ud800-\udfff][\udc00-\udfff]|[\ud800-\udfff]")
_EACH_BYTE = "corral-each-byte"
codecs.register_error(_EACH_BYTE, _replace_each)
