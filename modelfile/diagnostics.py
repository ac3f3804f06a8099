"""Diagnostics: what is wrong in a Modelfile, where, and what to do. Pure."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from difflib import get_close_matches

from ..store.errors import InputError, one_line
from .rules import Diagnostic
from .source import Source

_MAX_SHOWN_LINE = 200


def headline(found: Diagnostic, source: Source) -> str:
    """`file:line:col: severity: message [code]`."""
    line, column = source.position(found.span.start)
    return f"{source.filename}:{line}:{column}: {found.severity}: {one_line(found.message)} [{found.code}]"


def render(found: Diagnostic, source: Source) -> str:
    """The headline, the source line with a caret under the span, the hint, and the details."""
    line, column = source.position(found.span.start)
    text = source.line(line)
    width = max(1, min(found.span.end - found.span.start, len(text) - column + 1))
    first = max(0, column - _MAX_SHOWN_LINE // 2)
    shown = _visible(text[first : first + _MAX_SHOWN_LINE])
    lead = _columns(_visible(text[first : column - 1]))
    marker = "^" + "~" * (_columns(_visible(text[column - 1 : column - 1 + width])) - 1)
    gutter = " " * len(str(line))
    rows = [
        headline(found, source),
        f" {line} | {shown}",
        f" {gutter} | {' ' * lead}{marker[:_MAX_SHOWN_LINE]}",
    ]
    if found.hint:
        rows.append(f" {gutter} = {found.hint}")
    rows += [f" {gutter} {line}" for line in found.detail]
    return "\n".join(rows)


class ModelfileError(InputError):
    """A Modelfile that cannot be built. `diagnostics` has every error found; str() is the first one's headline."""

    def __init__(self, source: Source, diagnostics: Iterable[Diagnostic]) -> None:
        self.source = source
        self.diagnostics = tuple(sorted(diagnostics, key=lambda d: (d.span.start, d.message)))
        super().__init__(headline(self.diagnostics[0], source), hint=self.diagnostics[0].hint)

    def render(self) -> str:
        """All problems as a person reads them."""
        return "\n".join(render(found, self.source) for found in self.diagnostics)


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
