"""Patterns: ECMAScript's regular expressions, as far as they are regular, as automata. Pure.

What two dialects read differently is read as both do: \\s, \\d and \\w are what ECMAScript and Python have in common, and so
is what they leave out. A pattern may match anywhere in the text, unless it is anchored (JSON Schema 2020-12, 6.3.3).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import NoReturn, TypeAlias

from .automaton import Automaton, Net, both
from .budget import Budget, unenforceable
from .codepoints import ANY, HIGHEST, CodePoints, overlap, points, union, without

_LONGEST, _DEEPEST = 4096, 40
_BEGIN: CodePoints = ((HIGHEST + 1, HIGHEST + 1),)
_END: CodePoints = ((HIGHEST + 2, HIGHEST + 2),)
"""What stands before and after a text while it is being matched: `^` and `$` read it."""

_DIGITS = points("09")
_WORD = points("09", "AZ", "az", "_")
_BLANKS = points("\t\r", " ", "\xa0", "\u1680", "\u2000\u200a", "\u2028", "\u2029", "\u202f", "\u205f", "\u3000")
_SOMEWHERE_BLANKS = union((*_BLANKS, *points("\x1c\x1f", "\x85", "\ufeff")))
_LINE_ENDS = points("\n", "\r", "\u2028", "\u2029")
_ASCII: CodePoints = ((0, 0x7F),)
_NOT_ASCII = without(ANY, _ASCII)
_CLASSES = {
    "d": _DIGITS,
    "w": _WORD,
    "s": _BLANKS,
    "D": without(_ASCII, _DIGITS),
    "W": without(_ASCII, _WORD),
    "S": without(ANY, _SOMEWHERE_BLANKS),
}
_WIDER = {
    "d": union((*_DIGITS, *_NOT_ASCII)),
    "w": union((*_WORD, *_NOT_ASCII)),
    "s": _SOMEWHERE_BLANKS,
    "D": without(ANY, _DIGITS),
    "W": without(ANY, _WORD),
    "S": without(ANY, _BLANKS),
}
"""What a class leaves out when it names these: all that a dialect might count among them."""
_CONTROLS = {"t": "\t", "n": "\n", "v": "\v", "f": "\f", "r": "\r"}
_COUNT = re.compile(r"\{(\d{1,6})(,(\d{0,6}))?\}")
_HEX = re.compile(r"x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|u\{([0-9A-Fa-f]{1,6})\}")
_LOW_HALF = re.compile(r"\\u([dD][c-fC-F][0-9A-Fa-f]{2})")
_NAME = re.compile(r"\?(?::|<[A-Za-z_$][\w$]*>)", re.ASCII)


@dataclass(frozen=True, slots=True)
class _Sequence:
    parts: tuple[_Expression, ...]


@dataclass(frozen=True, slots=True)
class _Choice:
    parts: tuple[_Expression, ...]


@dataclass(frozen=True, slots=True)
class _Repeat:
    part: _Expression
    low: int
    high: int | None


_Expression: TypeAlias = CodePoints | _Sequence | _Choice | _Repeat


class Patterns:
    """The patterns of a schema as automata, each made once."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._known: dict[str, Automaton] = {}

    def matching(self, pattern: str, pointer: str) -> Automaton:
        """All texts in which the pattern matches. Raises SchemaError, also for a pattern that never matches."""
        if pattern not in self._known:
            self._known[pattern] = _searching(_Parser(pattern, pointer).whole(), self._budget)
            if self._known[pattern].is_empty:
                raise unenforceable(pointer, "pattern", "nothing matches it", hint="correct the pattern")
        return self._known[pattern]


def _searching(expression: _Expression, budget: Budget) -> Automaton:
    before = _Repeat(_Sequence((_BEGIN, _Repeat(ANY, 0, None))), 0, 1)
    after = _Repeat(_Sequence((_Repeat(ANY, 0, None), _END)), 0, 1)
    marked = both(
        _automaton(_Sequence((before, expression, after)), budget),
        _automaton(_Sequence((_BEGIN, _Repeat(ANY, 0, None), _END)), budget),
        budget,
    )
    return marked if marked.is_empty else marked.between(_BEGIN, _END)


