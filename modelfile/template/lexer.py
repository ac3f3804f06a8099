"""The lexical rules of Go templates: text, `{{ … }}` with trim markers, comments, and what stands inside. Pure."""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Iterator
from typing import Any

from lark import Token
from lark.lexer import Lexer

from .errors import TemplateError

_SPACE = " \t\r\n"
_COMMENT = re.compile(r"(?:-[ \t\r\n])?/\*")
_COMMENT_END = re.compile(r"([ \t\r\n]-)?\}\}")
_INSIDE = re.compile(
    r"""
    (?P<SKIP>[ \t\r\n]+)
  | (?P<_DECLARE>:=) | (?P<ASSIGN>=) | (?P<_PIPE>\|) | (?P<_LPAR>\() | (?P<_RPAR>\)) | (?P<_COMMA>,)
  | (?P<STRING>"(?:[^"\\\n]|\\.)*"|`[^`]*`)
  | (?P<CHARACTER>'(?:[^'\\\n]|\\.)+')
  | (?P<NUMBER>[+-]?(?:0[xX][0-9a-fA-F_.]+(?:[pP][+-]?[0-9_]+)?
                    |(?:[0-9]|\.[0-9])[0-9_oObBxX.]*(?:[eE][+-]?[0-9_]+)?))
  | (?P<VARIABLE>\$\w*(?:\.[^\W\d]\w*)*)
  | (?P<FIELD>(?:\.[^\W\d]\w*)+)
  | (?P<DOT>\.)
  | (?P<IDENTIFIER>[^\W\d]\w*)
    """,
    re.VERBOSE,
)
_AFTER = re.compile(r"[ \t\r\n|)]|\}\}|,|:=|$")
"""What may follow an operand: two of them need a blank between."""
_OPERANDS = frozenset(
    ("STRING", "CHARACTER", "NUMBER", "VARIABLE", "FIELD", "DOT", "IDENTIFIER", "CONSTANT", "CHAIN", "_RPAR")
)
_CHAINED = frozenset(("IDENTIFIER", "_RPAR", "CHAIN"))
"""What a field may follow at once."""
_NOT_ASCII = re.compile(r"[^\x00-\x7f]")
_OPENERS = {
    "if": "_IF",
    "with": "_WITH",
    "range": "_RANGE",
    "define": "_DEFINE",
    "block": "_BLOCK",
    "template": "_TEMPLATE",
}
_WHOLE = {"end": "_END", "break": "BREAK", "continue": "CONTINUE"}


class TemplateLexer(Lexer):
    """Lark's lexer interface over tokens()."""

    def __init__(self, lexer_conf: object) -> None:
        """Lark passes its configuration; the rules are all here."""

    def lex(self, data: Any) -> Iterator[Token]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The template's tokens."""
        return _Scanner(data).tokens()


