"""Tool calls: from what a model has written to the name of a function and its arguments. Pure.

What small models do is understood as far as it is clear: line breaks inside a string; arguments that are an object in a
string; a call inside an object called "function"; no arguments for a function that needs none. Anything else is no call.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

from .scanner import MAX_DEPTH, NotACallError

_HALF = re.compile(r"\\u[dD][89a-fA-F]")
_INTEGERS = range(-(1 << 63), 1 << 64)
"""Those that every client can read; others are read as floating point, as all are in Ollama."""
_MAX_DIGITS = 20
_BESIDES = frozenset({"id", "type", "index", "tool_call_id"})
"""What a call without arguments may have besides its name."""
_MAX_CHOICES = 8
"""Choices within choices of a schema that are looked at."""


class Offer:
    """The tools that the model may call, in the API's shape or as bare functions."""

    def __init__(self, tools: Sequence[Mapping[str, Any]]) -> None:
        self._properties: dict[str, Mapping[str, Any]] = {}
        for tool in tools:
            function = _mapping(tool.get("function", tool))
            name = function.get("name")
            if name and isinstance(name, str):
                self._properties[name] = _mapping(_mapping(function.get("parameters")).get("properties"))
        self._longest_first = sorted(self._properties, key=len, reverse=True)

    def __bool__(self) -> bool:
        return bool(self._properties)

    def __contains__(self, name: str) -> bool:
        return name in self._properties

    def named_in(self, text: str) -> str:
        """The tool whose name stands in the text, the longest if several do, "" for none."""
        return next((name for name in self._longest_first if name in text), "")

    def value(self, tool: str, parameter: str, text: str) -> Any:
        """The value of a parameter that was written without quotes, by what its schema says; the text itself if in doubt."""
        kinds = _kinds(self._properties.get(tool, {}).get(parameter), _MAX_CHOICES)
        if not kinds - {"string"}:
            return text
        bare = text.strip()
        try:
            value = read_json(bare.lower() if "boolean" in kinds and bare.lower() in ("true", "false") else bare)
        except NotACallError:
            return text
        return value if _kinds_of(value) & (kinds - {"string"}) else text


def read_json(text: str) -> Any:
    """A value. Raises NotACallError for what is no JSON; NaN and Infinity are none, nor is a number beyond a float."""
    try:
        value = json.loads(text, strict=False, parse_constant=_refused, parse_int=whole_number, parse_float=real_number)
    except (ValueError, RecursionError):
        raise NotACallError from None
    _check_depth(value, MAX_DEPTH)
    return json.loads(whole_characters(json.dumps(value, ensure_ascii=False))) if _HALF.search(text) else value


def whole_number(text: str) -> int | float:
    """An integer. Raises NotACallError for one that nothing can hold."""
    if len(text) <= _MAX_DIGITS and (value := int(text)) in _INTEGERS:
        return value
    return real_number(text)


def real_number(text: str) -> float:
    """A number. Raises NotACallError for one that a float cannot hold."""
    value = float(text)
    if not math.isfinite(value):
        raise NotACallError
    return value


def whole_characters(text: str) -> str:
    """The text with surrogate pairs joined; half a pair is U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def written_call(text: str, offer: Offer, *, is_bare: bool) -> tuple[str, dict[str, Any]]:
    """The call that a JSON object describes. Raises NotACallError.

    A bare one, which nothing marks as a call, has to have arguments and the name of a tool that is offered.
    """
    value = read_json(text)
    inner = _mapping(value).get("function")
    call = _mapping(inner if isinstance(inner, Mapping) else value)
    name = next((call[key] for key in ("name", "tool_name", "function") if isinstance(call.get(key), str)), "")
    if is_bare and (name not in offer or _given(call) is None):
        raise NotACallError
    return name.strip(), _arguments(call)


def object_in(value: Mapping[str, Any]) -> Mapping[str, Any]:
    """The arguments that an object has, or is."""
    given = _given(value)
    return cast("Mapping[str, Any]", given) if isinstance(given, Mapping) else value


def read_object(text: str) -> dict[str, Any]:
    """An object. Raises NotACallError for any other value."""
    value = read_json(text)
    if not isinstance(value, dict):
        raise NotACallError
    return cast("dict[str, Any]", value)


def _given(call: Mapping[str, Any]) -> Any:
    """What a call says of its arguments, None for nothing."""
    return next((call[key] for key in ("arguments", "parameters") if call.get(key) is not None), None)


def _arguments(call: Mapping[str, Any]) -> dict[str, Any]:
    given = _given(call)
    if given is None and not call.keys() - _BESIDES - {"name", "tool_name", "function", "arguments", "parameters"}:
        return {}
    if isinstance(given, str):
        return read_object(given)
    if not isinstance(given, dict):
        raise NotACallError
    return cast("dict[str, Any]", given)


def _kinds(schema: Any, depth: int) -> set[str]:
    """The types that a schema allows, none when it does not say."""
    given = _mapping(schema)
    kinds = given.get("type")
    found = {str(kind) for kind in (_list(kinds) or [kinds]) if isinstance(kind, str)}
    if not found:
        found.update(*(_kinds_of(value) for value in _list(given.get("enum"))))
    if depth:
        found.update(*(_kinds(one, depth - 1) for key in ("anyOf", "oneOf") for one in _list(given.get(key))))
    return found


def _kinds_of(value: Any) -> set[str]:
    match value:
        case None:
            return {"null"}
        case bool():
            return {"boolean"}
        case int():
            return {"integer", "number"}
        case float():
            return {"number", "integer"} if value.is_integer() else {"number"}
        case str():
            return {"string"}
        case list():
            return {"array"}
        case _:
            return {"object"}


def _check_depth(value: Any, left: int) -> None:
    inner = _list(value) or [*_mapping(value).values()]
    if inner and not left:
        raise NotACallError
    for one in inner:
        _check_depth(one, left - 1)


def _mapping(value: Any) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Any]:
    return cast("list[Any]", value) if isinstance(value, list) else []


def _refused(_: str) -> None:
    raise NotACallError
