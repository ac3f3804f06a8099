"""Values as JSON: to compare them, and as what a grammar generates. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import isfinite
from typing import Any, cast

from .automaton import Net
from .grammar import BLANKS


def json_text(value: object) -> str:
    """A value as JSON, the same for values that JSON Schema calls equal."""
    return json.dumps(_plain(value), ensure_ascii=False, sort_keys=True)


def string_text(text: str) -> str:
    """A text as a string of JSON, without escapes where they are not needed."""
    return json.dumps(text, ensure_ascii=False)


def add_value(net: Net, source: int, value: Any) -> int:
    """Add a value to a net, with blanks where other values have them, too; where it ends. What is no JSON never ends."""
    match value:
        case list():
            return _add_row(net, source, "[]", [("", item) for item in cast("list[Any]", value)])
        case Mapping():
            pairs = cast("Mapping[str, Any]", value).items()
            return _add_row(net, source, "{}", [(f"{string_text(name)}:", inner) for name, inner in pairs])
        case float() if not isfinite(value):
            return net.state()
        case _:
            return net.text(source, string_text(value) if isinstance(value, str) else json.dumps(value))


def _add_row(net: Net, source: int, brackets: str, items: list[tuple[str, Any]]) -> int:
    state = net.call(net.text(source, brackets[0]), BLANKS)
    for number, (name, value) in enumerate(items):
        state = net.call(net.text(state, ","), BLANKS) if number else state
        state = net.call(net.text(state, name), BLANKS) if name else state
        state = add_value(net, state, value)
    return net.text(net.call(state, BLANKS) if items else state, brackets[1])


def _plain(value: object) -> object:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in cast("Mapping[str, Any]", value).items()}
    return [_plain(inner) for inner in cast("list[Any]", value)] if isinstance(value, list) else value
