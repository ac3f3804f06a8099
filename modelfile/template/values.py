"""Go's view of the values a template meets: truth, printing, comparison, JSON. Pure."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from ...store import gojson
from .errors import TemplateError
from .gotypes import Struct, Typed, Value, is_nil, joined, to_bytes, type_name
from .strconv import shortest
from .verbs import Printer

_INT = 1 << 63
NO_VALUE = "<no value>"


def truth(value: Value) -> bool:
    """Go's truth: false, 0, nil and what is empty are false; a struct is always true."""
    return not value.is_nil if isinstance(value, Struct) else bool(value)


def show(value: Value) -> str:
    """What `{{ value }}` prints."""
    match value:
        case str():
            return value
        case None:
            return NO_VALUE
        case bool():
            return "true" if value else "false"
        case int():
            return str(int(value))
        case float():
            return shortest(value)
        case _:
            return joined(Printer().target(value))


def sprint(*items: Value) -> str:
    """Go's Sprint: a space between two operands when neither is a string."""
    return _spaced(items, Printer().text)


def sprintln(*items: Value) -> str:
    """Go's Sprintln: all operands with spaces between them, and the end of the line."""
    return joined(" ".join(map(Printer().text, items)) + "\n")


def shown(*items: Value) -> str:
    """Sprint of what `{{ }}` would print for each."""
    return _spaced([NO_VALUE if item is None else item for item in items], Printer().target)


def member(value: Value, name: str) -> Value:
    """`.name` of a value: what its method gives, or its field. Raises TemplateError for one that does not exist."""
    if isinstance(value, Typed) and name in value.methods:
        return value.call(name)
    if isinstance(value, Mapping):
        try:
            return cast("Mapping[str, Value]", value)[name]
        except KeyError:
            pass
        if not isinstance(value, Struct):
            return None
    if value is None:
        raise TemplateError(f"nil pointer evaluating interface {{}}.{name}")
    raise TemplateError(f"can't evaluate field {name} in type {type_name(value)}")


def is_equal(a: Value, b: Value) -> bool:
    """Go's `==`, with nil equal to every nil. Raises TemplateError for what cannot be compared."""
    kind, other = _kind(a), _kind(b)
    if kind != other:
        if a is None or b is None:
            return is_nil(a) and is_nil(b)
        raise TemplateError(f"incompatible types for comparison: {type_name(a)} and {type_name(b)}")
    if kind in _BASIC:
        return a == b
    if is_nil(a) or is_nil(b):
        return is_nil(a) and is_nil(b)
    if kind != "pointer":
        raise TemplateError(f"non-comparable type {type_name(b)}")
    return a is b


def is_less(a: Value, b: Value) -> bool:
    """Go's `<`. Raises TemplateError for what has no order."""
    if isinstance(a, str) and isinstance(b, str):
        return to_bytes(a) < to_bytes(b)
    if isinstance(a, int | float) and isinstance(b, int | float) and _kind(a) == _kind(b) != "bool":
        return a < b
    raise TemplateError(f"incompatible types for comparison: {type_name(a)} and {type_name(b)}")


def json(value: Value) -> str:
    """What the `json` function gives: compact, keys of maps sorted, `<` `>` `&` escaped."""
    if isinstance(value, Typed) and not value.is_nil and "MarshalJSON" in value.methods:
        return cast("bytes", value.call("MarshalJSON")).decode()
    match value:
        case str():
            return gojson.quote(value)
        case bool():
            return "true" if value else "false"
        case int() if -_INT <= value < _INT:
            return str(int(value))
        case int() | float():
            return gojson.number(value)
        case _ if is_nil(value):
            return "null"
        case Struct():
            return _object({value.tags.get(name, name): item for name, item in value.items() if _is_said(value, name)})
        case Mapping():
            return _object(dict(sorted(value.items())))
        case bytes():
            return f'"{b64encode(value).decode()}"'
        case _:
            return "[" + ",".join(map(json, cast("Any", value))) + "]"


def _spaced(items: Sequence[Value], text: Callable[[Value], str]) -> str:
    parts: list[str] = []
    for i, item in enumerate(items):
        if i and not isinstance(item, str) and not isinstance(items[i - 1], str):
            parts.append(" ")
        parts.append(item if isinstance(item, str) else text(item))
    return joined("".join(parts))


def _object(items: Mapping[str, Value]) -> str:
    return "{" + ",".join(f"{gojson.quote(key)}:{json(item)}" for key, item in items.items()) + "}"


def _is_said(value: Struct, name: str) -> bool:
    """Whether a field is in JSON."""
    if name in value.optional:
        return truth(value[name])
    return name not in value.nullable or value[name] is not None


_BASIC = frozenset({"bool", "int", "float64", "string"})


def _kind(value: Value) -> str:
    """What Go compares only with its like. A byte is a number as any."""
    if value is None or isinstance(value, str | bool | int | float):
        return type_name(int(value) if isinstance(value, int) and not isinstance(value, bool) else value)
    if isinstance(value, Struct):
        return "pointer" if value.is_pointer else "struct"
    return "map" if isinstance(value, Mapping) else "slice"
