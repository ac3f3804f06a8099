"""Strings of a schema: the texts it allows as an automaton, and how they are written in JSON. Pure."""

from __future__ import annotations

from functools import reduce

from .automaton import Automaton, Call, Net, both, lengths
from .budget import Budget, unenforceable
from .codepoints import ANY, CodePoints, overlap, points, without
from .formats import formatted
from .grammar import CHARACTER, CHUNK, CHUNK_SIZE, STRING
from .pattern import Patterns
from .shape import Shape
from .site import Site
from .validity import pattern_of

_ESCAPES = {'"': '"', "\\": "\\", "\b": "b", "\f": "f", "\n": "n", "\r": "r", "\t": "t"}
_PLAIN = without(ANY, points("\x00\x1f", '"', "\\"))
_CONTROLS = without(points("\x00\x1f"), points(*"\b\f\n\r\t"))
_MOST_CHARACTERS = 1_000_000
_MOST_REPEATED = 2000
"""What is to be repeated more often the engine would repeat without end."""
_ROOM = 100
"""Characters that a text with a pattern may have beyond the fewest, where it may have that many."""


def languages(shape: Shape, patterns: Patterns, *, with_formats: bool = True) -> list[Automaton]:
    """What patterns and formats say, each for itself. Raises SchemaError."""
    found = [
        patterns.matching(pattern, place.at("pattern"))
        for place in shape.places
        if (pattern := pattern_of(place)) is not None
    ]
    names = [name for place in shape.places if with_formats and isinstance(name := place.get("format"), str)]
    return found + [machine for name in dict.fromkeys(names) if (machine := formatted(name)) is not None]


def texts(shape: Shape, patterns: Patterns, budget: Budget, *, with_formats: bool = True) -> Automaton:
    """The texts that a shape allows; of long ones not all, where there is a pattern. Raises SchemaError."""
    low, high = shape.least("minLength"), shape.most("maxLength")
    found = languages(shape, patterns, with_formats=with_formats)
    if high is not None and high < low:
        return Automaton(((),), frozenset())
    if not found:
        return lengths(low, high, budget)
    machine = reduce(lambda one, other: both(one, other, budget), found)
    if low:
        machine = both(machine, lengths(low, None, budget), budget)
    if high is not None:
        machine = both(machine, lengths(0, min(high, machine.shortest + _ROOM), budget), budget)
    return machine


def add_string(site: Site, patterns: Patterns) -> None:
    """Add the strings of a shape in JSON. Raises SchemaError."""
    net, source, target, shape = site.net, site.source, site.target, site.shape
    if languages(shape, patterns):
        machine = texts(shape, patterns, net.budget)
        net.insert(source, quoted(machine, net.budget), target)
        return
    low, high = shape.least("minLength"), shape.most("maxLength")
    if low > _MOST_CHARACTERS:
        place = max(shape.having("minLength"), key=lambda place: place.count("minLength") or 0)
        raise unenforceable(place.at("minLength"), "minLength", f"it is more than {_MOST_CHARACTERS}")
    if high is not None and high < low:
        return
    if not low and high is None:
        net.step(source, STRING, target)
        return
    inside = net.text(source, '"')
    inside = _counted(net, inside, low, low)
    rest = None if high is None else min(high, low + _MOST_CHARACTERS) - low
    end = _counted(net, inside, 0, rest)
    net.step(end, points('"'), target)


def _counted(net: Net, source: int, low: int, high: int | None) -> int:
    """So many characters of a string, either exactly `low` = `high` or at most `high`; where they end."""
    end = net.state()
    if low:
        chunks, rest = divmod(low, CHUNK_SIZE)
        calls = [Call(CHUNK, chunks, chunks)] * bool(chunks) + [Call(CHARACTER, rest, rest)] * bool(rest)
        net.skip(net.call(source, *calls), end)
        return end
    net.skip(source, end)
    if high is None:
        net.step(source, Call(CHARACTER, 1, None), end)
    elif 0 < high <= _MOST_REPEATED:
        net.step(source, Call(CHARACTER, 1, high), end)
    elif high:
        # A few less than allowed, so that the chunks come out even.
        after = net.call(source, Call(CHUNK, 1, (high + 1) // CHUNK_SIZE - 1))
        for state in (source, after):
            net.step(state, Call(CHARACTER, 1, CHUNK_SIZE - 1), end)
        net.skip(after, end)
    return end


def quoted(machine: Automaton, budget: Budget) -> Automaton:
    """The texts an automaton accepts as strings of JSON; each of their characters is written in one way."""
    net = Net(budget)
    start, end = net.state(), net.state()
    states = [net.state() for _ in machine.rows]
    net.step(start, points('"'), states[0])
    for state, row in zip(states, machine.rows, strict=True):
        escaping = net.state()
        net.step(state, points("\\"), escaping)
        for label, to in row:
            assert not isinstance(label, Call)
            net.step(state, overlap(label, _PLAIN), states[to])
            for letter, escape in _ESCAPES.items():
                if overlap(label, points(letter)):
                    net.step(escaping, points(escape), states[to])
            if not overlap(label, without(ANY, _CONTROLS)):
                _add_controls(net, escaping, label, states[to])
    for number in machine.ends:
        net.step(states[number], points('"'), end)
    return net.automaton(start, end)


def _add_controls(net: Net, escaping: int, label: CodePoints, target: int) -> None:
    """Control characters without an escape of their own; they are written only where nothing else is allowed."""
    for low, high in label:
        for code in range(low, high + 1):
            net.skip(net.text(escaping, f"u{code:04x}"), target)
