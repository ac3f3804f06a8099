"""The functions templates may call: Go's own and Ollama's. Pure; the date comes from the caller's clock."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from typing import NoReturn, TypeAlias, TypeVar
from urllib.parse import quote_plus

from . import values
from .errors import TemplateError
from .gotypes import Byte, Bytes, Slice, Struct, Value, from_bytes, to_bytes, type_name
from .printf import printf
from .strconv import is_printable
from .tools import Property

Function: TypeAlias = Callable[..., Value]
_Items = TypeVar("_Items", bytes, Sequence[Value])


def functions(today: Callable[[], date]) -> dict[str, Function]:
    """All functions but `and` and `or`, which evaluate their arguments one by one and live in the compiler."""
    return {
        "not": _not,
        "eq": _eq,
        "ne": _ne,
        "lt": values.is_less,
        "le": _le,
        "gt": _gt,
        "ge": _ge,
        "len": _length,
        "index": _index,
        "slice": _slice,
        "call": _call,
        "print": values.sprint,
        "println": values.sprintln,
        "printf": _printf,
        "html": lambda *items: values.shown(*items).translate(_HTML),
        "js": lambda *items: _JS.sub(_js, values.shown(*items)),
        "urlquery": lambda *items: quote_plus(to_bytes(values.shown(*items)), safe="~"),
        "json": values.json,
        "toTypeScriptType": _to_typescript,
        "currentDate": lambda *items: _date(today(), *items),
        "yesterdayDate": lambda *items: _date(today() - timedelta(days=1), *items),
    }


def _not(value: Value) -> bool:
    return not values.truth(value)


def _eq(first: Value, *others: Value) -> bool:
    """Whether the first is equal to any of the others."""
    if not others:
        raise TemplateError("missing argument for comparison")
    return any(values.is_equal(first, other) for other in others)


def _ne(a: Value, b: Value) -> bool:
    return not values.is_equal(a, b)


def _le(a: Value, b: Value) -> bool:
    return values.is_less(a, b) or values.is_equal(a, b)


def _gt(a: Value, b: Value) -> bool:
    return not _le(a, b)


def _ge(a: Value, b: Value) -> bool:
    return not values.is_less(a, b)


def _length(value: Value) -> int:
    if isinstance(value, str):
        return len(value) if value.isascii() else len(to_bytes(value))
    if isinstance(value, Sequence | Mapping) and not isinstance(value, Struct):
        return len(value)
    raise TemplateError(f"len of type {type_name(value)}")


def _index(value: Value, *keys: Value) -> Value:
    if value is None:
        raise TemplateError("index of untyped nil")
    for key in keys:
        if isinstance(value, Mapping) and not isinstance(value, Struct):
            value = _entry(value, key)
        elif isinstance(value, str | bytes):
            data = to_bytes(value) if isinstance(value, str) else value
            value = Byte(data[_place(key, len(data) - 1)])
        elif isinstance(value, Sequence):
            value = value[_place(key, len(value) - 1)]
        else:
            raise TemplateError(f"can't index item of type {type_name(value)}")
    return value


def _entry(value: Mapping[str, Value], key: Value) -> Value:
    if not isinstance(key, str):
        raise TemplateError(f"value has type {type_name(key)}; should be string")
    try:
        return value[key]
    except KeyError:
        return None


def _place(index: Value, last: int) -> int:
    """An index from 0 to `last`."""
    if not isinstance(index, int) or isinstance(index, bool):
        raise TemplateError(f"cannot index slice/array with type {type_name(index)}")
    if not 0 <= index <= last:
        raise TemplateError(f"index out of range: {index}")
    return index


def _slice(value: Value, *bounds: Value) -> Value:
    if isinstance(value, str):
        return from_bytes(_part(to_bytes(value), bounds, 2))
    if isinstance(value, bytes):
        part = _part(value, bounds, 3)
        return type(value)(part) if isinstance(value, Bytes) and not value.is_nil else value
    if isinstance(value, Mapping) or not isinstance(value, Sequence):
        raise TemplateError(f"can't slice item of type {type_name(value)}")
    part = _part(value, bounds, 3)
    return type(value)(None if value.is_nil else part) if isinstance(value, Slice) else part


def _part(items: _Items, bounds: Sequence[Value], most: int) -> _Items:
    """What lies between the bounds; a third one would bound what the part could grow to."""
    places = [_place(bound, len(items)) for bound in bounds]
    if len(places) > most or places != sorted(places):
        raise TemplateError(f"invalid slice indexes: {places}")
    start, end, *_ = *places, *[0, len(items)][len(places) :], None
    return items[start:end]


def _call(*items: Value) -> NoReturn:
    """Calls a value that is a function, which no value here is."""
    raise TemplateError(f"non-function of type {type_name(items[0])}" if items else "wrong number of args for call")


def _printf(form: Value, *items: Value) -> str:
    if not isinstance(form, str):
        raise TemplateError(f"wrong type for value; expected string; got {type_name(form)}")
    return printf(form, *items)


def _date(day: date, *items: Value) -> str:
    """The day; what else is said does not matter, but texts it must be."""
    for item in items:
        if not isinstance(item, str):
            raise TemplateError(f"wrong type for value; expected string; got {type_name(item)}")
    return day.isoformat()


_HTML = str.maketrans({"\0": "\ufffd", '"': "&#34;", "'": "&#39;", "&": "&amp;", "<": "&lt;", ">": "&gt;"})
_JS = re.compile(r"""[\x80-\U0010ffff]+|[\x00-\x1f\\'"<>&=]""")


def _js(found: re.Match[str]) -> str:
    run = found[0]
    if run in "\\'\"":
        return "\\" + run
    return run if run > "~" and is_printable(run) else "".join(map(_js_char, run))


def _js_char(char: str) -> str:
    is_plain = "\udc80" <= char <= "\udcff" or (char > "~" and is_printable(char))
    return char if is_plain else f"\\u{ord(char):04X}"


def _to_typescript(value: Value) -> str:
    return value.typescript() if isinstance(value, Property) else "any"
