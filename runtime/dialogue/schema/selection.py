"""Selection: some things of a row in their order, with commas between: an object's properties, unique items. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .automaton import Call, Net
from .grammar import BLANKS


@dataclass(frozen=True, slots=True)
class Member:
    """One of the things."""

    write: Callable[[int], int]
    """Adds it to the net from a state on; the state where it ends."""
    is_required: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which of the members there may be, and how many."""

    members: Sequence[Member]
    extra: Call | None = None
    """What may follow the members any number of times; in `low` it counts once."""
    low: int = 0
    high: int | None = None
    brackets: str = "{}"

    def add(self, net: Net, source: int, target: int) -> None:
        """Add it to the net, with brackets and commas."""
        _Writer(self, net, target).write(source)


class _Writer:
    """The states are by how many members were decided on, and how many of them and of the extras were written."""

    def __init__(self, selection: Selection, net: Net, target: int) -> None:
        self._net, self._members = net, selection.members
        self._extra, self._low, self._high = selection.extra, selection.low, selection.high
        self._keys: dict[tuple[int, int, int], int] = {}
        self._target = target
        self._brackets = selection.brackets
        needed = sum(member.is_required for member in self._members)
        if self._low <= needed:
            self._low = 0
        if self._high is not None and not self._extra and self._high >= len(self._members):
            self._high = None
        self._most = max(1, self._low) if self._high is None else self._high
        self._todo: list[tuple[int, int, int]] = []

    def write(self, source: int) -> None:
        """From the opening bracket on."""
        net = self._net
        begun = net.call(net.text(source, self._brackets[0]), BLANKS)
        net.skip(begun, self._key(0, 0, 0))
        if not self._low and not any(member.is_required for member in self._members):
            net.skip(net.text(begun, self._brackets[1]), self._target)
        while self._todo:
            self._write_from(*self._todo.pop())

    def _key(self, at: int, written: int, extras: int) -> int:
        """The state before the next thing."""
        where = at, written, extras
        if where not in self._keys:
            self._keys[where] = self._net.state()
            self._todo.append(where)
        return self._keys[where]

    def _write_from(self, at: int, written: int, extras: int) -> None:
        net, source = self._net, self._key(at, written, extras)
        is_full = self._high is not None and written + extras >= self._high
        if at < len(self._members):
            if not self._members[at].is_required:
                net.skip(source, self._key(at + 1, written, extras))
            if not is_full:
                self._go_on(self._members[at].write(source), at + 1, min(self._most, written + 1), extras)
        elif self._extra and not is_full:
            self._go_on(net.call(source, self._extra), at, written, 1 if self._high is None else extras + 1)

    def _go_on(self, written_here: int, at: int, written: int, extras: int) -> None:
        """After a thing: a comma and another, or the end."""
        net = self._net
        if at < len(self._members) or self._extra:
            net.skip(net.call(net.text(written_here, ","), BLANKS), self._key(at, written, extras))
        is_enough = written + min(1, extras) >= self._low
        if is_enough and not any(member.is_required for member in self._members[at:]):
            net.skip(net.text(net.call(written_here, BLANKS), self._brackets[1]), self._target)
