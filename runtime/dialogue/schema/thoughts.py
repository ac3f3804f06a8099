"""Thoughts before an answer: the same grammar, once the model has closed its thinking. Pure."""

from __future__ import annotations

from .automaton import Automaton, Label, Row
from .codepoints import ANY, gbnf_text, points, without
from .gbnf import lines
from .grammar import Rule

_BLANKS = r"[ \t\r\n]{0,8}"
_ROOT = "root ::="


def after_thinking(grammar: str, opening: str, closing: str, *, is_inside: bool) -> str:
    """A grammar of this package, preceded by thinking.

    The thinking has begun already when `is_inside`; else it need not be, and blanks may come before it. It is any text up to
    `closing`; blanks come after it.
    """
    rules = lines({"thought": Rule(_up_to(closing))}, "thought")
    begun = "" if is_inside else f"thought-blanks {gbnf_text(opening)} "
    return "\n".join(
        [
            f"{_ROOT} {begun}thought thought-blanks answer" + ("" if is_inside else " | answer"),
            f"thought-blanks ::= {_BLANKS}",
            *rules,
            f"answer ::={grammar.removeprefix(_ROOT)}",
        ]
    )


def _up_to(closing: str) -> Automaton:
    """Any text that ends with this one and does not have it before: the automaton of Knuth, Morris and Pratt."""
    borders = [0]
    """The longest beginning that is also an end, for each beginning but the empty one."""
    for letter in closing[1:]:
        border = borders[-1]
        while border and closing[border] != letter:
            border = borders[border - 1]
        borders.append(border + (closing[border] == letter))
    rows: list[Row] = []
    for read in range(len(closing)):
        steps: dict[str, int] = {closing[read]: read + 1}
        border = read
        while border:
            border = borders[border - 1]
            steps.setdefault(closing[border], border + 1)
        labels: list[tuple[Label, int]] = [(points(letter), to) for letter, to in steps.items()]
        rows.append((*labels, (without(ANY, points(*steps)), 0)))
    return Automaton((*rows, ()), frozenset({len(closing)}))
