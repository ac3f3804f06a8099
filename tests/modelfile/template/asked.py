"""A request whose values the tests look at, under short names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from corral.modelfile.template.parser import Template

MESSAGES = [
    {"role": "User", "content": "héy", "images": ["iVBO"]},
    {
        "role": "assistant",
        "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": {"b": [1, None, {"k": "v"}], "a": "<x>"}}}],
    },
    {"role": "tool", "content": "ok", "tool_name": "f"},
]
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "f",
            "parameters": {
                "type": "object",
                "$defs": {},
                "required": ["z"],
                "properties": {
                    "z": {"type": "object", "properties": {"y": {"type": "integer"}, "x": {}}},
                    "a": {"type": ["string", "null"], "description": "A"},
                    "o": {"anyOf": [{"type": "boolean"}, {"type": ["array", "null"]}]},
                    "i": {"type": "odd", "items": 0, "enum": [1, "e", None]},
                },
            },
        },
    },
    {"function": {"name": "g"}},
]
NAMES = (
    "{{ $m := index .Messages 0 }}{{ $image := index $m.Images 0 }}{{ $tool := index .Messages 2 }}"
    "{{ $c := index (index .Messages 1).ToolCalls 0 }}{{ $args := $c.Function.Arguments }}"
    "{{ $f := index .Tools 0 }}{{ $p := $f.Function.Parameters.Properties }}{{ $g := index .Tools 1 }}"
)


def rendered(
    text: str, messages: Sequence[Mapping[str, Any] | None] = MESSAGES, names: str = NAMES, **asked: Any
) -> str:
    """What a template prints of the request."""
    given: dict[str, Any] = {"messages": messages, "tools": TOOLS} | asked
    return Template(names + text, today=lambda: date(2024, 3, 1)).render(**given)
