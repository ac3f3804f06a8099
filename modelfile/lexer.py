"""The lexical rules of a Modelfile, exactly Ollama's (parser/parser.go, v0.33), as a scanner in linear time. Pure.

Between instructions blanks and line ends are skipped and `#` begins a comment. A keyword is ASCII letters in any case,
ended by one blank. PARAMETER and MESSAGE then have a name or role, ended by one blank. The rest is the value:
- it is trimmed, and if it then begins with `\"""` or `"`, it must also end so; until it does, at the end of some line,
  the following lines belong to it;
- there are no escapes, no inline comments, no continuation lines, and `'` is no quote;
- characters that cannot be printed are dropped, except tabs, and line ends inside quotes.
What Ollama stops at, this scanner reports; then it goes on at the next line to find the other problems too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from lark import Token
from lark.lexer import Lexer

from .diagnostics import Diagnostic, did_you_mean
from .source import Source, Span

KEYWORDS = (
    "from", "license", "template", "system", "adapter", "draft", "renderer", "parser", "parameter", "message", "requires",
)  # fmt: skip
ROLES = ("system", "user", "assistant")

_BLANKS = re.compile(r"[ \t\r\n]*")
_LINE = re.compile(r"[^\r\n]*")
_LETTERS = re.compile(r"[A-Za-z]*")
_WORD = re.compile(r"[A-Za-z0-9_]*")
_UNBROKEN = re.compile(r"[^ \t\r\n]*")
_TRIMMED = " \t\r\n"


class ModelfileLexer(Lexer):
    """Lark's lexer interface over Scanner: `parse()` is given the Scanner, so that it can be asked for its findings."""

    def __init__(self, lexer_conf: object) -> None:
        """Lark passes its configuration; the rules are all here."""

    def lex(self, data: Any) -> Iterator[Token]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The scanner's tokens."""
        scanner: Scanner = data
        return scanner.tokens()


class Scanner:
    """One pass over a source; `diagnostics` fills up while tokens() is consumed."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.diagnostics: list[Diagnostic] = []
        self._text = source.text
        self._at = 0

    def tokens(self) -> Iterator[Token]:
        """Keyword, name and value tokens; an ill-formed instruction gives none."""
        while True:
            self._at = self._end(_BLANKS)
            if self._at >= len(self._text):
                return
            if self._text[self._at] == "#":
                start = self._at
                self._at = self._end(_LINE)
                yield self._token("COMMENT", self._text[start + 1 : self._at], start)
            else:
                yield from self._instruction()

    def _instruction(self) -> Iterator[Token]:
        begin = start = self._at
        if not self._text[start].isprintable():  # Ollama drops one such character before a keyword
            start = self._at = start + 1
        self._at = self._end(_LETTERS)
        word = self._text[start : self._at]
        if word.lower() not in KEYWORDS:
            self._unknown(begin)
            return
        tokens = [self._token(word.upper(), word, start)]
        if not self._blank_follows():
            self._wrong(start, f"{word.upper()} needs a value on the same line", 'an empty value is written ""')
            return
        if tokens[0].type == "PARAMETER":
            tokens += self._word(
                _WORD, "NAME", "PARAMETER needs a name, one space and a value: PARAMETER temperature 0.7"
            )
        elif tokens[0].type == "MESSAGE":
            tokens += self._word(_LETTERS, "ROLE", "MESSAGE needs a role, one space and a text: MESSAGE user Hello")
        if tokens[0].type in ("PARAMETER", "MESSAGE") and len(tokens) < 2:
            return
        tokens += self._value()
        if tokens[-1].type == "VALUE":
            yield from tokens

    def _word(self, rule: re.Pattern[str], kind: str, needs: str) -> list[Token]:
        start = self._at
        self._at = self._end(rule)
        word = self._token(kind, self._text[start : self._at], start)
        if not self._blank_follows():
            bad = self._text[self._at : self._at + 1]
            ended = f"the line ends after the {kind.lower()}"
            self._wrong(start, f"{bad!r} cannot stand in a {kind.lower()}" if bad.strip() else ended, needs)
            return []
        if kind == "ROLE" and word not in ROLES:
            hint = (
                did_you_mean(word, ROLES)
                or "the role is system, user or assistant, in lower case, after exactly one space"
            )
            self.diagnostics.append(
                Diagnostic(Span(start, start + max(1, len(word))), f"unknown message role {str(word)!r}", hint)
            )
        return [word]

    def _value(self) -> list[Token]:
        start = self._at
        self._at = self._end(_LINE)
        first_line = _kept(self._text[start : self._at])
        kept = [first_line]
        opening = first_line.strip(_TRIMMED)
        quote = '"""' if opening.startswith('"""') else '"' if opening.startswith('"') else ""
        closed = len(opening) >= 2 * len(quote) and opening.endswith(quote)
        while not closed:
            if self._at >= len(self._text):
                at = self._text.index('"', start)
                cure = f"end it with {quote} as the last thing on a line"
                self.diagnostics.append(
                    Diagnostic(Span(at, at + len(quote)), f"the text that begins with {quote} never ends", cure)
                )
                return []
            begin = self._at + 1
            newline = self._text[self._at]
            self._at = begin
            self._at = self._end(_LINE)
            line = _kept(self._text[begin : self._at])
            kept += (newline, line)
            # A blank line leaves the trimmed text as it was at the line before, where it was not closed.
            closed = line.strip(_TRIMMED).endswith(quote)
        value = "".join(kept).strip(_TRIMMED)
        while start < self._at and self._text[start] in _TRIMMED:
            start += 1
        return [self._token("VALUE", value[len(quote) : len(value) - len(quote)], start)]

    def _unknown(self, start: int) -> None:
        self._at = start
        self._at = self._end(_UNBROKEN)
        word = self._text[start : self._at]
        known = [keyword.upper() for keyword in KEYWORDS]
        hint = did_you_mean(word, known) or f"an instruction is one of {', '.join(known)}"
        self._wrong(start, f"unknown instruction {word[:40]!r}", hint)

    def _wrong(self, start: int, message: str, hint: str) -> None:
        """Report an instruction that ends here and go on at the next line."""
        self.diagnostics.append(Diagnostic(Span(start, max(self._at, start + 1)), message, hint))
        self._at = self._end(_LINE)

    def _blank_follows(self) -> bool:
        """Take the one blank that ends a word."""
        if self._text[self._at : self._at + 1] in (" ", "\t"):
            self._at += 1
            return True
        return False

    def _end(self, rule: re.Pattern[str]) -> int:
        found = rule.match(self._text, self._at)
        return found.end() if found else self._at

    def _token(self, kind: str, value: str, start: int) -> Token:
        return Token(kind, value, start_pos=start, end_pos=self._at)


def _kept(text: str) -> str:
    """What Ollama keeps of a line: printable characters and tabs."""
    return text if text.isprintable() else "".join(c for c in text if c.isprintable() or c == "\t")
