"""Printing a grammar as GBNF, llama.cpp's language: a rule for each state that more than one step leads to. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from string import ascii_lowercase, digits

from .automaton import Automaton, Call, Label
from .budget import SchemaError
from .codepoints import CodePoints, gbnf_class, gbnf_text, single
from .grammar import Rule

MAX_TEXT = (1 << 16) - (6 << 10)
"""Characters: the engine reads a few more, which thoughts before the answer may take."""
_MOST_COUNTED = 100_000
"""The engine makes a rule of its own for each time that something may be repeated."""
_WORTH_A_NAME = 12
_LETTERS = ascii_lowercase + digits


def gbnf(rules: Mapping[str, Rule]) -> str:
    """The grammar, whose first rule nothing calls. Raises SchemaError where it is too large."""
    printer = _Printer("s")
    text = "\n".join([f"root ::= {next(iter(rules))}", *printer.rules(rules)]) + "\n"
    if len(text) > MAX_TEXT or printer.counted > _MOST_COUNTED:
        raise SchemaError(
            next(iter(rules.values())).pointer,
            f"its grammar has {len(text)} characters of at most {MAX_TEXT}, {printer.counted} repetitions of {_MOST_COUNTED}",
            hint="use fewer or shorter properties, values, patterns and bounds of length",
        )
    return text


def lines(rules: Mapping[str, Rule], prefix: str) -> list[str]:
    """The rules of a part of a grammar; the names of those they are split into begin with the prefix."""
    return _Printer(prefix).rules(rules)


class _Printer:
    def __init__(self, prefix: str) -> None:
        self.counted = 0
        self._prefix = prefix
        self._states = 0
        self._classes: dict[CodePoints, str] = {}

    def rules(self, rules: Mapping[str, Rule]) -> list[str]:
        """All rules, those of sets of characters that have a name at the end."""
        found = [line for name, rule in rules.items() for line in self._rule(name, rule.machine)]
        return found + [f"{name} ::= {gbnf_class(points)}" for points, name in self._classes.items()]

    def _rule(self, name: str, machine: Automaton) -> list[str]:
        """An automaton's rules, its own first."""
        arrivals = Counter(target for row in machine.rows for _, target in row)
        inlined = {
            state
            for state, row in enumerate(machine.rows)
            if state and ((arrivals[state] == 1 and len(row) == 1 and state not in machine.ends) or not row)
        }
        names = {0: name}
        for state in range(1, len(machine.rows)):
            if state not in inlined:
                names[state] = self._name()
        return [f"{named} ::= {self._body(machine, state, names).lstrip()}" for state, named in names.items()]

    def _body(self, machine: Automaton, state: int, names: Mapping[int, str]) -> str:
        alternatives = [""] if state in machine.ends else []
        alternatives += [self._chain(machine, step, names) for step in machine.rows[state]]
        return " | ".join(alternatives) if len(alternatives) > 1 or alternatives[0] else '""'

    def _chain(self, machine: Automaton, step: tuple[Label, int], names: Mapping[int, str]) -> str:
        """A step and those that follow it as the only ones."""
        parts: list[str] = []
        text = ""
        while True:
            label, state = step
            letter = "" if isinstance(label, Call) else single(label)
            text += letter
            if not letter:
                parts += [gbnf_text(text)] if text else []
                parts.append(self._label(label))
                text = ""
            if state in names or not machine.rows[state]:
                break
            step = machine.rows[state][0]
        parts += [gbnf_text(text)] if text else []
        return " ".join([*parts, *([names[state]] if state in names else [])])

    def _label(self, label: Label) -> str:
        if isinstance(label, Call):
            return label.rule + self._times(label.low, label.high)
        text = gbnf_class(label)
        if len(text) <= _WORTH_A_NAME:
            return text
        return self._classes.setdefault(label, f"{self._prefix}c{len(self._classes)}")

    def _times(self, low: int, high: int | None) -> str:
        if (low, high) == (1, 1):
            return ""
        self.counted += high or low
        if high is None:
            return "+" if low == 1 else f"{{{low},}}"
        return f"{{{low}}}" if low == high else f"{{{low},{high}}}"

    def _name(self) -> str:
        self._states += 1
        number, name = self._states, ""
        while number:
            number, digit = divmod(number, len(_LETTERS))
            name = _LETTERS[digit] + name
        return f"{self._prefix}-{name}"
