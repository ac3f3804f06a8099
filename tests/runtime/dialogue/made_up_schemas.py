"""Any number of JSON Schemas that can be enforced and satisfied."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tests.runtime.dialogue.schema_matcher import Pick
from tests.runtime.dialogue.schemas import Schema

NAMES = ("name", "age", "tags", "is_ok", 'naïve "q"', "n")
PATTERNS = ("^[A-Z]{2}-\\d{2,4}$", "b+c", "^(ab|cd)*$", '^[^\\s"]{1,6}$', "^[a-z]+\\.(png|jpg)$", "")
FORMATS = ("date", "date-time", "time", "email", "uuid", "ipv4", "ipv6", "hostname", "uri", "duration", "made-up")


def made_up(pick: Pick, depth: int = 3) -> Schema:
    """A schema that can be enforced and satisfied."""
    node = {
        "type": "object",
        "properties": {
            "value": _string(pick, 0),
            "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
            "kids": {"type": "array", "items": {"$ref": "#/$defs/node"}, "maxItems": 3},
        },
        "required": pick([["value"], ["value", "next"], []]),
    }
    return {"$defs": {"node": node}} | _any(pick, depth)


def _any(pick: Pick, depth: int) -> Schema:
    leaves = [_string, _string, _integer, _number, _enum, _simple]
    inner = [_object, _object, _array, _array, _any_of, _one_of, _all_of, _recursive]
    kind: Callable[[Pick, int], Schema] = pick(leaves + inner if depth else leaves)
    return kind(pick, depth - 1)


def _bounded(pick: Pick, schema: Schema, low: str, high: str, values: Sequence[float]) -> Schema:
    first, second = sorted((pick(values), pick(values)))
    if pick([True, False]):
        schema[low] = first
    if pick([True, False]):
        schema[high] = second
    return schema


def _string(pick: Pick, _: int) -> Schema:
    schema: Schema = {"type": "string"}
    match pick(["plain", "lengths", "pattern", "format"]):
        case "lengths":
            return _bounded(pick, schema, "minLength", "maxLength", range(8))
        case "pattern":
            return schema | {"pattern": pick(PATTERNS)} | pick([{}, {"minLength": 2}, {"maxLength": 12}])
        case "format":
            return schema | {"format": pick(FORMATS)}
        case _:
            return schema


def _integer(pick: Pick, _: int) -> Schema:
    if pick([True, False, False]):
        return {"type": "integer", "multipleOf": pick([1, 7, 10])}
    return _bounded(pick, {"type": "integer"}, "minimum", "maximum", (-1000, -7, 0, 3, 42, 999, 10**12))


def _number(pick: Pick, _: int) -> Schema:
    return _bounded(pick, {"type": "number"}, "minimum", "maximum", (-273.15, -1, 0, 0.1, 0.5, 2, 1e6)) | pick(
        [{}, {"exclusiveMinimum": -300}]
    )


def _enum(pick: Pick, _: int) -> Schema:
    return pick(
        [
            {"enum": ["red", "green", "blue"]},
            {"enum": [1, "1", None, 2.5]},
            {"const": "só"},
            {"const": {"a": [1, True]}},
            {"enum": [True]},
        ]
    )


def _simple(pick: Pick, _: int) -> Schema:
    return pick(
        [
            {"type": "boolean"},
            {"type": "null"},
            {"type": ["integer", "null"]},
            {},
            {"type": "object"},
            {"type": "array"},
        ]
    )


def _object(pick: Pick, depth: int) -> Schema:
    names = [name for name in NAMES if pick([True, False])]
    schema: Schema = {"type": "object", "properties": {name: _any(pick, depth) for name in names}}
    schema["required"] = [name for name in names if pick([True, False])]
    more = pick([None, None, False, True, {"type": "integer"}, {"type": "string", "maxLength": 3}])
    if more is not None:
        schema["additionalProperties"] = more
    if names and pick([True, False, False]):
        schema["maxProperties"] = max(len(schema["required"]), 2)
        schema["minProperties"] = min(len(names), 2)
    if len(names) > 1 and pick([True, False, False]):
        schema["dependentRequired"] = {names[0]: [names[1]]}
        schema.pop("maxProperties", None)
    return schema


def _array(pick: Pick, depth: int) -> Schema:
    if pick([True, False, False]):
        return {"type": "array", "items": {"enum": ["a", "b", "c", 1]}, "uniqueItems": True, "minItems": pick(range(4))}
    schema = _bounded(pick, {"type": "array", "items": _any(pick, depth)}, "minItems", "maxItems", range(4))
    return schema | ({"prefixItems": [_any(pick, depth)]} if pick([True, False, False]) else {})


def _any_of(pick: Pick, depth: int) -> Schema:
    return {"anyOf": [_any(pick, depth) for _ in range(pick([1, 2, 3]))]}


def _one_of(pick: Pick, depth: int) -> Schema:
    kinds = ["circle", "square", "line"][: pick([1, 2, 3])]
    members = [
        {"properties": {"of": _any(pick, depth), "kind": {"const": kind}}, "required": ["kind"]} for kind in kinds
    ]
    return {"oneOf": [{"type": "object"} | member for member in members]}


def _all_of(pick: Pick, depth: int) -> Schema:
    first = {"type": "object", "properties": {"id": {"type": "integer"}}, "required": ["id"]}
    return {"allOf": [first, {"properties": {"of": _any(pick, depth), "id": {"minimum": 5}}}]}


def _recursive(_: Pick, __: int) -> Schema:
    return {"$ref": "#/$defs/node"}
