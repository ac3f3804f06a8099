"""Whether what is generated for one schema can never satisfy another: what `oneOf`, `not` and `if` need to know. Pure.

Only a yes is a proof.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any

from .automaton import both
from .budget import Budget
from .document import Document, Place
from .literals import json_text
from .pattern import Patterns
from .shape import KINDS, Kinds, Shape, common_kinds, shapes, stated_kinds
from .strings import languages
from .validity import Validator, needed_names, number_bounds, property_schemas, required_names, tuple_items

_DEEPEST = 6
_MOST_ITEMS = 8


class Comparison:
    """Compares the schemas of one grammar; what it found is kept."""

    def __init__(self, patterns: Patterns, budget: Budget) -> None:
        self._patterns, self._budget = patterns, budget
        self.validator = Validator(patterns, budget)
        self._shapes: dict[tuple[Place, ...], list[Shape]] = {}

    def shapes(self, places: tuple[Place, ...]) -> list[Shape]:
        """The ways to satisfy all these schemas. Raises SchemaError."""
        if places not in self._shapes:
            self._shapes[places] = shapes(places, self._budget)
        return self._shapes[places]

    def is_apart(self, kind: str, shape: Shape, other: Place, depth: int = 0) -> bool:
        """Whether no value of this kind that is generated for a shape satisfies the other schema. Raises SchemaError."""
        return all(self._is_apart(kind, shape, one, depth) for one in self.shapes((other,)))

    def narrowed(self, shape: Shape, other: Place) -> Shape | None:
        """A shape of objects with a property that keeps them apart from the other schema; None where there is no such.

        The property is required then, and of the few values that it may have those that the other has, too, are left out.
        Raises SchemaError.
        """
        for name in dict.fromkeys(name for place in shape.places for name in place.named("properties")):
            ours = self._of_property(shape, name)
            theirs = [self._of_property(one, name) for one in self.shapes((other,))]
            values = self.finite(ours)
            kept = [value for value in values or () if not any(self._may_hold(value, places) for places in theirs)]
            if kept or (values is None and all(self._are_apart(ours, places, 1) for places in theirs)):
                said = {"properties": {name: {"enum": kept}} if kept else {}, "required": [name]}
                return Shape((*shape.places, Document(said, shape.places[0].pointer).root), shape.excluded)
        return None

    def finite(self, places: tuple[Place, ...]) -> list[Any] | None:
        """All the values that satisfy some schemas, None where they are not listed. Raises SchemaError."""
        found: dict[str, Any] = {}
        for shape in self.shapes(places) if places else [Shape(())]:
            values = [True, False] if shape.kinds == frozenset({"boolean"}) and shape.values is None else shape.values
            if values is None:
                return None
            found |= {json_text(value): value for value in self.valid(values, places)}
        return list(found.values())

    def valid(self, values: Sequence[Any], places: Sequence[Place]) -> list[Any]:
        """Those of the values that satisfy schemas, each once. Raises SchemaError."""
        distinct = {json_text(value): value for value in values}
        return [value for value in distinct.values() if all(self.validator.holds(value, place) for place in places)]

    def _may_hold(self, value: object, places: Sequence[Place]) -> bool:
        return all(self.validator.may_hold(value, place) for place in places)

    def _of_property(self, shape: Shape, name: str) -> tuple[Place, ...]:
        found = [inner for place in shape.places for inner in property_schemas(place, name, self._patterns)]
        return tuple(dict.fromkeys(found))

    def is_all_of(self, kind: str, other: Place) -> bool:
        """Whether all values of a kind satisfy a schema, which says nothing but a type."""
        kinds = stated_kinds([other])
        return bool(kinds) and kind in kinds and set(other.schema) == {"type"}

    def _are_apart(self, places: Sequence[Place], others: Sequence[Place], depth: int) -> bool:
        if not places or not others or depth > _DEEPEST:
            return False
        return all(
            self._is_apart(kind, one, other, depth)
            for one in self.shapes(tuple(places))
            for other in self.shapes(tuple(others))
            for kind in one.kinds
        )

    def _is_apart(self, kind: str, shape: Shape, other: Shape, depth: int) -> bool:
        self._budget.spend()
        kinds: Kinds | None = stated_kinds(other.places)
        if not common_kinds(frozenset({kind}), KINDS if kinds is None else kinds):
            return True
        for one, another in ((shape, other), (other, shape)):
            if one.values is not None:
                return not any(self._may_hold(value, (*one.places, *another.places)) for value in one.values)
        match kind:
            case "object":
                return self._are_objects_apart(shape, other, depth)
            case "array":
                return _are_counts_apart(shape, other, "minItems", "maxItems") or self._are_items_apart(
                    shape, other, depth
                )
            case "string":
                found = languages(shape, self._patterns) + languages(other, self._patterns, with_formats=False)
                return _are_counts_apart(shape, other, "minLength", "maxLength") or (
                    len(found) > 1 and reduce(lambda one, another: both(one, another, self._budget), found).is_empty
                )
            case "number" | "integer":
                bounds = [bound for place in (*shape.places, *other.places) for bound in number_bounds(place)]
                return any(
                    not low.admits(high.value) or (high.is_strict and low.value == high.value)
                    for low in bounds
                    for high in bounds
                    if low.is_lower and not high.is_lower
                )
            case _:
                return False

    def _are_objects_apart(self, shape: Shape, other: Shape, depth: int) -> bool:
        for name in {name for one in (shape, other) for place in one.places for name in required_names(place)}:
            ours, theirs = self._of_property(shape, name), self._of_property(other, name)
            is_needed = any(name in required_names(place) for place in other.places)
            if is_needed and not is_written(shape, name):
                return True
            if self._are_apart(ours, theirs, depth + 1) or any(inner.is_false for inner in theirs):
                return True
        return False

    def _are_items_apart(self, shape: Shape, other: Shape, depth: int) -> bool:
        return any(
            self._are_apart(items_at(shape, number), items_at(other, number), depth + 1)
            for number in range(min(shape.least("minItems"), _MOST_ITEMS))
        )


def items_at(shape: Shape, number: int) -> tuple[Place, ...]:
    """What a shape says of an array's item."""
    found: list[Place] = []
    for place in shape.places:
        first, rest = tuple_items(place)
        found += [first[number]] if number < len(first) else [rest] if rest is not None else []
    tuples = [tuple_items(place) for place in shape.places]
    if all(number >= len(first) and rest is None for first, rest in tuples):
        found += [place.child("unevaluatedItems") for place in shape.having("unevaluatedItems")]
    return tuple(dict.fromkeys(found))


def is_written(shape: Shape, name: str) -> bool:
    """Whether an object that is generated for a shape may have a property of this name."""
    for place in shape.places:
        if name in place.named("properties") or name in required_names(place):
            return True
        if any(name in names for names in needed_names(place).values()) or place.named("patternProperties"):
            return True
        if any(
            place.get(keyword) not in (None, False) for keyword in ("additionalProperties", "unevaluatedProperties")
        ):
            return True
    return not shape.having("properties") or shape.least("minProperties") > 0


def _are_counts_apart(shape: Shape, other: Shape, least: str, most: str) -> bool:
    low = max(shape.least(least), other.least(least))
    highs = [*shape.counts(most), *other.counts(most)]
    return bool(highs) and low > min(highs)