@lru_cache(512)
def exactly(pattern: str) -> Automaton:
    """All texts that the pattern, one of Corral's own, matches as a whole."""
    return _automaton(_Parser(pattern, "#").whole(), Budget())


def _automaton(expression: _Expression, budget: Budget) -> Automaton:
    net = Net(budget)
    start = net.state()
    return net.automaton(start, _add(net, expression, start))


def _add(net: Net, expression: _Expression, start: int) -> int:
    """Add an expression that begins in `start` to the net; where it ends."""
    match expression:
        case _Sequence(parts):
            for part in parts:
                start = _add(net, part, start)
            return start
        case _Choice(parts):
            end = net.state()
            for part in parts:
                net.skip(_add(net, part, start), end)
            return end
        case _Repeat(part, low, high):
            return _repeat(net, part, start, low, high)
        case _:
            end = net.state()
            net.step(start, expression, end)
            return end


def _repeat(net: Net, part: _Expression, start: int, low: int, high: int | None) -> int:
    for _ in range(low):
        start = _add(net, part, start)
    end = net.state()
    if high is None:
        again = net.state()
        net.skip(start, again)
        net.skip(_add(net, part, again), again)
        net.skip(again, end)
        return end
    net.skip(start, end)
    for _ in range(high - low):
        start = _add(net, part, start)
        net.skip(start, end)
    return end


