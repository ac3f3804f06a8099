"""Net and Automaton: finite automata whose steps are characters or whole rules of the grammar. Pure.

Everything a schema says becomes a net, with as many ways to read one text as is convenient to write down; as an automaton
it has one way, so that the engine need not follow several readings at once.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from .budget import Budget
from .codepoints import ANY, CodePoints, overlap, points, union, without


@dataclass(frozen=True, slots=True)
class Call:
    """A step that reads what a rule says, `low` to `high` times in a row; at least once."""

    rule: str
    low: int = 1
    high: int | None = 1


_LOOKS, _REFINED = 12, 400
Label: TypeAlias = CodePoints | Call
Row: TypeAlias = tuple[tuple[Label, int], ...]
"""A state's steps and where they lead."""


class Net:
    """A nondeterministic automaton being built: states are numbers."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self._steps: list[list[tuple[Label, int]]] = []
        self._skips: list[list[int]] = []

    def state(self) -> int:
        """A new state."""
        self.budget.spend()
        self._steps.append([])
        self._skips.append([])
        return len(self._steps) - 1

    def step(self, source: int, label: Label, target: int) -> None:
        """Read one character of a set, or a rule."""
        self.budget.spend()
        if label:
            self._steps[source].append((label, target))

    def skip(self, source: int, target: int) -> None:
        """Read nothing."""
        self.budget.spend()
        self._skips[source].append(target)

    def text(self, source: int, text: str) -> int:
        """Read this text; where it ends. What holds half a surrogate pair cannot be read."""
        for letter in text:
            target = self.state()
            self.step(source, overlap(points(letter), ANY), target)
            source = target
        return source

    def call(self, source: int, *calls: Call) -> int:
        """Read these rules; where they end."""
        for call in calls:
            target = self.state()
            self.step(source, call, target)
            source = target
        return source

    def insert(self, source: int, machine: Automaton, target: int) -> None:
        """Read what the automaton accepts."""
        copies = [self.state() for _ in machine.rows]
        self.skip(source, copies[0])
        for copy, row in zip(copies, machine.rows, strict=True):
            for label, to in row:
                self.step(copy, label, copies[to])
        for end in machine.ends:
            self.skip(copies[end], target)

    def automaton(self, start: int, end: int) -> Automaton:
        """All that can be read from `start` to `end`, in one way. Raises SchemaError."""
        first = self._closure([start])
        numbers = {first: 0}
        rows: list[Row] = []
        queue = deque([first])
        while queue:
            row: list[tuple[Label, int]] = []
            for label, targets in self._moves(queue.popleft()):
                closed = self._closure(targets)
                if closed not in numbers:
                    self.budget.spend(1 + len(closed) // 8)
                    numbers[closed] = len(numbers)
                    queue.append(closed)
                row.append((label, numbers[closed]))
            rows.append(tuple(row))
        return Automaton(tuple(rows), frozenset(number for states, number in numbers.items() if end in states)).tidy()

    def _closure(self, states: Sequence[int]) -> frozenset[int]:
        found = set(states)
        todo = list(found)
        while todo:
            for target in self._skips[todo.pop()]:
                if target not in found:
                    found.add(target)
                    todo.append(target)
        return frozenset(found)

    def _moves(self, states: frozenset[int]) -> list[tuple[Label, list[int]]]:
        calls: dict[Call, set[int]] = {}
        edges: list[tuple[int, bool, int]] = []
        for state in sorted(states):
            for label, target in self._steps[state]:
                if isinstance(label, Call):
                    calls.setdefault(label, set()).add(target)
                else:
                    for low, high in label:
                        edges += [(low, True, target), (high + 1, False, target)]
        moves: list[tuple[Label, list[int]]] = list(_split(edges))
        return moves + [(call, sorted(targets)) for call, targets in calls.items()]


def _split(edges: list[tuple[int, bool, int]]) -> list[tuple[CodePoints, list[int]]]:
    """From where each target's ranges begin and end, the characters that lead to the same targets."""
    edges.sort()
    ranges: dict[tuple[int, ...], list[tuple[int, int]]] = {}
    active: Counter[int] = Counter()
    before = 0
    for at, begins, target in edges:
        if at > before and active:
            ranges.setdefault(tuple(sorted(active)), []).append((before, at - 1))
        before = at
        if begins:
            active[target] += 1
        else:
            active[target] -= 1
            if not active[target]:
                del active[target]
    return [(union(found), list(targets)) for targets, found in ranges.items()]


