"""Go's view of the values a template meets: truth, printing, comparison, JSON. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from ...store import gojson

Value: TypeAlias = "bool | int | float | str | Sequence[Value] | Mapping[str, Value] | None"


class Struct(dict[str, Value]):
    """A Go struct: its fields are fixed, so naming another one is an error rather than `<no value>`."""


class Json(dict[str, Value]):
    """A Go value that prints itself as JSON (a tool, its parameters, a call's arguments)."""


def truth(value: Value) -> bool:
    """Go's truth: false, 0, nil and what is empty are false; a struct is always true."""
    return True if isinstance(value, Struct) else bool(value)


def show(value: Value) -> str:
    """What `{{ value }}` prints."""
    match value:
        case str():
            return value
        case None:
            return "<no value>"
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float():
            return gojson.number(value)
        case Json():
            return json(value)
        case Struct():
            return "{" + " ".join(_inner(item) for item in value.values()) + "}"
        case Mapping():
            return "map[" + " ".join(f"{key}:{_inner(item)}" for key, item in sorted(value.items())) + "]"
        case _:
            return "[" + " ".join(_inner(item) for item in value) + "]"


def json(value: Value) -> str:
    """What the `json` function gives: compact, keys of maps sorted, `<` `>` `&` escaped."""
    if isinstance(value, Struct):
        return "{" + ",".join(f"{gojson.quote(key)}:{json(item)}" for key, item in value.items()) + "}"
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{gojson.quote(key)}:{json(item)}" for key, item in sorted(value.items())) + "}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ",".join(json(item) for item in value) + "]"
    return gojson.encode(value).decode().rstrip("\n")


def _inner(value: Value) -> str:
    return "<nil>" if value is None else show(value)