class _Parser:
    """Reads a pattern from left to right; each method's docstring is its rule."""

    def __init__(self, pattern: str, pointer: str) -> None:
        self._text, self._pointer, self._at, self._depth = pattern, pointer, 0, 0
        if len(pattern) > _LONGEST:
            self._fail(f"it is longer than {_LONGEST} characters")

    def whole(self) -> _Expression:
        """Whole := choice, and nothing after it"""
        expression = self._choice()
        if self._at < len(self._text):
            self._fail('there is a ")" too many')
        return expression

    def _choice(self) -> _Expression:
        """Choice := sequence ("|" sequence)*"""
        parts = [self._sequence()]
        while self._takes("|"):
            parts.append(self._sequence())
        return parts[0] if len(parts) == 1 else _Choice(tuple(parts))

    def _sequence(self) -> _Expression:
        """Sequence := (atom quantifier?)*"""
        parts: list[_Expression] = []
        while self._at < len(self._text) and self._text[self._at] not in "|)":
            parts.append(self._quantified(self._atom()))
        return parts[0] if len(parts) == 1 else _Sequence(tuple(parts))

    def _quantified(self, atom: _Expression) -> _Expression:
        """Quantifier := ("*" | "+" | "?" | "{" low ("," high?)? "}") "?"?"""
        counted = _COUNT.match(self._text, self._at)
        if counted:
            self._at = counted.end()
            low = int(counted[1])
            high = low if counted[2] is None else int(counted[3]) if counted[3] else None
        else:
            mark = self._text[self._at : self._at + 1]
            if not mark or mark not in "*+?":
                return atom
            self._at += 1
            low, high = (1 if mark == "+" else 0), (1 if mark == "?" else None)
        if high is not None and low > high:
            self._fail("a repetition's bounds are the wrong way round")
        if atom in (_BEGIN, _END):
            self._fail("an anchor is repeated")
        self._takes("?")
        return _Repeat(atom, low, high)

    def _atom(self) -> _Expression:
        """Atom := "(" ("?:" | "?<" name ">")? choice ")" | class | "." | "^" | "$" | escape | any other character"""
        letter = self._next()
        if letter in "*+?":
            self._fail(f'there is nothing for "{letter}" to repeat')
        match letter:
            case "(":
                return self._group()
            case "[":
                return self._class()
            case ".":
                return without(ANY, _LINE_ENDS)
            case "^":
                return _BEGIN
            case "$":
                return _END
            case "\\":
                named, code = self._escape()
                return _CLASSES[named] if named else self._point(code)
            case _:
                return self._point(ord(letter))

    def _group(self) -> _Expression:
        if self._text.startswith("?", self._at):
            name = _NAME.match(self._text, self._at)
            if not name:
                self._fail("it looks ahead or behind, or is no ECMAScript")
            self._at = name.end()
        self._depth += 1
        if self._depth > _DEEPEST:
            self._fail(f"it has more than {_DEEPEST} groups in each other")
        inner = self._choice()
        if not self._takes(")"):
            self._fail('a ")" is missing')
        self._depth -= 1
        return inner

    def _class(self) -> CodePoints:
        """Class := "[" "^"? (member ("-" member)?)* "]" """
        is_negated = self._takes("^")
        found: list[tuple[int, int]] = []
        while not self._takes("]"):
            low, named = self._member(is_negated)
            if named is None and self._text.startswith("-", self._at) and not self._text.startswith("-]", self._at):
                self._at += 1
                high, named = self._member(is_negated)
                if named is None and low > high:
                    self._fail("a range is the wrong way round")
                found.append((low, high) if named is None else (low, low))
                found += points("-") if named is not None else ()
            elif named is None:
                found.append((low, low))
            found += named or ()
        members = union(found)
        return without(ANY, members) if is_negated else overlap(members, ANY)

    def _member(self, is_negated: bool) -> tuple[int, CodePoints | None]:  # noqa: FBT001 - of one caller
        letter = self._next("]")
        if letter != "\\":
            return ord(letter), None
        if self._takes("b"):
            return ord("\b"), None
        named, code = self._escape()
        return code, (_WIDER if is_negated else _CLASSES)[named] if named else None

    def _escape(self) -> tuple[str, int]:
        """The name of a class of characters, or a character."""
        letter = self._next()
        if letter in _CLASSES:
            return letter, 0
        if letter in _CONTROLS:
            return "", ord(_CONTROLS[letter])
        if letter == "0" and not self._text[self._at : self._at + 1].isdigit():
            return "", 0
        if letter in "xu" and (found := _HEX.match(self._text, self._at - 1)):
            self._at = found.end()
            return "", self._whole_character(int(found[1] or found[2] or found[3], 16))
        if letter == "c" and (control := self._text[self._at : self._at + 1]).isascii() and control.isalpha():
            self._at += 1
            return "", ord(control) % 32
        if letter.isdigit() or letter == "k":
            self._fail("it refers back to a group")
        if letter in "bB":
            self._fail(f'"\\{letter}" looks ahead and behind')
        if letter.isalnum():
            self._fail(f'"\\{letter}" is not known')
        return "", ord(letter)

    def _whole_character(self, code: int) -> int:
        if 0xD800 <= code <= 0xDBFF and (low := _LOW_HALF.match(self._text, self._at)):
            self._at = low.end()
            return 0x10000 + ((code - 0xD800) << 10) + (int(low[1], 16) - 0xDC00)
        if code > HIGHEST:
            self._fail("it has a number that is no character's")
        return code

    def _point(self, code: int) -> CodePoints:
        return overlap(((code, code),), ANY)

    def _next(self, awaited: str = "") -> str:
        if self._at >= len(self._text):
            self._fail(f'a "{awaited}" is missing' if awaited else 'it ends with "\\"')
        self._at += 1
        return self._text[self._at - 1]

    def _takes(self, letter: str) -> bool:
        if not self._text.startswith(letter, self._at):
            return False
        self._at += 1
        return True

    def _fail(self, why: str) -> NoReturn:
        raise unenforceable(
            self._pointer,
            "pattern",
            why,
            hint="use characters, classes, groups, |, *, +, ?, {m,n}, ^ and $; no look-around, references or \\b",
        )
