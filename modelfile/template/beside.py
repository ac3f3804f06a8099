"""Beside: two prompts in columns, with a mark where they begin to differ. Pure."""

from __future__ import annotations

import re
from itertools import zip_longest

_WIDTH = 52
_MAX_ROWS = 40
_HIDDEN = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def side_by_side(left: tuple[str, str], right: tuple[str, str]) -> list[str]:
    """Rows for people: a title and a text each. A line end is shown, as are blanks at the end of a line."""
    rows = [f"  {left[0]:<{_WIDTH}}   {right[0]}"]
    is_same = True
    for a, b in zip_longest(_lines(left[1]), _lines(right[1]), fillvalue=""):
        mark = " " if a == b else "|" if not is_same else ">"
        is_same = is_same and a == b
        rows.append(f"{mark} {a:<{_WIDTH}} | {b}")
    if len(rows) > _MAX_ROWS:
        rows[_MAX_ROWS:] = ["  …"]
    return rows


def _lines(text: str) -> list[str]:
    lines: list[str] = []
    for line in text.splitlines(keepends=True):
        shown = _HIDDEN.sub(
            lambda found: (
                "\N{DOWNWARDS ARROW WITH CORNER LEFTWARDS}" if found[0] == "\n" else "\N{REPLACEMENT CHARACTER}"
            ),
            line,
        )
        lines += [shown[i : i + _WIDTH] for i in range(0, len(shown), _WIDTH)]
    return lines
