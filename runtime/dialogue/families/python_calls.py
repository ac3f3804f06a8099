"""Calls that look like Python's, `name(key="value", …)`, and Gemma's, `call:name{key:<escape>value<escape>}`. Pure.

Nothing is evaluated: values are texts, numbers, True, False, None, and lists, tuples and dicts of them. Several families
write JSON as well where such calls may stand.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from ..scanner import NotACallError, Scanner, Steps, Syntax
from ..toolcalls import Offer, real_number, whole_characters, whole_number
from .json_calls import bare_calls, json_calls

_PLAIN = r"\w\s,:=.+-"
_PYTHON = Syntax.of(_PLAIN, '"', "'")
_OBJECT = re.compile(r"(?:\[\s*)?\{"), re.compile(r"(?:\[\s*)?")
_LIST_OF_NAMES = re.compile(r"\[\s*[^\W\d]"), re.compile(r"(?:\[\s*)?")
_WORDS = {"True": True, "true": True, "False": False, "false": False, "None": None, "null": None}
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|([\\'\"nrtbf\n]))")
_ESCAPED = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f", "\n": ""}


def python_calls(scanner: Scanner, offer: Offer, *closing: str, is_bare: bool = False) -> Steps[None]:
    """calls := ("[" call { "," call } "]" | call { call }) [closing]; bare ones are a list of tools that are offered."""
    yield from scanner.blanks()
    is_list = yield from scanner.take("[")
    if is_bare and not is_list:
        raise NotACallError
    while True:
        yield from scanner.blanks()
        name = yield from scanner.name()
        if name not in offer:
            name = name.removesuffix(".call")  # as Llama calls the tools it was trained with
        if is_bare and name not in offer:
            raise NotACallError
        yield from _call(scanner, name, "(", _PYTHON)
        yield from scanner.blanks()
        if is_list and not (yield from scanner.take(",")):
            break
        if not is_list and closing and (yield from scanner.take(*closing)):
            return
    yield from scanner.expect("]")
    yield from scanner.blanks()
    if closing:
        yield from scanner.take(*closing)


def python_or_json_calls(scanner: Scanner, offer: Offer, *closing: str) -> Steps[None]:
    """calls := calls in Python [closing] | calls in JSON [closing]"""
    yield from scanner.blanks()
    is_json = yield from scanner.ahead(*_OBJECT)
    yield from json_calls(scanner, offer, *closing) if is_json else python_calls(scanner, offer, *closing)


def bare_python_or_json_calls(scanner: Scanner, offer: Offer) -> Steps[None]:
    """calls, at the very beginning, of tools that are offered: a list in Python, or JSON."""
    yield from scanner.blanks()
    is_python = yield from scanner.ahead(*_LIST_OF_NAMES)
    yield from python_calls(scanner, offer, is_bare=True) if is_python else bare_calls(scanner, offer)


def gemma_call(scanner: Scanner, quote: str, closing: str) -> Steps[None]:
    """call := "call:" name "{" { key ":" value "," } "}" [closing], with texts between two quotes of several letters."""
    yield from scanner.blanks()
    yield from scanner.expect("call:")
    name = yield from scanner.name()
    yield from _call(scanner, name, "{", _gemma(quote))
    yield from scanner.blanks()
    yield from scanner.take(closing)


def _call(scanner: Scanner, name: str, opening: str, syntax: Syntax) -> Steps[None]:
    if not name or not (yield from scanner.follows(opening)):
        raise NotACallError
    text = yield from scanner.nested(syntax)
    scanner.call(name, _Values(text, syntax).arguments())


@lru_cache(maxsize=8)
def _gemma(quote: str) -> Syntax:
    return Syntax.of(_PLAIN, quote)


_TOKEN = re.compile(
    r"""
    \s*(?:
        (?P<number>[-+]?[0-9]+(?:\.[0-9]*)?(?:[eE][-+]?[0-9]+)?(?![\w.]))
      | (?P<word>[^\W\d]\w*)
      | (?P<mark>[][(){}:=,])
      | (?P<text>(?=\S))
    )
    """,
    re.VERBOSE,
)


class _Values:
    """What stands between the brackets of a call. Raises NotACallError for anything else."""

    def __init__(self, text: str, syntax: Syntax) -> None:
        self._text, self._at = text, 0
        self._quoted = syntax.texts

    def arguments(self) -> dict[str, Any]:
        """arguments := "(" { key "=" value "," } ")" | "{" { key ":" value "," } "}" """
        _, opening = self._next()
        return self._pairs(")", "=") if opening == "(" else self._pairs("}", ":")

    def _pairs(self, closing: str, between: str) -> dict[str, Any]:
        pairs: dict[str, Any] = {}
        while True:
            kind, key = self._next()
            if key == closing and kind == "mark":
                return pairs
            if kind not in ("text", "word") or self._next() != ("mark", between):
                raise NotACallError
            pairs[key] = self._value(*self._next())
            if self._ends(closing):
                return pairs

    def _value(self, kind: str, word: str) -> Any:
        match kind, word:
            case "text", _:
                return word
            case "number", _:
                is_whole = word.lstrip("+-").isdecimal()
                return whole_number(word) if is_whole else real_number(word)
            case "word", _ if word in _WORDS:
                return _WORDS[word]
            case "mark", "{":
                return self._pairs("}", ":")
            case "mark", "[" | "(":
                return self._items("]" if word == "[" else ")")
            case _:
                raise NotACallError

    def _items(self, closing: str) -> list[Any]:
        items: list[Any] = []
        while True:
            kind, word = self._next()
            if word == closing and kind == "mark":
                return items
            items.append(self._value(kind, word))
            if self._ends(closing):
                return items

    def _ends(self, closing: str) -> bool:
        """Whether the bracket is closed behind a value. Raises NotACallError unless it is, or a comma stands there."""
        word = self._next()
        if word not in (("mark", closing), ("mark", ",")):
            raise NotACallError
        return word[1] == closing

    def _next(self) -> tuple[str, str]:
        found = _TOKEN.match(self._text, self._at)
        if not found or not found.lastgroup:
            raise NotACallError
        self._at = found.end()
        return (found.lastgroup, found[found.lastgroup]) if found.lastgroup != "text" else ("text", self._unquoted())

    def _unquoted(self) -> str:
        quote = next((quote for quote in self._quoted if self._text.startswith(quote, self._at)), "")
        inside = self._quoted[quote].match(self._text, self._at + len(quote)) if quote else None
        if not inside:
            raise NotACallError
        self._at = inside.end() + len(quote)
        return inside[0] if len(quote) > 1 else whole_characters(_ESCAPE.sub(_character, inside[0]))


def _character(found: re.Match[str]) -> str:
    code = found[1] or found[2]
    return chr(int(code, 16)) if code else _ESCAPED.get(found[3], found[3])
