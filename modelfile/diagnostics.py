"""Diagnostics: what is wrong in a Modelfile, where, and what to do. Pure."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

from ..store.errors import InputError, one_line
from .source import Source, Span

_MAX_SHOWN_LINE = 200


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One problem, with the text it is about."""

    span: Span
    message: str
    hint: str | None = None
    severity: Literal["error", "warning"] = "error"

    def headline(self, source: Source) -> str:
        """`file:line:col: severity: message`."""
        line, column = source.position(self.span.start)
        return f"{source.filename}:{line}:{column}: {self.severity}: {one_line(self.message)}"

    def render(self, source: Source) -> str:
        """The headline, the source line with a caret under the span, and the hint."""
        line, column = source.position(self.span.start)
        text = source.line(line)
        width = max(1, min(self.span.end - self.span.start, len(text) - column + 1))
        first = max(0, column - _MAX_SHOWN_LINE // 2)
        shown = _visible(text[first : first + _MAX_SHOWN_LINE])
        lead = _columns(_visible(text[first : column - 1]))
        marker = "^" + "~" * (_columns(_visible(text[column - 1 : column - 1 + width])) - 1)
        gutter = " " * len(str(line))
        rows = [
            self.headline(source),
            f" {line} | {shown}",
            f" {gutter} | {' ' * lead}{marker[:_MAX_SHOWN_LINE]}",
        ]
        if self.hint:
            rows.append(f" {gutter} = {self.hint}")
        return "\n".join(rows)


class ModelfileError(InputError):
    """A Modelfile that cannot be built. `diagnostics` has every problem found; str() is the first one's headline."""

    def __init__(self, source: Source, diagnostics: Iterable[Diagnostic]) -> None:
        self.source = source
        self.diagnostics = tuple(sorted(diagnostics, key=lambda d: (d.span.start, d.message)))
        super().__init__(self.diagnostics[0].headline(source), hint=self.diagnostics[0].hint)

    def render(self) -> str:
        """All problems as a person reads them."""
        return "\n".join(diagnostic.render(self.source) for diagnostic in self.diagnostics)


def did_you_mean(word: str, candidates: Iterable[str]) -> str | None:
    """A hint naming the candidate the user probably meant."""
    by_fold = {candidate.lower(): candidate for candidate in candidates}
    close = get_close_matches(word[:80].lower(), by_fold, n=1, cutoff=0.6)
    return f"did you mean {by_fold[close[0]]}?" if close else None


def _visible(text: str) -> str:
    return "".join(c if c.isprintable() else " " if c == "\t" else "\N{REPLACEMENT CHARACTER}" for c in text)


def _columns(text: str) -> int:
    """Terminal columns, so that the caret stands under the right character."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)
