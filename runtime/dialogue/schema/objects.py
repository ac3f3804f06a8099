"""Objects of a schema: its properties in its order, then any others. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from .automaton import Automaton, Call, both, others, words
from .budget import Budget, unenforceable
from .codepoints import ANY
from .document import Place
from .pattern import Patterns
from .selection import Member, Selection
from .shape import Shape
from .site import Site
from .validity import Validator, needed_names, needed_schemas, property_schemas, required_names

_MOST_VARIANTS = 64
ANY_NAME = Automaton((((ANY, 0),),), frozenset({0}))
Pair = Callable[[int, str, tuple[Place, ...]], int]
"""Adds a property to the net from a state on; the state where it ends."""


Names = Callable[[Sequence[Place]], Automaton]
"""The texts that satisfy some schemas."""


@dataclass(frozen=True, slots=True)
class Extra:
    """Properties whose names are not known."""

    names: Automaton
    places: tuple[Place, ...]
    """What their values satisfy."""


@dataclass(frozen=True, slots=True)
class ObjectPlan:
    """What the objects of a shape are made of."""

    members: dict[str, tuple[Place, ...]]
    """Properties by name, and what their values satisfy."""
    required: frozenset[str]
    extras: tuple[Extra, ...]
    low: int
    high: int | None
    needs: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    """The properties that a property asks for."""

    @property
    def is_any(self) -> bool:
        """Whether any object will do."""
        is_free = [(extra.names, extra.places) for extra in self.extras] == [(ANY_NAME, ())]
        return is_free and not self.members and not self.low and self.high is None

    def variants(self, pointer: str) -> list[tuple[frozenset[str], frozenset[str]]]:
        """For each way to do as properties ask, those that are left out and those that are required. Raises SchemaError."""
        found: list[tuple[frozenset[str], frozenset[str]]] = [(frozenset(), self._with_needed(self.required))]
        for name in self.needs:
            split: list[tuple[frozenset[str], frozenset[str]]] = []
            for absent, required in found:
                if name in required or name not in self.members:
                    split.append((absent, required))
                    continue
                split.append((absent | {name}, required))
                split.append((absent, self._with_needed(required | {name})))
            found = [(absent, required) for absent, required in split if not absent & required]
            if len(found) > _MOST_VARIANTS:
                raise unenforceable(pointer, "dependentRequired", "too many properties ask for others")
        return found

    def _with_needed(self, names: frozenset[str]) -> frozenset[str]:
        while True:
            more = names.union(*(self.needs[name] for name in names if name in self.needs))
            if more == names:
                return names
            names = more


class ObjectPlanner:
    """Makes plans."""

    def __init__(self, patterns: Patterns, validator: Validator, names: Names, budget: Budget) -> None:
        self._patterns, self._validator, self._names, self._budget = patterns, validator, names, budget

    def plan(self, shape: Shape) -> ObjectPlan:
        """What the objects of a shape are made of. Raises SchemaError."""
        _refuse_unenforceable(shape)
        budget = self._budget
        needs: dict[str, list[str]] = {}
        for place in shape.places:
            for name, names in needed_names(place).items():
                needs.setdefault(name, []).extend(names)
        required = [name for place in shape.places for name in required_names(place)]
        declared = [name for place in shape.places for name in place.named("properties")]
        asked = [name for names in needs.values() for name in names]
        of_names = [place.child("propertyNames") for place in shape.having("propertyNames")]
        members = {
            name: self._said_of(shape, name)
            for name in dict.fromkeys([*declared, *required, *asked])
            if all(self._validator.holds(name, place) for place in of_names)
        }
        low, high = shape.least("minProperties"), shape.most("maxProperties")
        taken = list(dict.fromkeys([*members, *declared, *needs]))
        names = others(words(taken, budget)) if taken else ANY_NAME
        if of_names:
            names = both(names, self._names(of_names), budget)
        extras = self._extras(shape, names, is_wanted=low > len(members) or not shape.having("properties"))
        if low > len(members) + bool(extras) and extras:
            place = max(shape.having("minProperties"), key=lambda place: place.count("minProperties") or 0)
            raise unenforceable(
                place.at("minProperties"),
                "minProperties",
                "a property whose name is free could be written twice",
                hint='name more of them in "properties"',
            )
        return ObjectPlan(members, frozenset(required), extras, low, high, needs)

    def _said_of(self, shape: Shape, name: str) -> tuple[Place, ...]:
        found = [inner for place in shape.places for inner in property_schemas(place, name, self._patterns)]
        if not found:
            found = [place.child("unevaluatedProperties") for place in shape.having("unevaluatedProperties")]
        return tuple(dict.fromkeys(found))

    def _extras(self, shape: Shape, names: Automaton, *, is_wanted: bool) -> tuple[Extra, ...]:
        """Those whose names match exactly one pattern, and those that match none."""
        budget = self._budget
        owners: dict[str, list[Place]] = {}
        for place in shape.places:
            for pattern in place.named("patternProperties"):
                owners.setdefault(pattern, []).append(place)
        found: list[Extra] = []
        matching = {
            pattern: self._patterns.matching(pattern, places[0].at("patternProperties"))
            for pattern, places in owners.items()
        }
        for pattern, places in owners.items():
            machine = both(names, matching[pattern], budget)
            for other in matching:
                machine = machine if other == pattern else both(machine, others(matching[other]), budget)
            said = [place.child("patternProperties", pattern) for place in places]
            said += [
                place.child("additionalProperties")
                for place in shape.having("additionalProperties")
                if place not in places
            ]
            found.append(Extra(machine, tuple(said)))
        explicit = [place.child("additionalProperties") for place in shape.having("additionalProperties")]
        explicit = explicit or [place.child("unevaluatedProperties") for place in shape.having("unevaluatedProperties")]
        if explicit or (is_wanted and not owners):
            for machine in matching.values():
                names = both(names, others(machine), budget)
            found.append(Extra(names, tuple(explicit)))
        return tuple(
            extra for extra in found if not extra.names.is_empty and not any(place.is_false for place in extra.places)
        )


def add_object(site: Site, plan: ObjectPlan, pair: Pair, extra: Call | None) -> None:
    """Add the objects of a plan; `extra` is the rule of its extra properties. Raises SchemaError."""

    def writer(name: str) -> Callable[[int], int]:
        return lambda state: pair(state, name, plan.members[name])

    for absent, required in plan.variants(site.shape.places[0].pointer):
        if required <= plan.members.keys():
            members = [Member(writer(name), name in required) for name in plan.members if name not in absent]
            Selection(members=members, extra=extra, low=plan.low, high=plan.high).add(
                site.net, site.source, site.target
            )


def _refuse_unenforceable(shape: Shape) -> None:
    for place in shape.places:
        for name, schema in needed_schemas(place).items():
            if schema.schema:
                keyword = "dependentSchemas" if name in place.named("dependentSchemas") else "dependencies"
                raise unenforceable(
                    place.at(keyword), keyword, "it changes other properties", hint='use "anyOf" for the two cases'
                )
