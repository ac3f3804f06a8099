"""Go's view of the values a template meets: truth, printing, comparison, JSON. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import ClassVar, TypeAlias

from ...store import gojson

Value: TypeAlias = "bool | int | float | str | Sequence[Value] | Mapping[str, Value] | None"


class Struct(dict[str, Value]):
    """A Go struct: its fields are fixed, so naming another one is an error rather than `<no value>`."""


class Json(dict[str, Value]):
    """A Go map that prints itself as JSON (a call's arguments, a tool's properties)."""


class Tagged(Struct):
    """A Go struct that prints itself as JSON: by the names in `tags`, without the empty ones in `optional`."""

    tags: ClassVar[Mapping[str, str]] = {}
    optional: ClassVar[frozenset[str]] = frozenset()


class Listed(list[Value]):
    """A Go list that prints itself as JSON (the tools)."""


class Kinds(list[Value]):
    """The types a property may have: one prints as itself, several as a list."""


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
            return _number(value)
        case Json() | Tagged() | Listed():
            return json(value)
        case Kinds() if len(value) < 2:
            return "".join(map(show, value))
        case Struct():
            return "{" + " ".join(_inner(item) for item in value.values()) + "}"
        case Mapping():
            return "map[" + " ".join(f"{key}:{_inner(item)}" for key, item in sorted(value.items())) + "]"
        case _:
            return "[" + " ".join(_inner(item) for item in value) + "]"


def json(value: Value) -> str:
    """What the `json` function gives: compact, keys of maps sorted, `<` `>` `&` escaped."""
    if isinstance(value, Tagged):
        kept = [(tag, value[name]) for name, tag in value.tags.items() if value[name] or name not in value.optional]
        return "{" + ",".join(f"{gojson.quote(tag)}:{json(item)}" for tag, item in kept) + "}"
    if isinstance(value, Kinds) and len(value) == 1:
        return json(value[0])
    if isinstance(value, Struct):
        return "{" + ",".join(f"{gojson.quote(key)}:{json(item)}" for key, item in value.items()) + "}"
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{gojson.quote(key)}:{json(item)}" for key, item in sorted(value.items())) + "}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ",".join(json(item) for item in value) + "]"
    return gojson.encode(value).decode().rstrip("\n")


def _inner(value: Value) -> str:
    return "<nil>" if value is None else show(value)


def _number(value: float) -> str:
    """Go's %v: the shortest digits that mean this number, with an exponent below 1e-4 and from a million on."""
    text = repr(value)
    if not math.isfinite(value):
        return {"inf": "+Inf", "-inf": "-Inf", "nan": "NaN"}[text]
    sign, digits, exponent = Decimal(text).as_tuple()
    assert isinstance(exponent, int)
    written = "".join(map(str, digits)).rstrip("0") or "0"
    power = len(digits) + exponent - 1 if written != "0" else 0
    if -4 <= power < 6:
        plain = format(Decimal(text), "f")
        return plain.rstrip("0").rstrip(".") if "." in plain else plain
    mantissa = written[0] + ("." + written[1:] if len(written) > 1 else "")
    return f"{'-' * sign}{mantissa}e{'-' if power < 0 else '+'}{abs(power):02d}"
