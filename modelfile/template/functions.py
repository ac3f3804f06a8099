"""The functions templates may call: Go's own and Ollama's. Pure; the date comes from the caller's clock."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from typing import TypeAlias
from urllib.parse import quote_plus

from ...store import gojson
from . import values
from .errors import TemplateError
from .values import Value

Function: TypeAlias = Callable[..., Value]


def functions(today: Callable[[], date]) -> dict[str, Function]:
    """All functions but `and` and `or`, which evaluate their arguments one by one and live in the compiler."""
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
        "html": lambda *items: _print(*items).translate(_HTML),
        "js": lambda *items: _JS.sub(_js, _print(*items)),
        "urlquery": lambda *items: quote_plus(_print(*items), safe="~"),
        "json": values.json,
        "toTypeScriptType": _to_typescript,
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
    if isinstance(a, int | float) and isinstance(b, int | float) and _sort(a) == _sort(b) != "bool":
        return a < b
    raise TemplateError("incompatible types for comparison")


def _sort(value: Value) -> str:
    """Go's kinds of basic values; numbers of JSON are float64, most of those in a template's text int."""
    if isinstance(value, bool | int | float | str):
        return type(value).__name__
    raise TemplateError("non-comparable type")


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


_HTML = str.maketrans({"\0": "\ufffd", '"': "&#34;", "'": "&#39;", "&": "&amp;", "<": "&lt;", ">": "&gt;"})
_JS = re.compile(r"""[\x00-\x1f\\'"<>&=]""")


def _js(found: re.Match[str]) -> str:
    return "\\" + found[0] if found[0] in "\\'\"" else f"\\u{ord(found[0]):04X}"


_TYPESCRIPT = {
    "string": "string",
    "number": "number",
    "integer": "number",
    "boolean": "boolean",
    "null": "null",
    "array": "any[]",
    "object": "Record<string, any>",
}


def _to_typescript(value: Value) -> str:
    """The TypeScript type of a tool's property."""
    given = value.get("Type", value.get("type")) if isinstance(value, Mapping) else None
    kinds = given if isinstance(given, Sequence) and not isinstance(given, str) else [given] if given else []
    return " | ".join(_TYPESCRIPT.get(str(kind), "any") for kind in kinds) or "any"


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
            return f"{item:.{6 if precision is None else int(precision or 0)}f}"
        case ("x", int()):
            return f"{item:x}"
        case _:
            return f"%!{verb}({values.show(item)})"