@dataclass(frozen=True, slots=True)
class Automaton:
    """A deterministic automaton: each state's steps have no character in common. It starts in state 0."""

    rows: tuple[Row, ...]
    ends: frozenset[int]

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing that it accepts."""
        return not self.ends

    @property
    def is_plain(self) -> bool:
        """Whether all its steps are characters."""
        return not any(isinstance(label, Call) for row in self.rows for label, _ in row)

    @property
    def shortest(self) -> int:
        """Steps of the shortest text it accepts."""
        seen, states, length = {0}, [0], 0
        while states and not self.ends.intersection(states):
            states = list(dict.fromkeys(to for state in states for _, to in self.rows[state] if to not in seen))
            seen.update(states)
            length += 1
        return length

    def accepts(self, text: str) -> bool:
        """Whether it accepts a text."""
        state = 0
        for letter in text:
            code = ord(letter)
            for label, target in self.rows[state]:
                if not isinstance(label, Call) and any(low <= code <= high for low, high in label):
                    state = target
                    break
            else:
                return False
        return state in self.ends

    def tidy(self, dead: frozenset[str] = frozenset()) -> Automaton:
        """The same without the calls of `dead` rules, states that lead nowhere, and states that are the same as others."""
        kept = [
            tuple((label, to) for label, to in row if not (isinstance(label, Call) and label.rule in dead))
            for row in self.rows
        ]
        living = _living(kept, self.ends)
        if 0 not in living:
            return EMPTY
        rows = [tuple((label, to) for label, to in row if to in living) for row in kept]
        return _merged(_renumbered(rows, self.ends))

    def between(self, opening: Label, closing: Label) -> Automaton:
        """What stands between its first and its last step, which are no others."""
        start = next(to for label, to in self.rows[0] if label == opening)
        ends = {state for state, row in enumerate(self.rows) for label, _ in row if label == closing}
        rows = [tuple(step for step in row if step[0] != closing) for row in self.rows]
        return _merged(_renumbered(rows, frozenset(ends), start))


EMPTY = Automaton(((),), frozenset())


def _living(rows: Sequence[Row], ends: frozenset[int]) -> set[int]:
    """The states from which an end can be reached."""
    sources: dict[int, list[int]] = {}
    for state, row in enumerate(rows):
        for _, target in row:
            sources.setdefault(target, []).append(state)
    living, todo = set(ends), list(ends)
    while todo:
        for source in sources.get(todo.pop(), ()):
            if source not in living:
                living.add(source)
                todo.append(source)
    return living


def _merged(machine: Automaton) -> Automaton:
    """States with the same steps become one, again and again: all of them where no step leads back."""
    machine = _refined(machine)
    while True:
        rows, ends = machine.rows, machine.ends
        same: dict[tuple[bool, Row], int] = {}
        become = list(range(len(rows)))
        for state in reversed(range(len(rows))):
            # A step to the state itself is -1: two states that loop in the same way are one.
            row = _grouped(tuple((label, -1 if to == state else become[to]) for label, to in rows[state]))
            become[state] = same.setdefault((state in ends, row), state)
        become = [0 if other == become[0] else other for other in become]
        rows = tuple(_grouped(tuple((label, become[to]) for label, to in row)) for row in rows)
        merged = _renumbered(rows, frozenset(become[end] for end in ends))
        if len(merged.rows) == len(machine.rows):
            return merged
        machine = merged


def _refined(machine: Automaton) -> Automaton:
    """States that accept the same become one, where few looks ahead tell the others apart; else nothing changes."""
    if len(machine.rows) > _REFINED:
        return machine
    kinds = [int(state in machine.ends) for state in range(len(machine.rows))]
    for _ in range(_LOOKS):
        rows = [
            (kind, _grouped(tuple((label, kinds[to]) for label, to in row)))
            for kind, row in zip(kinds, machine.rows, strict=True)
        ]
        numbers: dict[tuple[int, Row], int] = {}
        finer = [numbers.setdefault(row, len(numbers)) for row in rows]
        if finer == kinds:
            first = {kind: state for state, kind in reversed(list(enumerate(kinds)))}
            become = [first[kind] for kind in kinds]
            same = tuple(tuple((label, become[to]) for label, to in row) for row in machine.rows)
            return _renumbered(tuple(map(_grouped, same)), frozenset(become[end] for end in machine.ends))
        kinds = finer
    return machine


def _grouped(row: Row) -> Row:
    """The steps, those of characters that lead to the same state as one, in an order of their own."""
    if len(row) < 2:
        return row
    ranges: dict[int, list[tuple[int, int]]] = {}
    for label, to in row:
        if not isinstance(label, Call):
            ranges.setdefault(to, []).extend(label)
    chars: list[tuple[Label, int]] = sorted((union(found), to) for to, found in ranges.items())
    return *chars, *(step for step in row if isinstance(step[0], Call))


def _renumbered(rows: Sequence[Row], ends: frozenset[int], start: int = 0) -> Automaton:
    """The states that can be reached, in the order in which they are."""
    numbers = {start: 0}
    order = [start]
    for state in order:
        for _, target in rows[state]:
            if target not in numbers:
                numbers[target] = len(numbers)
                order.append(target)
    return Automaton(
        tuple(tuple((label, numbers[to]) for label, to in rows[state]) for state in order),
        frozenset(numbers[end] for end in ends if end in numbers),
    )


def both(one: Automaton, other: Automaton, budget: Budget) -> Automaton:
    """What both accept; their steps are characters. Raises SchemaError."""
    numbers = {(0, 0): 0}
    order = [(0, 0)]
    rows: list[Row] = []
    for left, right in order:
        row: list[tuple[Label, int]] = []
        for label, to in one.rows[left]:
            for also, too in other.rows[right]:
                assert not isinstance(label, Call)
                assert not isinstance(also, Call)
                if common := overlap(label, also):
                    if (to, too) not in numbers:
                        budget.spend()
                        numbers[to, too] = len(numbers)
                        order.append((to, too))
                    row.append((common, numbers[to, too]))
        budget.spend(len(row))
        rows.append(tuple(row))
    ends = frozenset(number for (left, right), number in numbers.items() if left in one.ends and right in other.ends)
    return Automaton(tuple(rows), ends).tidy()


def others(machine: Automaton) -> Automaton:
    """All texts that it does not accept; its steps are characters."""
    sink = len(machine.rows)
    rows: list[Row] = []
    for row in machine.rows:
        taken = union(pair for label, _ in row if not isinstance(label, Call) for pair in label)
        rest = without(ANY, taken)
        rows.append((*row, (rest, sink)) if rest else row)
    rows.append(((ANY, sink),))
    return Automaton(tuple(rows), frozenset(range(sink + 1)) - machine.ends).tidy()


def lengths(low: int, high: int | None, budget: Budget) -> Automaton:
    """All texts of so many characters. Raises SchemaError."""
    last = low if high is None else high
    budget.spend(last)
    rows: list[Row] = [((ANY, at + 1),) for at in range(last)]
    rows.append(((ANY, last),) if high is None else ())
    return Automaton(tuple(rows), frozenset(range(low, last + 1)))


def words(texts: Mapping[str, object] | Sequence[str], budget: Budget) -> Automaton:
    """Exactly these texts. Raises SchemaError."""
    net = Net(budget)
    start, end = net.state(), net.state()
    for text in texts:
        net.skip(net.text(start, text), end)
    return net.automaton(start, end)