class _Scanner:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._line_ends = [found.start() for found in re.finditer("\n", text)]

    def tokens(self) -> Iterator[Token]:
        text = self._text
        trim_next = False
        while self._at < len(text):
            start = self._at
            opening = text.find("{{", start)
            end = len(text) if opening < 0 else opening
            chunk = text[start:end]
            trim_this = (
                opening >= 0
                and text[opening + 2 : opening + 3] == "-"
                and text[opening + 3 : opening + 4] in tuple(_SPACE)
            )
            if trim_next:
                chunk = chunk.lstrip(_SPACE)
            if trim_this:
                chunk = chunk.rstrip(_SPACE)
            if chunk:
                yield self._token("TEXT", chunk, start)
            trim_next = False
            if opening < 0:
                return
            self._at = opening + (3 if trim_this else 2)
            if _COMMENT.match(text, opening + 2):
                trim_next = self._comment(opening)
            else:
                tokens, trim_next = self._action(opening)
                yield from tokens

    def _comment(self, opening: int) -> bool:
        """Pass over a comment; whether it trims what follows."""
        end = self._text.find("*/", self._at)
        if end < 0:
            raise self._wrong("unclosed comment", opening)
        closing = _COMMENT_END.match(self._text, end + 2)
        if not closing:
            raise self._wrong("comment ends before closing delimiter", opening)
        self._at = closing.end()
        return bool(closing[1])

    def _action(self, opening: int) -> tuple[list[Token], bool]:
        tokens: list[Token] = []
        while True:
            if self._text.startswith("}}", self._at):
                self._at += 2
                return self._joined(tokens, opening), False
            if self._text.startswith("-}}", self._at) and self._text[self._at - 1] in _SPACE:
                self._at += 3
                return self._joined(tokens, opening), True
            if self._at >= len(self._text):
                raise self._wrong("unclosed action", opening)
            found = _INSIDE.match(self._text, self._at)
            if not found:
                raise self._wrong(f"unexpected {self._text[self._at]!r} in operand", self._at)
            start, self._at = self._at, found.end()
            kind = found.lastgroup or ""
            if kind == "SKIP":
                continue
            is_keyword = kind == "IDENTIFIER" and not tokens and found[0] in _OPENERS
            is_name = kind == "STRING" and len(tokens) == 1 and str(tokens[0]) in ("template", "block")
            if kind == "FIELD" and tokens and tokens[-1].end_pos == start and tokens[-1].type in _CHAINED:
                kind = "CHAIN" if not _is_keyword(tokens) else kind
            if kind == "IDENTIFIER" and found[0] in ("true", "false", "nil"):
                kind = "CONSTANT"
            self._check(kind, found[0], start, joins=is_keyword or is_name)
            tokens.append(self._token("NUMBER" if kind == "CHARACTER" else kind, found[0], start))

    def _check(self, kind: str, text: str, start: int, *, joins: bool) -> None:
        """Refuse letters that are none to Go, and operands that stand together."""
        if kind in ("IDENTIFIER", "FIELD", "VARIABLE", "CHAIN"):
            for found in _NOT_ASCII.finditer(text):
                if unicodedata.category(found[0]) not in ("Lu", "Ll", "Lt", "Lm", "Lo", "Nd"):
                    raise self._wrong(f"bad character {found[0]!r}", start)
        following = self._text[self._at : self._at + 1]
        may_join = (kind in _CHAINED and following == ".") or (joins and following in ("(", "."))
        if kind in _OPERANDS and not may_join and not _AFTER.match(self._text, self._at):
            raise self._wrong(f"unexpected {following!r} in operand", self._at)

    def _joined(self, tokens: list[Token], opening: int) -> list[Token]:
        """The action's tokens with its keyword made the opening terminal."""
        words = [str(token) if token.type == "IDENTIFIER" else "" for token in tokens]
        close = self._token("_CLOSE", "}}", self._at)
        match words:
            case ["else"]:
                return [self._token("_ELSE", "else", opening)]
            case ["else", ("if" | "with") as word, *_]:
                return [self._token(f"_ELSE_{word.upper()}", word, opening), *tokens[2:], close]
            case [word] if word in _WHOLE:
                return [self._token(_WHOLE[word], word, opening)]
            case [word, *_] if word in _OPENERS:
                return [self._token(_OPENERS[word], word, opening), *tokens[1:], close]
            case []:
                raise self._wrong("missing value for command", opening)
            case _:
                return [self._token("_OPEN", "{{", opening), *tokens, close]

    def _token(self, kind: str, value: str, at: int) -> Token:
        return Token(kind, value, start_pos=at, line=self._line(at), end_pos=at + len(value))

    def _line(self, at: int) -> int:
        return bisect_left(self._line_ends, at) + 1

    def _wrong(self, message: str, at: int) -> TemplateError:
        return TemplateError(message, line=self._line(at))


def _is_keyword(tokens: list[Token]) -> bool:
    """Whether the only token yet is a word like `if`, which a field may follow at once."""
    return len(tokens) == 1 and tokens[0].type == "IDENTIFIER" and str(tokens[0]) in _OPENERS
