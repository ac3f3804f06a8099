"""The functions templates may call: Go's own and Ollama's. Pure; the date comes from the caller's clock."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from typing import TypeAlias

from ...store import gojson
from . import values
from .errors import TemplateError
from .values import Value

Function: TypeAlias = Callable[..., Value]


def functions(today: Callable[[], date]) -> dict[str, Function]:
    """All functions but `and` and `or`, which evaluate their arguments one by one and live in the evaluator."""
    return {
        "not": _not,
        "eq": _eq,
        "ne": _ne,
        "lt": _less,
        "le": _le,
        "gt": _gt,
        "ge": _ge,
        "len": _length,
        "index": _index,
        "slice": _slice,
        "print": _print,
        "println": lambda *items: " ".join(values.show(item) for item in items) + "\n",
        "printf": _printf,
        "json": values.json,
        "currentDate": lambda *_: today().isoformat(),
        "yesterdayDate": lambda *_: (today() - timedelta(days=1)).isoformat(),
    }


def _not(value: Value) -> bool:
    return not values.truth(value)


def _eq(first: Value, *others: Value) -> bool:
    """Whether the first is equal to any of the others."""
    return any(_equal(first, other) for other in others)


def _ne(a: Value, b: Value) -> bool:
    return not _equal(a, b)


def _le(a: Value, b: Value) -> bool:
    return _less(a, b) or _equal(a, b)


def _gt(a: Value, b: Value) -> bool:
    return not _le(a, b)


def _ge(a: Value, b: Value) -> bool:
    return not _less(a, b)


def _equal(a: Value, b: Value) -> bool:
    if a is None or b is None:
        return a is b
    if _sort(a) != _sort(b):
        raise TemplateError("incompatible types for comparison")
    return a == b


def _less(a: Value, b: Value) -> bool:
    if isinstance(a, str) and isinstance(b, str):
        return a < b
    if (
        isinstance(a, int | float)
        and isinstance(b, int | float)
        and not isinstance(a, bool)
        and not isinstance(b, bool)
    ):
        return a < b
    raise TemplateError("incompatible types for comparison")


def _sort(value: Value) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return "number"
    return "string" if isinstance(value, str) else type(value).__name__


def _length(value: Value) -> int:
    if isinstance(value, str):
        return len(value.encode())
    if isinstance(value, Sequence | Mapping):
        return len(value)
    raise TemplateError(f"len of {type(value).__name__}")


def _index(value: Value, *keys: Value) -> Value:
    for key in keys:
        if isinstance(value, Mapping) and isinstance(key, str):
            value = value.get(key)
        elif isinstance(value, Sequence) and isinstance(key, int):
            if not 0 <= key < len(value):
                raise TemplateError(f"error calling index: index out of range: {key}")
            value = value[key]
        else:
            raise TemplateError("error calling index: cannot index this value")
    return value


def _slice(value: Value, *bounds: int) -> Value:
    if not isinstance(value, Sequence) or len(bounds) > 2:
        raise TemplateError("error calling slice: cannot slice this value")
    start = bounds[0] if bounds else 0
    if isinstance(value, str):
        data = value.encode()
        end = bounds[1] if len(bounds) > 1 else len(data)
        if not 0 <= start <= end <= len(data):
            raise TemplateError(f"error calling slice: index out of range: {start}:{end}")
        return data[start:end].decode("utf-8", "replace")
    end = bounds[1] if len(bounds) > 1 else len(value)
    if not 0 <= start <= end <= len(value):
        raise TemplateError(f"error calling slice: index out of range: {start}:{end}")
    return value[start:end]


def _print(*items: Value) -> str:
    """Go's Sprint: a space between two operands when neither is a string."""
    text = ""
    for i, item in enumerate(items):
        if i and not isinstance(item, str) and not isinstance(items[i - 1], str):
            text += " "
        text += values.show(item)
    return text


_VERB = re.compile(r"%(?P<flags>[-+ 0#]*)(?P<width>\d{0,3})(?:\.(?P<precision>\d{0,3}))?(?P<verb>[a-zA-Z%])")


def _printf(form: str, *items: Value) -> str:
    rest = list(items)

    def one(found: re.Match[str]) -> str:
        verb = found["verb"]
        if verb == "%":
            return "%"
        if not rest:
            return f"%!{verb}(MISSING)"
        text = _verb(verb, rest.pop(0), found["precision"])
        width = int(found["width"] or 0)
        fill = "0" if "0" in found["flags"] and "-" not in found["flags"] else " "
        return text.ljust(width) if "-" in found["flags"] else text.rjust(width, fill)

    return _VERB.sub(one, form)


def _verb(verb: str, item: Value, precision: str | None) -> str:
    match verb, item:
        case ("v" | "s", _):
            return values.show(item) if precision is None else values.show(item)[: int(precision or 0)]
        case ("d", int()):
            return str(item)
        case ("q", str()):
            return gojson.quote(item)
        case ("t", bool()):
            return values.show(item)
        case ("f", int() | float()):
            return f"{item:.{precision or 6}f}"
        case ("x", int()):
            return f"{item:x}"
        case _:
            return f"%!{verb}({values.show(item)})"
