"""The lexical rules of a Modelfile, exactly Ollama's (parser/parser.go, v0.33), as a scanner in linear time. Pure.

Between instructions blanks and line ends are skipped and `#` begins a comment. A keyword is ASCII letters in any case,
ended by one blank. PARAMETER and MESSAGE then have a name or role, ended by one blank. The rest is the value:
- it is trimmed, and if it then begins with `\"""` or `"`, it must also end so; until it does, at the end of some line,
  the following lines belong to it;
- there are no escapes, no inline comments, no continuation lines, and `'` is no quote;
- characters that cannot be printed are dropped, except tabs, and line ends inside quotes.
What Ollama stops at, this scanner reports; then it goes on at the next line to find the other problems too. In strict mode
it also stops at what Ollama swallows.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from lark import Token
from lark.lexer import Lexer

from . import rules
from .diagnostics import did_you_mean
from .printable import first_dropped, kept
from .rules import Diagnostic, Rule
from .source import MAX_NODES, Source, Span

KEYWORDS = (
    "from", "license", "template", "system", "adapter", "draft", "renderer", "parser", "parameter", "message", "requires",
)  # fmt: skip
ROLES = ("system", "user", "assistant")
MODCTL_KEYWORDS = (
    "NAME", "ARCH", "FAMILY", "FORMAT", "PARAMSIZE", "PRECISION", "QUANTIZATION", "CONFIG", "MODEL", "CODE", "DOC", "DATASET",
)  # fmt: skip
"""Instructions of the other Modelfile, that of CNCF's modctl, which packs files instead of describing a model."""
MAX_FINDINGS = 1000
"""Errors, and as many warnings, that are reported; the rest of the file is read all the same."""

