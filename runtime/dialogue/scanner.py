"""Scanner: the text of an answer while it streams in, and the parts that are made of it. Pure.

What reads it is a generator that yields when it needs more text, so it is written as if the whole text were there. Text is
looked at once and then gone: however it is cut into pieces, the parts are the same, and the time grows with the text only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias, TypeVar

from ...modelfile.template.conversation import ToolCall
from .parts import Called, Content, Part, Thought

MAX_CALL = 1 << 20
"""Characters of one call; what is longer is content."""
MAX_DEPTH = 64
"""Brackets in brackets."""
_MAX_WORD = 256
"""Characters of a name, and of what may stand before one."""
_BLANKS = re.compile(r"\s*")
_NAME = re.compile(r"[\w.:/-]*")
_CLOSERS = {"{": "}", "[": "]", "(": ")"}
_T = TypeVar("_T")
Steps: TypeAlias = Generator[None, None, _T]
"""What yields for more text, and returns what it has read."""


class NotACallError(Exception):
    """What looked like a call is none: it is content."""


@dataclass(frozen=True, slots=True)
class Syntax:
    """How values in brackets are written."""

    outside: re.Pattern[str]
    """A run of whole texts and of what may stand outside of them, but for brackets. All else is a mistake."""
    texts: Mapping[str, re.Pattern[str]]
    """What a text stands between, and the run of characters that does not end it."""

    @classmethod
    def of(cls, plain: str, *quotes: str) -> Syntax:
        """With these characters, as in a set of a pattern, and quotes. A backslash escapes, but not between long quotes."""
        inside = {quote: _inside(quote) for quote in quotes}
        texts = "|".join(re.escape(quote) + run + re.escape(quote) for quote, run in inside.items())
        return cls(
            re.compile(rf"(?:[{plain}]++|{texts})*+", re.DOTALL),
            {quote: re.compile(run, re.DOTALL) for quote, run in inside.items()},
        )


class Scanner:
    """Text goes in by `add`, parts come out by `taken`."""

    def __init__(self, new_id: Callable[[], str]) -> None:
        self._new_id = new_id
        self._text, self._at = "", 0
        self._ended = False
        self._parts: list[Part] = []
        self._calls = 0
        self._is_trying = False
        self._read: list[str] = []
        """What has been read of what may be a call."""
        self._size = 0

    def add(self, text: str) -> None:
        """More of the answer."""
        self._text, self._at = self._text[self._at :] + text if self._at < len(self._text) else text, 0

    def close(self) -> None:
        """Nothing more comes: from here on no reader yields."""
        self._ended = True

    def taken(self) -> list[Part]:
        """The parts since it was last asked."""
        parts = self._parts
        if parts:
            self._parts = []
            return parts
        return []

    def say(self, kind: type[Content] | type[Thought], text: str) -> None:
        """Some content, or a thought."""
        if text:
            self._parts.append(kind(text))

    def call(self, name: str, arguments: Mapping[str, Any]) -> None:
        """A call that is complete. Raises NotACallError for one without a name."""
        if not name:
            raise NotACallError
        self._parts.append(Called(ToolCall(name, arguments, self._new_id(), self._calls)))
        self._calls += 1
        self._read, self._size = [], 0

    def attempt(self, opening: str, steps: Steps[_T]) -> Steps[_T | None]:
        """What `steps` return, None when there is no call: then the opening, and what they have read, is content.

        What was read before the last call they made is not: that was the call.
        """
        self._is_trying, self._read, self._size = True, [opening], 0
        try:
            return (yield from steps)
        except NotACallError:
            self.say(Content, "".join(self._read))
            return None
        finally:
            self._is_trying, self._read = False, []

    def say_until(self, kind: type[Content] | type[Thought], tags: tuple[str, ...]) -> Steps[str]:
        """The text up to one of the tags is said as it comes. Returns the tag, "" at the end."""
        find = _finder(tags)
        while True:
            found = find(self._text, self._at)
            if found and found[1]:
                self.say(kind, self._text[self._at : found.start()])
                self._at = found.end()
                return found[1]
            end = found.start() if found and not self._ended else len(self._text)
            if end > self._at:
                self._parts.append(kind(self._text[self._at : end]))
                self._at = end
            if self._ended:
                return ""
            yield

    def until(self, *tags: str) -> Steps[str]:
        """The text up to one of the tags, which is read too. Raises NotACallError when none comes."""
        find, start = _finder(tags), len(self._read)
        while True:
            found = find(self._text, self._at)
            if found and found[1]:
                self._advance(found.start())
                text = "".join(self._read[start:])
                self._advance(found.end())
                return text
            self._advance(found.start() if found else len(self._text))
            if self._ended:
                raise NotACallError
            yield

    def take(self, *literals: str) -> Steps[str]:
        """The one of the literals that stands here, "" for none."""
        literal = yield from self.follows(*literals)
        self._advance(self._at + len(literal))
        return literal

    def expect(self, *literals: str) -> Steps[None]:
        """One of the literals. Raises NotACallError when none stands here."""
        if not (yield from self.take(*literals)):
            raise NotACallError

    def follows(self, *literals: str) -> Steps[str]:
        """The one of the literals that stands here, without reading it, "" for none."""
        longest = max(map(len, literals))
        while True:
            here = self._text[self._at : self._at + longest]
            for literal in literals:
                if here.startswith(literal):
                    return literal
            if self._ended or not any(literal.startswith(here) for literal in literals):
                return ""
            yield

    def ahead(self, whole: re.Pattern[str], begun: re.Pattern[str]) -> Steps[re.Match[str] | None]:
        """A match of `whole` here, without reading it. It is awaited while all that is here matches `begun`."""
        while True:
            end = self._at + _MAX_WORD
            if found := whole.match(self._text, self._at, end):
                return found
            if self._ended or end <= len(self._text) or not begun.fullmatch(self._text, self._at):
                return None
            yield

    def blanks(self) -> Steps[str]:
        """All blanks that stand here."""
        return self._run(_BLANKS)

    def name(self) -> Steps[str]:
        """A name, "" when there is none. Raises NotACallError when it is too long for one."""
        return self._run(_NAME, _MAX_WORD)

    def header(self, pattern: re.Pattern[str]) -> Steps[str]:
        """A run of characters before something else. Raises NotACallError when it is too long."""
        return self._run(pattern, _MAX_WORD)

    def nested(self, syntax: Syntax) -> Steps[str]:
        """A value in brackets. Raises NotACallError where there is none, or a mistake in it, or it does not end."""
        start, closers = len(self._read), list[str]()
        yield from self.follows(*_CLOSERS)
        while True:
            end = _end(syntax.outside, self._text, self._at) if closers else self._at
            self._advance(end)
            char = self._text[end : end + 1]
            if not char:
                if self._ended:
                    raise NotACallError
                yield
            elif char in _CLOSERS and len(closers) < MAX_DEPTH:
                closers.append(_CLOSERS[char])
                self._advance(end + 1)
            elif not closers:
                raise NotACallError
            elif char == closers[-1]:
                closers.pop()
                self._advance(end + 1)
                if not closers:
                    return "".join(self._read[start:])
            else:
                quote = yield from self.take(*syntax.texts)
                if not quote:
                    raise NotACallError
                yield from self._quoted(quote, syntax.texts[quote])

    def _quoted(self, quote: str, inside: re.Pattern[str]) -> Steps[None]:
        while True:
            end = _end(inside, self._text, self._at)
            self._advance(end)
            if self._text.startswith(quote, end):
                self._advance(end + len(quote))
                return
            if self._ended:
                raise NotACallError
            yield

    def _run(self, pattern: re.Pattern[str], most: int | None = None) -> Steps[str]:
        """The characters that match. Raises NotACallError when there are more than `most`."""
        start, left = len(self._read), most
        while True:
            end = _end(pattern, self._text, self._at)
            if left is not None:
                left -= end - self._at
                if left < 0:
                    self._advance(end + left)
                    raise NotACallError
            self._advance(end)
            if self._at < len(self._text) or self._ended:
                return "".join(self._read[start:])
            yield

    def _advance(self, end: int) -> None:
        """Text up to `end` is read. Raises NotACallError when that is too much for a call."""
        if end == self._at:
            return
        if self._is_trying:
            self._size += end - self._at
            over = self._size - MAX_CALL
            self._read.append(self._text[self._at : end - max(over, 0)])
            if over > 0:
                self._at = end - over
                raise NotACallError
        self._at = end


@lru_cache(maxsize=256)
def _finder(tags: tuple[str, ...]) -> Callable[[str, int], re.Match[str] | None]:
    """Finds the first tag, as group 1, or at the end of the text what may begin one."""
    if not tags:
        return re.compile(r"((?!))").search
    whole = "|".join(re.escape(tag) for tag in sorted(tags, key=len, reverse=True))
    return re.compile(rf"({whole})|(?:{'|'.join(map(_beginning, tags))})\Z").search


def _beginning(tag: str) -> str:
    """A pattern of what may begin a tag."""
    rest = ""
    for char in reversed(tag[1:-1]):
        rest = f"(?:{re.escape(char)}{rest})?"
    return re.escape(tag[0]) + rest if len(tag) > 1 else "(?!)"


def _end(pattern: re.Pattern[str], text: str, at: int) -> int:
    found = pattern.match(text, at)
    return found.end() if found else at


def _inside(quote: str) -> str:
    """A pattern of what stands before the closing quote, which may not have come yet."""
    first = re.escape(quote[0])
    if len(quote) == 1:
        return rf"[^{first}\\]*+(?:\\.[^{first}\\]*+)*+"
    rest = re.escape(quote[1:])
    return rf"[^{first}]*+(?:{first}(?!{rest}|{_beginning(quote)[len(first) :]}\Z)[^{first}]*+)*+"
