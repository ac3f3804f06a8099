"""Grammar: the rules of what is generated, each an automaton whose steps are characters and other rules. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .automaton import Automaton, Call, Net, Row
from .budget import Budget, SchemaError
from .codepoints import NONE, CodePoints, overlap, points, union
from .numerals import DIGITS, INTEGER_DIGITS
from .pattern import exactly

BLANKS = Call("ws")
STRING, VALUE, OBJECT, ARRAY = Call("string"), Call("value"), Call("object"), Call("array")
NUMBER, INTEGER = Call("number"), Call("integer")
CHARACTER, CHUNK = "char", "chars"
CHUNK_SIZE = 1000

_MOST_READINGS = 24
"""Ways to read one text that are followed at once: the engine looks at its whole vocabulary for each of them."""
_INDENT = 20
_HALF = "[0-9A-Fa-f]{2}"
_CHARACTER = (
    r'[ !#-\[\]-\uD7FF\uE000-\u{10FFFF}]|\\(["\\/bfnrt]|u('
    rf"([0-9A-CE-Fa-ce-f][0-9A-Fa-f]|[Dd][0-7]){_HALF}|[Dd][89ABab]{_HALF}\\u[Dd][C-Fc-f]{_HALF}))"
)


@dataclass(frozen=True, slots=True)
class Rule:
    """What a call reads."""

    machine: Automaton
    pointer: str = "#"
    """Where in the schema it comes from."""
    ways: int = 1
    """How many alternatives it is made of."""
    is_brief: bool = False
    """Whether what begins like it differs from it very soon."""


class Grammar:
    """Rules by name; those that every schema needs come by themselves."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._rules: dict[str, Rule] = {}
        self._names: dict[tuple[Automaton, bool], str] = {}
        self._count = 0

    def reserve(self) -> str:
        """A name for a rule that is still to be made."""
        self._count += 1
        return f"r{self._count}"

    def add(self, name: str, rule: Rule) -> str:
        """Add a rule; the name to call it by, which is that of an equal one if there is one."""
        self._rules[name] = rule
        return self._names.setdefault((rule.machine, rule.is_brief), name)

    def machine(self, name: str) -> Automaton | None:
        """What a rule reads; None for one that is still to be made, or that every schema may need."""
        rule = self._rules.get(name)
        return rule.machine if rule else None

    def finished(self, root: str) -> dict[str, Rule]:
        """The rules that `root` needs, itself first, without what never ends. Raises SchemaError."""
        reached = self._reached(root)
        living = _living(reached)
        if root not in living:
            empty = [rule.pointer for rule in reached.values() if rule.machine.is_empty]
            raise SchemaError(
                reached[root].pointer,
                "no JSON that comes to an end satisfies it"
                + "".join(f", for nothing satisfies {at}" for at in empty[:1]),
                hint="correct what excludes each other: false, an empty enum, bounds, types, a reference without end",
            )
        dead = frozenset(reached) - living
        if dead:
            self._rules = {
                name: Rule(rule.machine.tidy(dead), rule.pointer, rule.ways, rule.is_brief)
                for name, rule in reached.items()
                if name in living
            }
            reached = self._reached(root)
        _check_readings(reached)
        return reached

    def _reached(self, root: str) -> dict[str, Rule]:
        found: dict[str, Rule] = {}
        todo = [root]
        while todo:
            name = todo.pop()
            if name not in found:
                found[name] = self._rules.get(name) or Rule(_basic(name, self._budget))
                todo.extend(call.rule for call in _calls(found[name].machine))
        return found


def _calls(machine: Automaton) -> Iterator[Call]:
    return (label for row in machine.rows for label, _ in row if isinstance(label, Call))


def _living(rules: dict[str, Rule]) -> set[str]:
    """The rules that can come to an end."""
    living: set[str] = set()
    # Those that are called are mostly there after those that call them.
    todo = list(reversed(rules))
    while True:
        left = [name for name in todo if not _ends(rules[name].machine, living)]
        living.update(set(todo).difference(left))
        if len(left) == len(todo):
            return living
        todo = left


def _ends(machine: Automaton, living: set[str]) -> bool:
    seen, todo = {0}, [0]
    while todo:
        state = todo.pop()
        if state in machine.ends:
            return True
        for label, target in machine.rows[state]:
            if target not in seen and not (isinstance(label, Call) and label.rule not in living):
                seen.add(target)
                todo.append(target)
    return False


def _check_readings(rules: dict[str, Rule]) -> None:
    """Raises SchemaError where the engine would have to follow too many readings of one text at once."""
    firsts = _firsts(rules)
    forks = {name: _forks(rule, rules, firsts) for name, rule in rules.items()}
    widths = dict.fromkeys(rules, 1)
    has_changed = True
    while has_changed:
        has_changed = False
        for name, rule in reversed(rules.items()):
            width = forks[name] * max((widths[call.rule] for call in _calls(rule.machine)), default=1)
            if width > _MOST_READINGS:
                raise SchemaError(
                    rule.pointer,
                    f"too many alternatives begin alike: {_MOST_READINGS} can be told apart later than by their beginning",
                    hint="give each alternative a first property with another const, or have fewer of them",
                )
            if width != widths[name]:
                widths[name] = width
                has_changed = True