_BLANKS = re.compile(r"[ \t\r\n]*")
_LINE = re.compile(r"[^\r\n]*")
_LETTERS = re.compile(r"[A-Za-z]*")
_WORD = re.compile(r"[A-Za-z0-9_]*")
_UNBROKEN = re.compile(r"[^ \t\r\n]*")
_TRIMMED = " \t\r\n"
_AFTER_WORD = ("", " ", "\t", "\r", "\n")
_RESUMES = re.compile(rf"(?<=[\r\n])(?:{'|'.join(KEYWORDS).upper()})[ \t]")
"""Where the scanner goes on after a quote that never ends: it would be swallowed by the quote, but was hardly meant to."""


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

    def __init__(self, source: Source, *, strict: bool = False) -> None:
        self.source = source
        self.diagnostics: list[Diagnostic] = []
        self.failed: set[str] = set()
        """Keywords of instructions that were ill-formed, or were probably meant by an unknown one."""
        self._text = source.text
        self._strict = strict
        self._at = 0
        self._counts: Counter[str] = Counter()
        self._endless: set[str] = set()
        """Quotes that are known not to end any more line."""

    def tokens(self) -> Iterator[Token]:
        """Keyword, name and value tokens; an ill-formed instruction gives none."""
        for _ in range(MAX_NODES + 1):
            self._at = self._end(_BLANKS)
            if self._at >= len(self._text):
                return
            if self._text[self._at] == "#":
                start = self._at
                self._at = self._end(_LINE)
                yield self._token("COMMENT", self._text[start + 1 : self._at], start)
            else:
                yield from self._instruction()
        message = f"more than {MAX_NODES} instructions and comments"
        self.diagnostics.append(rules.TOO_LARGE.at(Span(self._at, self._at), message))

    def _instruction(self) -> Iterator[Token]:
        begin = start = self._at
        if first_dropped(self._text, start, start + 1):  # Ollama drops one such character before a keyword
            start = self._at = start + 1
        self._at = self._end(_LETTERS)
        word = self._text[start : self._at]
        if word.lower() not in KEYWORDS or self._text[self._at : self._at + 1] not in _AFTER_WORD:
            self._unknown(begin)
            return
        if start > begin:
            self._invisible(begin, start)
        keyword = self._token(word.upper(), word, start)
        if not self._blank_follows():
            self.failed.add(keyword.type)
            needs = 'an empty value is written ""'
            self._wrong(rules.NO_VALUE, start, f"{keyword.type} needs a value on the same line", needs)
            return
        tokens = [keyword]
        if keyword.type in ("PARAMETER", "MESSAGE"):
            word_token = self._word(keyword)
            if word_token is None:
                return
            tokens.append(word_token)
        value = self._value()
        if value is not None:
            yield from (*tokens, value)

    def _word(self, keyword: Token) -> Token | None:
        """A parameter's name or a message's role."""
        is_role = keyword.type == "MESSAGE"
        what, rule = ("role", _LETTERS) if is_role else ("name", _WORD)
        start = self._at
        self._at = self._end(rule)
        word = self._token(what.upper(), self._text[start : self._at], start)
        if not self._blank_follows():
            bad = self._text[self._at : self._at + 1]
            ended = f"the line ends after the {what}"
            said = "MESSAGE needs a role, one space and a text: MESSAGE user Hello"
            if not is_role:
                said = "PARAMETER needs a name, one space and a value: PARAMETER temperature 0.7"
            self._wrong(rules.BAD_NAME, start, f"{bad!r} cannot stand in a {what}" if bad.strip() else ended, said)
            return None
        if not word and (self._strict or is_role):
            span = Span(start, start + 1)
            self._found(
                rules.DOUBLED_BLANK, span, f"two blanks after {keyword.type}", f"one blank stands before the {what}"
            )
        elif is_role and word not in ROLES:
            hint = did_you_mean(word, ROLES) or "the role is system, user or assistant, in lower case"
            self._found(rules.UNKNOWN_ROLE, Span(start, self._at - 1), f"unknown message role {str(word)!r}", hint)
        return word

    def _value(self) -> Token | None:
        start = self._at
        self._at = self._end(_LINE)
        first_line = kept(self._text[start : self._at])
        parts = [first_line]
        opening = first_line.strip(_TRIMMED)
        quote = '"""' if opening.startswith('"""') else '"' if opening.startswith('"') else ""
        closed = len(opening) >= 2 * len(quote) and opening.endswith(quote)
        if not closed and quote in self._endless:
            self._unterminated(start, quote)
            return None
        while not closed:
            if self._at >= len(self._text):
                self._endless.add(quote)
                self._unterminated(start, quote)
                return None
            begin = self._at + 1
            newline = self._text[self._at]
            self._at = begin
            self._at = self._end(_LINE)
            line = kept(self._text[begin : self._at])
            parts += (newline, line)
            # A blank line leaves the trimmed text as it was at the line before, where it was not closed.
            closed = line.strip(_TRIMMED).endswith(quote)
        self._invisible(start, self._at)
        value = "".join(parts).strip(_TRIMMED)
        while start < self._at and self._text[start] in _TRIMMED:
            start += 1
        if len(parts) > 1:
            self._text_after_quote(start, quote)
        return self._token("VALUE", value[len(quote) : len(value) - len(quote)], start)

    def _unterminated(self, start: int, quote: str) -> None:
        """Report a quote that no line ends with, and go on where an instruction begins in spite of it."""
        at = self._text.index('"', start)
        line_end = _LINE.match(self._text, at)
        assert line_end
        cure = f"end it with {quote} as the last thing on a line"
        if quote in self._text[at + len(quote) : line_end.end()]:
            cure = f"nothing may stand after the closing {quote}, no comment either"
        self._found(
            rules.UNTERMINATED, Span(at, at + len(quote)), f"the text that begins with {quote} never ends", cure
        )
        resumes = _RESUMES.search(self._text, line_end.end())
        self._at = resumes.start() if resumes else len(self._text)

    def _text_after_quote(self, start: int, quote: str) -> None:
        """A value of several lines that could have ended earlier, had nothing stood after the quote on its line."""
        at = self._text.find(quote, start + len(quote), self._at - len(quote))
        while at >= 0 and not self._text[at + len(quote) : self._line_end(at)].strip(_TRIMMED):
            at = self._text.find(quote, self._line_end(at), self._at - len(quote))
        if at >= 0:
            after = at + len(quote)
            cure = 'take it away; if the quotes belong to the text, put """ around it'
            if quote == '"""':
                cure = "take it away, or end the text on a line of its own"
            self._found(
                rules.TEXT_AFTER_QUOTE,
                Span(after, self._line_end(after)),
                f"text after a closing {quote}: the value runs on over the next lines",
                cure,
            )

    def _invisible(self, start: int, end: int) -> None:
        found = first_dropped(self._text, start, end)
        if found:
            what = f"U+{ord(found[0][0]):04X} is no printable character and is dropped"
            self._found(rules.INVISIBLE, Span(*found.span()), what, "take it away; the language has no way to write it")

    def _unknown(self, start: int) -> None:
        self._at = start
        self._at = self._end(_UNBROKEN)
        word = self._text[start : self._at]
        if word.upper() in MODCTL_KEYWORDS:
            self._modctl(start, word)
            return
        known = [keyword.upper() for keyword in KEYWORDS]
        is_shown = self._counts["error"] < MAX_FINDINGS  # looking for what was meant takes time
        hint = did_you_mean(word, known) if is_shown else None
        self.failed.update(keyword for keyword in known if hint and keyword in hint)
        hint = hint or f"an instruction is one of {', '.join(known)}"
        self._wrong(rules.UNKNOWN_INSTRUCTION, start, f"unknown instruction {word[:40]!r}", hint)

    def _modctl(self, start: int, word: str) -> None:
        self.failed.add("FROM")
        if any(found.rule is rules.MODCTL for found in self.diagnostics):
            self._at = self._end(_LINE)
            return
        message = f"{word.upper()} is an instruction of CNCF modctl's Modelfile, which is another language of that name"
        self._wrong(rules.MODCTL, start, message, "build this file with modctl, or begin with FROM and a GGUF file")

    def _wrong(self, rule: Rule, start: int, message: str, hint: str) -> None:
        """Report an instruction that ends here and go on at the next line."""
        self._found(rule, Span(start, max(self._at, start + 1)), message, hint)
        self._at = self._end(_LINE)

    def _found(self, rule: Rule, span: Span, message: str, hint: str) -> None:
        found = rule.at(span, message, hint, strict=self._strict)
        self._counts[found.severity] += 1
        if self._counts[found.severity] <= MAX_FINDINGS:
            self.diagnostics.append(found)

    def _blank_follows(self) -> bool:
        """Take the one blank that ends a word."""
        if self._text[self._at : self._at + 1] in (" ", "\t"):
            self._at += 1
            return True
        return False

    def _line_end(self, offset: int) -> int:
        found = _LINE.match(self._text, offset)
        assert found
        return found.end()

    def _end(self, rule: re.Pattern[str]) -> int:
        found = rule.match(self._text, self._at)
        return found.end() if found else self._at

    def _token(self, kind: str, value: str, start: int) -> Token:
        return Token(kind, value, start_pos=start, end_pos=self._at)
