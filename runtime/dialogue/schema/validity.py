"""Whether a value satisfies a schema: for the values of `enum` and `const`, which are filtered by it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, cast

from .budget import Budget, SchemaError, unenforceable
from .document import Place
from .literals import json_text
from .numerals import Bound
from .pattern import Patterns
from .shape import enum_of, stated_kinds

_DEEPEST = 100
_UNEVALUATED = ("unevaluatedProperties", "unevaluatedItems")


def number_bounds(place: Place) -> list[Bound]:
    """The bounds that a schema sets to numbers. Raises SchemaError."""
    found: dict[bool, list[Bound]] = {True: [], False: []}
    for keyword, strict, is_lower in (("minimum", "exclusiveMinimum", True), ("maximum", "exclusiveMaximum", False)):
        if keyword in place.schema:
            # In drafts up to 4 the other keyword says whether the bound itself is out.
            bound = Bound(_number(place, keyword), is_lower=is_lower, is_strict=place.get(strict) is True)
            found[is_lower].append(bound)
        if not isinstance(place.get(strict), bool | None):
            found[is_lower].append(Bound(_number(place, strict), is_lower=is_lower, is_strict=True))
    return found[True] + found[False]


def multiple_of(place: Place) -> Decimal | None:
    """What numbers are to be multiples of. Raises SchemaError."""
    if "multipleOf" not in place.schema:
        return None
    step = _number(place, "multipleOf")
    if step <= 0:
        raise SchemaError(place.at("multipleOf"), "it must be more than 0", hint="correct the schema")
    return step


def pattern_of(place: Place) -> str | None:
    """What texts are to match. Raises SchemaError."""
    pattern = place.get("pattern")
    if not isinstance(pattern, str | None):
        raise SchemaError(place.at("pattern"), "it must be a text", hint="correct the schema")
    return pattern


def required_names(place: Place, keyword: str = "required") -> list[str]:
    """The names that a schema wants. Raises SchemaError."""
    return name_list(place.get(keyword) if not isinstance(place.get(keyword), bool) else None, place.at(keyword))


def name_list(names: object, pointer: str) -> list[str]:
    """Names, none for None. Raises SchemaError."""
    if names is None:
        return []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in cast("list[Any]", names)):
        raise SchemaError(pointer, "it must be a list of names", hint="correct the schema")
    return cast("list[str]", names)


def tuple_items(place: Place) -> tuple[list[Place], Place | None]:
    """The schemas of the first items, and that of the others, None where there is none; in any draft's words."""
    if isinstance(place.get("items"), list):
        first = place.children("items") if place.get("items") else []
        return first, place.child("additionalItems") if "additionalItems" in place.schema else None
    return place.children("prefixItems"), place.child("items") if "items" in place.schema else None


def needed_names(place: Place) -> dict[str, list[str]]:
    """The names that other names ask for; schemas that names ask for are not here. Raises SchemaError."""
    found: dict[str, list[str]] = {}
    for keyword in ("dependentRequired", "dependencies"):
        stated = place.get(keyword)
        if isinstance(stated, Mapping):
            for name, names in cast("Mapping[str, Any]", stated).items():
                if isinstance(names, list):
                    found.setdefault(name, []).extend(name_list(cast("object", names), place.at(keyword)))
    return found


def needed_schemas(place: Place) -> dict[str, Place]:
    """The schemas that names ask for. Raises SchemaError."""
    found = dict(place.named("dependentSchemas"))
    stated = place.get("dependencies")
    for name, schema in cast("Mapping[str, Any]", stated).items() if isinstance(stated, Mapping) else ():
        if not isinstance(schema, list):
            found[name] = place.child("dependencies", name)
    return found


def _number(place: Place, keyword: str) -> Decimal:
    value = place.schema[keyword]
    if isinstance(value, bool) or not isinstance(value, int | float) or not Decimal(str(value)).is_finite():
        raise SchemaError(place.at(keyword), "it must be a number", hint="correct the schema")
    return Decimal(str(value))