def _firsts(rules: dict[str, Rule]) -> dict[str, CodePoints]:
    """The characters each rule can begin with."""
    firsts: dict[str, CodePoints] = dict.fromkeys(rules, NONE)
    has_changed = True
    while has_changed:
        has_changed = False
        for name, rule in reversed(rules.items()):
            found = _beginnings(rule.machine.rows[0], rule.machine, rules, firsts)
            if found != firsts[name]:
                firsts[name] = found
                has_changed = True
    return firsts


def _beginnings(row: Row, machine: Automaton, rules: dict[str, Rule], firsts: dict[str, CodePoints]) -> CodePoints:
    found: list[tuple[int, int]] = []
    for label, target in row:
        if not isinstance(label, Call):
            found += label
            continue
        found += firsts[label.rule]
        if 0 in rules[label.rule].machine.ends:
            found += _beginnings(machine.rows[target], machine, rules, firsts)
    return union(found)


def _forks(rule: Rule, rules: dict[str, Rule], firsts: dict[str, CodePoints]) -> int:
    """At most so many readings of one text are in this rule at once."""
    machine = rule.machine
    lasting, brief = 1, 0
    for row in machine.rows:
        calls = [step for step in row if isinstance(step[0], Call)]
        if not calls:
            continue
        begins = [_beginnings((step,), machine, rules, firsts) for step in calls]
        characters = union(pair for label, _ in row if not isinstance(label, Call) for pair in label)
        most = most_brief = 0
        for at, (step, first) in enumerate(zip(calls, begins, strict=True)):
            alike = [to for to, other in enumerate(begins) if to != at and overlap(first, other)]
            also = bool(overlap(first, characters))
            assert isinstance(step[0], Call)
            if rules[step[0].rule].is_brief:
                most_brief = max(most_brief, len(alike) + also)
            else:
                lasts = [to for to in alike if not _is_brief(calls[to][0], rules)]
                most = max(most, len(lasts) + also)
        lasting += most
        brief = max(brief, most_brief)
    return min(lasting, rule.ways) + brief


def _is_brief(label: object, rules: dict[str, Rule]) -> bool:
    return isinstance(label, Call) and rules[label.rule].is_brief


def _basic(name: str, budget: Budget) -> Automaton:
    """A rule that every schema may need."""
    net = Net(budget)
    start, end = net.state(), net.state()
    match name:
        case "ws":
            net.skip(start, end)
            net.skip(net.text(start, " "), end)
            line = net.text(start, "\n")
            net.skip(line, end)
            net.skip(net.call(line, Call("blank", 1, _INDENT)), end)
        case "blank":
            return exactly(r"[ \t]")
        case "char":
            return exactly(_CHARACTER)
        case "chars":
            net.step(start, Call(CHARACTER, CHUNK_SIZE, CHUNK_SIZE), end)
        case "string":
            inner = net.text(start, '"')
            net.skip(net.text(inner, '"'), end)
            net.skip(net.text(net.call(inner, Call(CHARACTER, 1, None)), '"'), end)
        case "digit":
            return exactly("[0-9]")
        case "number":
            whole = net.state()
            _add_whole_number(net, start, whole, DIGITS)
            net.skip(net.text(start, "-0"), whole)
            broken = net.call(net.text(whole, "."), Call("digit", 1, DIGITS))
            net.skip(whole, broken)
            net.skip(broken, end)
            net.insert(broken, exactly(r"[eE][+-]?[0-9]{1,2}"), end)
        case "integer":
            _add_whole_number(net, start, end, INTEGER_DIGITS)
        case "object":
            begun = net.call(net.text(start, "{"), BLANKS)
            written = net.call(net.text(net.call(begun, STRING), ":"), BLANKS, VALUE)
            net.skip(net.call(net.text(written, ","), BLANKS), begun)
            net.skip(net.text(net.call(written, BLANKS), "}"), end)
            net.skip(net.text(net.call(net.text(start, "{"), BLANKS), "}"), end)
        case "array":
            begun = net.call(net.text(start, "["), BLANKS)
            written = net.call(begun, VALUE)
            net.skip(net.call(net.text(written, ","), BLANKS), begun)
            net.skip(net.text(net.call(written, BLANKS), "]"), end)
            net.skip(net.text(net.call(net.text(start, "["), BLANKS), "]"), end)
        case _:
            for call in (STRING, NUMBER, OBJECT, ARRAY):
                net.step(start, call, end)
            for word in ("true", "false", "null"):
                net.skip(net.text(start, word), end)
    return net.automaton(start, end)


def _add_whole_number(net: Net, source: int, target: int, digits: int) -> None:
    net.skip(net.text(source, "0"), target)
    net.skip(net.text(source, "-"), signed := net.state())
    net.skip(source, signed)
    first = net.state()
    net.step(signed, points("19"), first)
    net.skip(first, target)
    net.skip(net.call(first, Call("digit", 1, digits - 1)), target)
