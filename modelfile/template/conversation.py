"""Conversation: messages and tools in the shape of Ollama's chat API, as the values a template sees. Pure.

For Go templates, field names and their order are those of Ollama's types (api/types.go, template/template.go, v0.33): what
prints itself as JSON there does so here. For Jinja they are those of Hugging Face's chat templates, which are OpenAI's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias, cast

from .errors import TemplateError
from .values import Json, Kinds, Listed, Struct, Tagged, Value

Think: TypeAlias = "bool | str | None"
THINK_LEVELS = ("low", "medium", "high", "max")


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call of a tool that the model made."""

    name: str
    arguments: Mapping[str, Any]
    id: str = ""
    index: int = 0

    @classmethod
    def read(cls, call: Any) -> ToolCall:
        """From a call of the API. Raises TemplateError for what is none."""
        given = _mapping(call, "a tool call")
        function = _object(given, "function")
        index = function.get("index") or 0
        arguments = _object(function, "arguments")
        return cls(_text(function, "name"), arguments, _text(given, "id"), index if isinstance(index, int) else 0)

    def struct(self) -> Struct:
        """The value that Go templates see."""
        arguments = Json({str(key): plain(value) for key, value in self.arguments.items()})
        return Struct(ID=self.id, Function=Struct(Index=self.index, Name=self.name, Arguments=arguments))

    def dict(self, *, is_text: bool) -> dict[str, Any]:
        """The value that Jinja templates see; the arguments as an object, or as its JSON text."""
        arguments = json.dumps(self.arguments, ensure_ascii=False) if is_text else self.arguments
        call = {"type": "function", "function": {"name": self.name, "arguments": arguments}}
        return {"id": self.id, **call} if self.id else call


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One message of a conversation, as the prompt sees it."""

    role: str
    content: str
    thinking: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_name: str = ""
    tool_call_id: str = ""
    images: int = 0
    """How many images come with it."""

    @classmethod
    def read(cls, message: Any) -> ChatMessage:
        """From a message of the API. Raises TemplateError for fields of the wrong type."""
        given = _mapping(message, "a message")
        texts = [_text(given, key) for key in ("role", "content", "thinking", "tool_name", "tool_call_id")]
        role, content, thinking, tool_name, tool_call_id = texts
        calls = tuple(map(ToolCall.read, _list(given, "tool_calls")))
        return cls(role.lower(), content, thinking, calls, tool_name, tool_call_id, len(_list(given, "images")))

    def struct(self) -> Struct:
        """The value that Go templates see."""
        return Struct(
            Role=self.role,
            Content=self.content,
            Thinking=self.thinking,
            Images=[""] * self.images,
            ToolCalls=[call.struct() for call in self.tool_calls],
            ToolName=self.tool_name,
            ToolCallID=self.tool_call_id,
        )

    def dict(self, *, is_text: bool = False) -> dict[str, Any]:
        """The value that Jinja templates see: fields that say nothing are not there. `is_text`: see ToolCall."""
        fields = {
            "role": self.role,
            "content": self.content,
            "reasoning_content": self.thinking,
            "thinking": self.thinking,
            "tool_calls": [call.dict(is_text=is_text) for call in self.tool_calls],
            "name": self.tool_name,
            "tool_call_id": self.tool_call_id,
        }
        return {name: value for name, value in fields.items() if value or name in ("role", "content")}


@dataclass(frozen=True, slots=True)
class Conversation:
    """All that a prompt is made of."""

    messages: Sequence[ChatMessage] = ()
    tools: Sequence[Mapping[str, Any]] = ()
    """In the API's shape."""
    think: Think = None


class ToolValue(Tagged):
    """A tool."""

    tags: ClassVar = {"Type": "type", "Items": "items", "Function": "function"}
    optional: ClassVar = frozenset({"Items"})