class Validator:
    """Tells whether values satisfy schemas."""

    def __init__(self, patterns: Patterns, budget: Budget) -> None:
        self._patterns, self._budget = patterns, budget
        self._enums: dict[Place, frozenset[str]] = {}

    def holds(self, value: object, place: Place, depth: int = 0) -> bool:
        """Whether a value satisfies a schema; formats are not looked at. Raises SchemaError."""
        self._budget.spend()
        if depth > _DEEPEST:
            raise SchemaError(place.pointer, "it refers to itself without end", hint="correct the reference")
        schema = place.schema

        def also(inner: Place) -> bool:
            return self.holds(value, inner, depth + 1)

        if not self.may_hold(value, place, depth):
            return False
        if "$ref" in schema and not also(place.document.referred(place, "$ref")):
            return False
        if not all(also(member) for member in place.children("allOf")):
            return False
        if (members := place.children("anyOf")) and not any(also(member) for member in members):
            return False
        if (members := place.children("oneOf")) and sum(also(member) for member in members) != 1:
            return False
        if "not" in schema and also(place.child("not")):
            return False
        if "if" in schema:
            branch = "then" if also(place.child("if")) else "else"
            if branch in schema and not also(place.child(branch)):
                return False
        return True

    def may_hold(self, value: object, place: Place, depth: int = 0) -> bool:
        """Whether a value satisfies what a schema says itself, those left out that it combines."""
        for keyword in _UNEVALUATED:
            if place.get(keyword) not in (None, True):
                raise unenforceable(place.at(keyword), keyword, "values of an enum or a const are looked at here")
        if "const" in place.schema and json_text(place.schema["const"]) != json_text(value):
            return False
        if "enum" in place.schema and json_text(value) not in self._enum(place):
            return False
        kinds = stated_kinds([place])
        return (kinds is None or bool(_kinds_of(value) & kinds)) and self._suits(value, place, depth)

    def _enum(self, place: Place) -> frozenset[str]:
        if place not in self._enums:
            self._enums[place] = frozenset(map(json_text, enum_of(place)))
        return self._enums[place]

    def _suits(self, value: object, place: Place, depth: int) -> bool:
        match value:
            case bool() | None:
                return True
            case str():
                return self._is_text(value, place)
            case int() | float():
                number = Decimal(str(value))
                step = multiple_of(place)
                return all(bound.admits(number) for bound in number_bounds(place)) and (
                    step is None or _is_multiple(number, step)
                )
            case list():
                return self._is_array(cast("list[Any]", value), place, depth)
            case _:
                return self._is_object(cast("Mapping[str, Any]", value), place, depth)

    def _is_text(self, value: str, place: Place) -> bool:
        pattern = pattern_of(place)
        return _is_within(len(value), place, "minLength", "maxLength") and (
            pattern is None or self._patterns.matching(pattern, place.at("pattern")).accepts(value)
        )

    def _is_array(self, value: Sequence[Any], place: Place, depth: int) -> bool:
        first, rest = tuple_items(place)
        if not _is_within(len(value), place, "minItems", "maxItems"):
            return False
        if place.get("uniqueItems") is True and len(set(map(json_text, value))) < len(value):
            return False
        if not all(self.holds(item, inner, depth + 1) for item, inner in zip(value, first, strict=False)):
            return False
        if rest is not None and not all(self.holds(item, rest, depth + 1) for item in value[len(first) :]):
            return False
        if "contains" not in place.schema:
            return True
        found = sum(self.holds(item, place.child("contains"), depth + 1) for item in value)
        least, most = place.count("minContains"), place.count("maxContains")
        return (1 if least is None else least) <= found and (most is None or found <= most)

    def _is_object(self, value: Mapping[str, Any], place: Place, depth: int) -> bool:
        if not _is_within(len(value), place, "minProperties", "maxProperties"):
            return False
        if not value.keys() >= set(required_names(place)):
            return False
        if any(name in value and not value.keys() >= set(names) for name, names in needed_names(place).items()):
            return False
        if not all(
            self.holds(value, inner, depth + 1) for name, inner in needed_schemas(place).items() if name in value
        ):
            return False
        if "propertyNames" in place.schema:
            names = place.child("propertyNames")
            if not all(self.holds(name, names, depth + 1) for name in value):
                return False
        return all(
            self.holds(inner, of_it, depth + 1)
            for name, inner in value.items()
            for of_it in property_schemas(place, name, self._patterns)
        )


def property_schemas(place: Place, name: str, patterns: Patterns) -> list[Place]:
    """What a schema says of the property of this name. Raises SchemaError."""
    found = [place.child("properties", name)] if name in place.named("properties") else []
    for pattern in place.named("patternProperties"):
        if patterns.matching(pattern, place.at("patternProperties")).accepts(name):
            found.append(place.child("patternProperties", pattern))
    if not found and "additionalProperties" in place.schema:
        found.append(place.child("additionalProperties"))
    return found


def _kinds_of(value: object) -> frozenset[str]:
    match value:
        case None:
            return frozenset({"null"})
        case bool():
            return frozenset({"boolean"})
        case str():
            return frozenset({"string"})
        case int() | float():
            return frozenset({"number", "integer"} if value == value // 1 else {"number"})
        case list():
            return frozenset({"array"})
        case _:
            return frozenset({"object"})


def _is_multiple(number: Decimal, step: Decimal) -> bool:
    (a, b), (c, d) = number.as_integer_ratio(), step.as_integer_ratio()
    return a * d % (b * c) == 0


def _is_within(count: int, place: Place, least: str, most: str) -> bool:
    low, high = place.count(least), place.count(most)
    return (low is None or low <= count) and (high is None or count <= high)
