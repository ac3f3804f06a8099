"""Scanner: the numbers and strings of a GGUF's header in their order, read in blocks and never past their bounds.

Every length is compared with the bytes that are left before it is believed. What is only skipped is never held: a
vocabulary of any size costs one block of memory.
"""

from __future__ import annotations

import struct
from typing import BinaryIO, NoReturn

from .errors import InvalidGGUFError

MAX_HEADER = 128 << 20
"""Bytes before a file's tensors; twenty times what the largest vocabularies take."""
MAX_STRING = 16 << 20
MAX_TEXT = 32 << 20
"""Bytes of text that are kept in all."""
MAX_STRINGS = 2 << 20
"""Strings in all arrays together, kept or skipped."""

_BLOCK = 1 << 20
_LENGTH = struct.Struct("<Q")


class Scanner:
    """See the module. `size` is the file's; what is wrong in it is an InvalidGGUFError that names `identity`."""

    def __init__(self, file: BinaryIO, size: int, identity: str, start: int = 0) -> None:
        self.size = size
        self._file = file
        self._identity = identity
        self._end = min(size, MAX_HEADER)
        self._start = start  # of the block, in the file
        self._block = b""
        self._at = 0  # in the block, or behind it after a skip
        self._text_left = MAX_TEXT
        self._strings_left = MAX_STRINGS

    @property
    def position(self) -> int:
        """How many bytes of the file lie behind."""
        return self._start + self._at

    def unpack(self, layout: struct.Struct) -> tuple[int, ...]:
        """The next values of this layout."""
        at = self._reach(layout.size)
        return layout.unpack_from(self._block, at)

    def take(self, count: int) -> bytes:
        """The next bytes."""
        at = self._reach(count)
        return self._block[at : at + count]

    def string(self, what: str) -> str:
        """The next string; what is no UTF-8 in it becomes U+FFFD."""
        (length,) = self.unpack(_LENGTH)
        self._check_length(what, length, min(self._text_left, MAX_STRING))
        self._text_left -= length
        return self.take(length).decode("utf-8", "replace")

    def strings(self, what: str, claimed: int, kept: int) -> tuple[str, ...]:
        """The first `kept` of the next `claimed` strings; the others are skipped."""
        count = self.bounded(f"length of {what!r}", claimed, self._strings_left, least_bytes=_LENGTH.size)
        self._strings_left -= count
        found = tuple(self.string(what) for _ in range(min(count, kept)))
        self.skip_strings(what, count - len(found))
        return found

    def skip_strings(self, what: str, count: int) -> None:
        """Go over strings, looking at their lengths only."""
        unpack = _LENGTH.unpack_from
        while count:
            start = at = self._reach(_LENGTH.size)
            block, last = self._block, len(self._block) - _LENGTH.size
            done = length = 0
            # A vocabulary goes through here token by token, so there is little in it.
            for done in range(1, count + 1):  # noqa: B007 - it is read after the loop
                (length,) = unpack(block, at)
                at += _LENGTH.size + length
                if at > last:
                    break
            # A length that is too large led out of the block, so it is the last one.
            self._check_length(what, length, MAX_STRING)
            self._at = start
            self.skip(at - start)
            count -= done

    def skip(self, count: int) -> None:
        """Go over bytes without reading them."""
        if count > self._end - self.position:
            self._end_reached(count)
        self._at += count

    def bounded(self, what: str, claimed: int, most: int, *, least_bytes: int) -> int:
        """A count that is no larger than allowed, and no larger than the bytes left can hold."""
        left = self.size - self.position
        if claimed > most or claimed * least_bytes > left:
            self.wrong(f"{what} is {claimed}, more than the {left} bytes left can hold or {most} allowed")
        return claimed

    def wrong(self, why: str) -> NoReturn:
        """Raise InvalidGGUFError."""
        raise InvalidGGUFError(self._identity, why)

    def _check_length(self, what: str, length: int, most: int) -> None:
        if length > most:
            self.wrong(f"{what!r}: a string of {length} bytes, at most {most} are read")

    def _reach(self, count: int) -> int:
        """Where in the block the next bytes are; they lie behind then."""
        at = self._at
        if at + count > len(self._block):
            position = self.position
            if count > (left := self._end - position):
                self._end_reached(count)
            self._file.seek(position)
            self._block = self._file.read(max(count, min(_BLOCK, left)))
            self._start, at = position, 0
            if len(self._block) < count:
                self.wrong("it became shorter while it was read")
        self._at = at + count
        return at

    def _end_reached(self, count: int) -> NoReturn:
        if self._end < self.size:
            self.wrong(f"its header is longer than the {MAX_HEADER} bytes allowed")
        self.wrong(f"truncated: {count} bytes wanted at byte {self.position} of {self.size}")