class FunctionValue(Tagged):
    """What a tool calls."""

    tags: ClassVar = {"Name": "name", "Description": "description", "Parameters": "parameters"}
    optional: ClassVar = frozenset({"Description"})


class ParametersValue(Tagged):
    """A function's parameters."""

    tags: ClassVar = {
        "Type": "type",
        "Defs": "$defs",
        "Items": "items",
        "Required": "required",
        "Properties": "properties",
    }
    optional: ClassVar = frozenset({"Defs", "Items", "Required"})


class PropertyValue(Tagged):
    """One parameter."""

    tags: ClassVar = {
        "AnyOf": "anyOf",
        "Type": "type",
        "Items": "items",
        "Description": "description",
        "Enum": "enum",
        "Properties": "properties",
        "Required": "required",
    }
    optional: ClassVar = frozenset(tags)


def tool_values(tools: Sequence[Mapping[str, Any]]) -> Listed:
    """The tools that Go templates see. Raises TemplateError for what is no tool."""
    return Listed(_tool(tool) for tool in tools)


def think_values(think: Think) -> dict[str, Value]:
    """Think, ThinkLevel and IsThinkSet, which Go templates see. Raises TemplateError for a level that does not exist."""
    if isinstance(think, str) and think not in THINK_LEVELS:
        raise TemplateError(f"invalid think value: {think!r} (must be {', '.join(THINK_LEVELS)}, true, or false)")
    return {
        "Think": bool(think),
        "ThinkLevel": think if isinstance(think, str) else "",
        "IsThinkSet": think is not None,
    }


def plain(value: Any) -> Value:
    """A value of JSON as Go decodes it: every number is a float64."""
    match value:
        case bool() | str() | None:
            return value
        case int():
            return float(value)
        case float():
            return value
        case list():
            return [plain(item) for item in cast("list[Any]", value)]
        case dict():
            return {str(key): plain(item) for key, item in cast("dict[Any, Any]", value).items()}
        case _:
            raise TemplateError(f"{type(value).__name__} is no value of JSON")


def _tool(tool: Any) -> ToolValue:
    given = _mapping(tool, "a tool")
    function = _object(given, "function")
    parameters = _object(function, "parameters")
    return ToolValue(
        Type=_text(given, "type"),
        Items=plain(given.get("items")),
        Function=FunctionValue(
            Name=_text(function, "name"),
            Description=_text(function, "description"),
            Parameters=ParametersValue(
                Type=_text(parameters, "type"),
                Defs=plain(parameters.get("$defs")),
                Items=plain(parameters.get("items")),
                Required=_list(parameters, "required"),
                Properties=_properties(parameters),
            ),
        ),
    )


def _properties(owner: Mapping[str, Any]) -> Json:
    return Json({str(name): _property(value) for name, value in _object(owner, "properties").items()})


def _property(value: Any) -> PropertyValue:
    given = _mapping(value, "a tool's property")
    kind = given.get("type")
    return PropertyValue(
        AnyOf=[_property(one) for one in _list(given, "anyOf")],
        Type=Kinds(cast("list[str]", kind) if isinstance(kind, list) else [str(kind)] if kind else []),
        Items=plain(given.get("items")),
        Description=_text(given, "description"),
        Enum=[plain(one) for one in _list(given, "enum")],
        Properties=_properties(given),
        Required=_list(given, "required"),
    )


def _mapping(value: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise TemplateError(f"{what} is an object")
    return cast("Mapping[str, Any]", value)


def _object(owner: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    return _mapping(owner.get(key) or {}, f"{key!r}")


def _text(owner: Mapping[str, Any], key: str) -> str:
    value = owner.get(key) or ""
    if not isinstance(value, str):
        raise TemplateError(f"{key!r} is a text")
    return value


def _list(owner: Mapping[str, Any], key: str) -> list[Any]:
    value: Any = owner.get(key) or []
    if not isinstance(value, list):
        raise TemplateError(f"{key!r} is a list")
    return cast("list[Any]", value)
