"""Cases: the conversations through which two templates are compared. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .conversation import ChatMessage, Conversation, ToolCall

SYSTEM = "Answer like a pirate."
FIRST, REPLY, SECOND = "What is the capital of France?", "It is Paris.", "And of Spain?"
"""What the user asks, what the model says, and what the user asks then."""


@dataclass(frozen=True, slots=True)
class Case:
    """One conversation, with a name that fits behind "with"."""

    name: str
    conversation: Conversation
    is_edge: bool = False
    """Whether sound templates differ here: a difference is worth knowing, and no mistake."""


def _case(
    name: str, *turns: str, tools: Sequence[Mapping[str, Any]] = (), is_edge: bool = False, last: Sequence[Any] = ()
) -> Case:
    """`s text`, `u text`, `a text`: the turns."""
    roles = {"s": "system", "u": "user", "a": "assistant"}
    messages = [ChatMessage(roles[turn[0]], turn[2:]) for turn in turns]
    return Case(name, Conversation((*messages, *last), tools), is_edge)


_TOOL: Mapping[str, Any] = {
    "type": "function",
    "function": {
        "name": "population",
        "description": "How many people live in a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "description": "Its name."}},
            "required": ["city"],
        },
    },
}
_RESULT = (
    ChatMessage("assistant", "", tool_calls=(ToolCall("population", {"city": "Paris"}, "abcdefghi"),)),
    ChatMessage("tool", "2102650", tool_name="population", tool_call_id="abcdefghi"),
)

CASES = (
    _case("a system message", f"s {SYSTEM}", f"u {FIRST}"),
    _case("several turns", f"s {SYSTEM}", f"u {FIRST}", f"a {REPLY}", f"u {SECOND}"),
    _case("no system message", f"u {FIRST}"),
    _case("several turns and no system message", f"u {FIRST}", f"a {REPLY}", f"u {SECOND}"),
    _case("text that is not ASCII", f"s {SYSTEM}", "u Où est la «tour»? 東京 \N{ROCKET}"),
    _case("empty content", "s ", f"u {FIRST}", "a ", f"u {SECOND}", is_edge=True),
    _case("a reply that is begun", f"s {SYSTEM}", f"u {FIRST}", "a It is", is_edge=True),
    _case("tools", f"s {SYSTEM}", f"u {FIRST}", tools=(_TOOL,), is_edge=True),
    _case("a tool's result", f"u {FIRST}", tools=(_TOOL,), last=_RESULT, is_edge=True),
)
