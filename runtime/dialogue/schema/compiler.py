"""Compiler: from the schemas of a document to the rules of a grammar. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .apart import Comparison, items_at
from .arrays import add_array
from .automaton import Automaton, Call, Net, words
from .budget import Budget, SchemaError, unenforceable
from .document import Place
from .gbnf import gbnf
from .grammar import ARRAY, BLANKS, OBJECT, STRING, VALUE, Grammar, Rule
from .literals import add_value, string_text
from .numerals import numerals
from .objects import ANY_NAME, Extra, ObjectPlanner, add_object
from .pattern import Patterns
from .selection import Member, Selection
from .shape import Shape
from .site import Site
from .strings import add_string, quoted, texts
from .validity import multiple_of, number_bounds, tuple_items

_DEEPEST = 16
"""Rules that are made while others wait for them; others are made later, and may be equal to some that are there."""
_MOST_UNIQUE = 100
_ANNOTATIONS = frozenset(
    {
        *("$schema", "$id", "$comment", "$defs", "definitions", "$anchor", "$vocabulary", "title", "description"),
        *("default", "example", "examples", "deprecated", "readOnly", "writeOnly", "strict", "discriminator"),
        *("contentMediaType", "contentEncoding", "contentSchema", "externalDocs", "xml"),
    }
)
"""Keywords that say nothing about a value; unknown ones do not either."""
_NOT_APART = "what is generated might satisfy the other schema, too"
_APART_HINT = {"oneOf": 'use "anyOf", or give each alternative a required property with a const of its own'}


class Compiler:
    """Makes the rules of one grammar."""

    def __init__(self) -> None:
        self.budget = Budget()
        self._patterns = Patterns(self.budget)
        self._comparison = Comparison(self._patterns, self.budget)
        self._validator = self._comparison.validator
        self._grammar = Grammar(self.budget)
        self._known: dict[frozenset[Place], str] = {}
        self._later: list[tuple[str, tuple[Place, ...]]] = []
        self._depth = 0

    def net(self) -> Net:
        """A new net, for what the schemas' values stand in."""
        return Net(self.budget)

    def text(self, machine: Automaton, pointer: str) -> str:
        """The grammar that generates what an automaton says. Raises SchemaError, also where there is nothing to generate."""
        name = self._grammar.add(self._grammar.reserve(), Rule(machine, pointer))
        while self._later:
            self._make(*self._later.pop())
        return gbnf(self._grammar.finished(name))

    def call(self, places: Sequence[Place]) -> Call:
        """The rule of the values that satisfy all these schemas. Raises SchemaError."""
        found = tuple(
            dict.fromkeys(target for place in places if (target := _target(place)).schema.keys() - _ANNOTATIONS)
        )
        if not found:
            return VALUE
        key = frozenset(found)
        if key not in self._known:
            self._known[key] = name = self._grammar.reserve()
            if self._depth >= _DEEPEST and not all(place.is_leaf for place in found):
                self._later.append((name, found))
            else:
                self._known[key] = self._make(name, found)
        return Call(self._known[key])

    def _make(self, name: str, places: tuple[Place, ...]) -> str:
        self._depth += 1
        self.budget.pointer = places[0].pointer
        net = Net(self.budget)
        start, end = net.state(), net.state()
        found = self._comparison.shapes(places)
        for shape in found:
            self._add(net, start, end, shape, places, is_alone=len(found) == 1)
        self._depth -= 1
        rule = Rule(net.automaton(start, end), places[0].pointer, ways=2 * max(1, len(found)))
        made = self._grammar.add(name, rule)
        match rule.machine.rows:
            case (((Call(low=1, high=1) as only, 1),), ()):
                return only.rule
            case _:
                return made

    def _add(
        self, net: Net, source: int, target: int, shape: Shape, places: tuple[Place, ...], *, is_alone: bool
    ) -> None:
        """Add one way to satisfy schemas."""
        if shape.values is not None:
            for value in self._comparison.valid(shape.values, places):
                net.skip(add_value(net, source, value), target)
            return
        for kind in sorted(shape.kinds):
            if not any(self._comparison.is_all_of(kind, other) for other, _ in shape.excluded):
                apart = self._apart(kind, shape)
                self._add_kind(Site(net, source, target, apart, is_alone=is_alone), kind)

    def _apart(self, kind: str, shape: Shape) -> Shape:
        """The shape, narrowed where else it might satisfy what it must not."""
        for other, pointer in shape.excluded:
            if self._comparison.is_apart(kind, shape, other):
                continue
            narrower = self._comparison.narrowed(shape, other) if kind == "object" else None
            if narrower is None:
                keyword = pointer.rpartition("/")[2]
                raise unenforceable(pointer, keyword, _NOT_APART, hint=_APART_HINT.get(keyword, ""))
            shape = narrower
        return shape

    def _add_kind(self, site: Site, kind: str) -> None:
        net, source, target, shape = site.net, site.source, site.target, site.shape
        match kind:
            case "object":
                self._add_object(site)
            case "array" if shape.says_nothing_of("array"):
                net.step(source, ARRAY, target)
            case "array":
                self._add_array(site)
            case "string":
                add_string(site, self._patterns)
            case "number" | "integer":
                self._add_number(site, is_integer=kind == "integer")
            case _:
                for word in ("true", "false") if kind == "boolean" else ("null",):
                    net.skip(net.text(source, word), target)

    def _add_number(self, site: Site, *, is_integer: bool) -> None:
        bounds = [bound for place in site.shape.places for bound in number_bounds(place)]
        steps = [step for place in site.shape.places if (step := multiple_of(place)) is not None]
        if not bounds and not steps:
            site.net.step(site.source, Call("integer" if is_integer else "number"), site.target)
            return
        machine = numerals(bounds, steps, is_integer=is_integer, budget=self.budget)
        if machine is None:
            keyword = "multipleOf" if steps else "minimum"
            place = next((place for place in site.shape.places if keyword in place.schema), site.shape.places[0])
            raise unenforceable(place.at(keyword), keyword, "the numbers are too large, too small or too many")
        site.net.insert(site.source, machine, site.target)

    def _add_object(self, site: Site) -> None:
        shape, net = site.shape, site.net
        plan = ObjectPlanner(self._patterns, self._validator, self._names, self.budget).plan(shape)
        if plan.is_any:
            net.step(site.source, OBJECT, site.target)
            return

        def pair(state: int, name: str, places: tuple[Place, ...]) -> int:
            return self._write(site, net.call(net.text(state, f"{string_text(name)}:"), BLANKS), places)

        add_object(site, plan, pair, self._extra(plan.extras, shape.places[0].pointer) if plan.extras else None)

    def _extra(self, extras: Sequence[Extra], pointer: str) -> Call:
        """The rule of a property whose name is free."""
        net = Net(self.budget)
        start, end = net.state(), net.state()
        for extra in extras:
            named = net.state()
            if extra.names is ANY_NAME:
                net.step(start, STRING, named)
            else:
                net.insert(start, quoted(extra.names, self.budget), named)
            net.skip(net.call(net.text(named, ":"), BLANKS, self.call(extra.places)), end)
        return Call(self._grammar.add(self._grammar.reserve(), Rule(net.automaton(start, end), pointer, is_brief=True)))

    def _add_array(self, site: Site) -> None:
        shape, net = site.shape, site.net

        def write(state: int, places: tuple[Place, ...]) -> int:
            return self._write(site, state, places)

        def more(places: tuple[Place, ...]) -> Call:
            inner = Net(self.budget)
            start = inner.state()
            end = inner.call(inner.text(start, ","), BLANKS, self.call(places))
            return Call(self._grammar.add(self._grammar.reserve(), Rule(inner.automaton(start, end))))

        most = shape.most("maxItems")
        unique = [place for place in shape.places if place.get("uniqueItems") is True]
        if unique and (most is None or most > 1):
            selection = Selection(
                members=[
                    Member(writer, is_required=False) for writer in self._unique(site, unique[0].at("uniqueItems"))
                ],
                low=shape.least("minItems"),
                high=most,
                brackets="[]",
            )
            selection.add(net, site.source, site.target)
        else:
            add_array(site, write, more)

    def _unique(self, site: Site, pointer: str) -> list[Callable[[int], int]]:
        """What adds each of the values that items may have, so that none comes twice: they come in the schema's order."""
        shape = site.shape
        values = None
        if not any(tuple_items(place)[0] or "contains" in place.schema for place in shape.places):
            values = self._comparison.finite(items_at(shape, 0))
        if values is None or len(values) > _MOST_UNIQUE:
            raise unenforceable(
                pointer,
                "uniqueItems",
                f"only items with an enum of at most {_MOST_UNIQUE} values can be kept different",
                hint='remove "uniqueItems", or give the items an "enum"',
            )

        def writer(value: Any) -> Callable[[int], int]:
            return lambda state: add_value(site.net, state, value)

        return [writer(value) for value in values]

    def _names(self, places: Sequence[Place]) -> Automaton:
        """The texts that satisfy some schemas."""
        net = Net(self.budget)
        start, end = net.state(), net.state()
        for shape in self._comparison.shapes(tuple(places)):
            if shape.excluded:
                pointer = shape.excluded[0][1]
                raise unenforceable(pointer, pointer.rpartition("/")[2], "it is about the names of properties")
            if shape.values is not None:
                listed = [value for value in self._comparison.valid(shape.values, places) if isinstance(value, str)]
                net.insert(start, words(listed, self.budget), end)
            elif "string" in shape.kinds:
                net.insert(start, texts(shape, self._patterns, self.budget), end)
        return net.automaton(start, end)

    def _write(self, site: Site, state: int, places: tuple[Place, ...]) -> int:
        """Add a value of some schemas to a net; where it ends."""
        call = self.call(places)
        machine = None if site.is_alone else self._grammar.machine(call.rule)
        if machine is None or not machine.is_plain:
            return site.net.call(state, call)
        # Beside other shapes only what is spelled out can be told from theirs by its characters.
        end = site.net.state()
        site.net.insert(state, machine, end)
        return end


def _target(place: Place) -> Place:
    """The schema that this one only refers to, else itself. Raises SchemaError."""
    seen = {place}
    while place.schema.keys() - _ANNOTATIONS == {"$ref"}:
        place = place.document.referred(place, "$ref")
        if place in seen:
            raise SchemaError(place.pointer, "it refers to itself without end", hint="correct the reference")
        seen.add(place)
    return place
