"""Shape: one way to satisfy schemas, as a set of them whose own keywords must all hold. Pure.

What combines schemas is gone in a shape: `$ref` and `allOf` have become more members, `anyOf`, `oneOf` and `if` several
shapes. What must not hold besides is kept as `excluded`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, TypeAlias, cast

from .budget import Budget, SchemaError, unenforceable
from .document import Place

Kinds: TypeAlias = frozenset[str]
KINDS: Kinds = frozenset({"object", "array", "string", "number", "integer", "boolean", "null"})
_MOST_SHAPES = 256
_DEEPEST = 64

_ABOUT = {
    "object": (
        *("properties", "required", "additionalProperties", "patternProperties", "propertyNames", "minProperties"),
        *("maxProperties", "dependentRequired", "dependentSchemas", "dependencies", "unevaluatedProperties"),
    ),
    "array": (
        *("items", "prefixItems", "additionalItems", "minItems", "maxItems", "uniqueItems", "contains"),
        *("minContains", "maxContains", "unevaluatedItems"),
    ),
    "string": ("minLength", "maxLength", "pattern", "format"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
}
"""The keywords that say something about one kind of value only."""
_DYNAMIC = ("$dynamicRef", "$recursiveRef")
_EVALUATING = {
    "unevaluatedProperties": {"properties", "patternProperties", "additionalProperties"},
    "unevaluatedItems": {"items", "prefixItems", "additionalItems"},
}
"""What such a keyword looks at: in its own schema and in those that it combines, but in none beside it."""


@dataclass(frozen=True, slots=True)
class Shape:
    """One way to satisfy some schemas."""

    places: tuple[Place, ...]
    """Their own keywords all hold."""
    excluded: tuple[tuple[Place, str], ...] = ()
    """Schemas that must not hold, each with where it is said."""

    @property
    def kinds(self) -> Kinds:
        """What kinds of values it has; where no schema says so, those that its keywords are about."""
        said = stated_kinds(self.places)
        if said is not None:
            return said
        about = {
            kind for kind, keywords in _ABOUT.items() for place in self.places if place.schema.keys() & set(keywords)
        }
        return frozenset(about) or KINDS - {"integer"}

    @property
    def values(self) -> list[Any] | None:
        """The only values it may have, before anything else is looked at; None where there are any."""
        for place in self.places:
            if "const" in place.schema:
                return [place.schema["const"]]
        for place in self.places:
            if "enum" in place.schema:
                return enum_of(place)
        return None

    def counts(self, keyword: str) -> list[int]:
        """What the schemas say of a number of things."""
        return [count for place in self.places if (count := place.count(keyword)) is not None]

    def least(self, keyword: str) -> int:
        """The strictest of lower bounds."""
        return max(self.counts(keyword), default=0)

    def most(self, keyword: str) -> int | None:
        """The strictest of upper bounds."""
        return min(self.counts(keyword), default=None)

    def says_nothing_of(self, kind: str) -> bool:
        """Whether there are no keywords about a kind of value."""
        return not any(place.schema.keys() & set(_ABOUT[kind]) for place in self.places)

    def having(self, keyword: str) -> list[Place]:
        """The schemas that have a keyword."""
        return [place for place in self.places if keyword in place.schema]


def enum_of(place: Place) -> list[Any]:
    """The values a schema lists. Raises SchemaError."""
    values = place.schema["enum"]
    if not isinstance(values, list):
        raise SchemaError(place.at("enum"), "it must be a list", hint="correct the schema")
    return cast("list[Any]", values)


def stated_kinds(places: Iterable[Place]) -> Kinds | None:
    """What the schemas say of the kind of a value together; None where they say nothing. Raises SchemaError."""
    said: Kinds | None = None
    for place in places:
        kinds = _own_kinds(place)
        if kinds is None:
            continue
        said = kinds if said is None else common_kinds(said, kinds)
    return said


def _own_kinds(place: Place) -> Kinds | None:
    stated = place.get("type")
    if stated is None:
        return None
    names = cast("list[Any]", stated) if isinstance(stated, list) else [stated]
    if not all(isinstance(name, str) and name in KINDS for name in names):
        raise SchemaError(place.at("type"), "there is no such type", hint=f"types are {', '.join(sorted(KINDS))}")
    kinds = frozenset(cast("list[str]", names)) | ({"null"} if place.get("nullable") is True else frozenset[str]())
    return kinds - {"integer"} if "number" in kinds else kinds


def common_kinds(one: Kinds, other: Kinds) -> Kinds:
    """The kinds that are in both; an integer is a number."""
    common = one & other
    if ("integer" in one and "number" in other) or ("number" in one and "integer" in other):
        common |= {"integer"}
    return common


def shapes(places: Sequence[Place], budget: Budget) -> list[Shape]:
    """All the ways to satisfy all these schemas; none where their types exclude each other. Raises SchemaError."""
    return _joined([_expanded(place, (), budget) for place in places], places[0].pointer, budget)


def _expanded(place: Place, above: tuple[Place, ...], budget: Budget) -> list[Shape]:
    if place in above:
        raise SchemaError(place.pointer, "it refers to itself without end", hint="correct the reference")
    if len(above) >= _DEEPEST:
        raise SchemaError(
            place.pointer, f"more than {_DEEPEST} schemas refer to each other", hint="use fewer references"
        )
    budget.spend()
    above = (*above, place)
    parts = [[Shape((place,))]]

    def inner(other: Place) -> list[Shape]:
        return _expanded(other, above, budget)

    for keyword in _DYNAMIC:
        if keyword in place.schema:
            raise unenforceable(place.at(keyword), keyword, "it depends on where it is used", hint='use "$ref"')
    if "$ref" in place.schema:
        parts.append(inner(place.document.referred(place, "$ref")))
    parts += [inner(member) for member in place.children("allOf")]
    if members := place.children("anyOf"):
        parts.append([shape for member in members for shape in inner(member)])
    if members := place.children("oneOf"):
        parts.append(
            [
                _excluding(shape, [other for other in members if other is not member], place.at("oneOf"))
                for member in members
                for shape in inner(member)
            ]
        )
    if "not" in place.schema:
        parts.append([_excluding(Shape(()), [place.child("not")], place.at("not"))])
    parts += _conditional(place, inner, budget)
    return _joined(parts, place.pointer, budget, around=place)


def _conditional(place: Place, inner: Callable[[Place], list[Shape]], budget: Budget) -> Iterator[list[Shape]]:
    if "if" not in place.schema or not place.schema.keys() & {"then", "else"}:
        return
    condition = place.child("if")
    then, otherwise = (
        [Shape(())] if name not in place.schema else inner(place.child(name)) for name in ("then", "else")
    )
    held = _joined([inner(condition), then], place.pointer, budget)
    yield held + [_excluding(shape, [condition], place.at("if")) for shape in otherwise]


def _excluding(shape: Shape, others: Sequence[Place], pointer: str) -> Shape:
    return Shape(shape.places, (*shape.excluded, *((other, pointer) for other in others)))


def _joined(
    parts: Sequence[Sequence[Shape]], pointer: str, budget: Budget, *, around: Place | None = None
) -> list[Shape]:
    """One of each part, all of them at once; `around` is the schema that combines the others."""
    found: list[Shape] = [Shape(())]
    for part in parts:
        joined: list[Shape] = []
        for one, other in product(found, part):
            budget.spend()
            both = Shape(
                tuple(dict.fromkeys((*one.places, *other.places))),
                tuple(dict.fromkeys((*one.excluded, *other.excluded))),
            )
            if stated_kinds(both.places) != frozenset():
                _refuse_unevaluated(one, other, around)
                _refuse_unevaluated(other, one, around)
                joined.append(both)
        found = list(dict.fromkeys(joined))
        if len(found) > _MOST_SHAPES:
            raise SchemaError(
                pointer,
                f"its alternatives have more than {_MOST_SHAPES} combinations",
                hint="use fewer alternatives, or combine fewer of them by allOf and $ref",
            )
    return found


def _refuse_unevaluated(shape: Shape, beside: Shape, around: Place | None) -> None:
    """In one shape it could no longer be told what such a keyword looks at."""
    for place in shape.places:
        for keyword, evaluating in _EVALUATING.items():
            if place is around or place.get(keyword) in (None, True):
                continue
            if any(other not in shape.places and other.schema.keys() & evaluating for other in beside.places):
                raise unenforceable(
                    place.at(keyword),
                    keyword,
                    "another schema is about the same value",
                    hint=f'move "{keyword}" beside the "allOf" or "$ref" that combines them',
                )
