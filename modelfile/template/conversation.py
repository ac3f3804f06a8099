"""Conversation: messages and tools in the shape of Ollama's chat API, as the values a template sees. Pure.

For Go templates, names of types and fields, and their order, are those of Ollama (api/types.go, template/template.go, v0.33).
For Jinja they are those of Hugging Face's chat templates, which are OpenAI's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

from . import values
from .decode import Fields, octets, plain_object
from .errors import TemplateError
from .gotypes import Bytes, Map, Slice, Struct, Value
from .tools import Tools, read_tools

Think: TypeAlias = "bool | str | None"
THINK_LEVELS = ("low", "medium", "high", "max")


class Messages(Slice):
    """All messages."""

    go = "[]*template.templateMessage"


class Message(Struct):
    """A message."""

    go = "*template.templateMessage"


class Images(Slice):
    """The images of a message."""

    go = "[]api.ImageData"


class Image(Bytes):
    """An image."""

    go = "api.ImageData"


class Calls(Slice):
    """The calls of a message."""

    go = "[]template.templateToolCall"


class Call(Struct):
    """A call."""

    go = "template.templateToolCall"


class CalledFunction(Struct):
    """What is called."""

    go = "template.templateToolCallFunction"


class Arguments(Map):
    """What it is called with."""

    go = "template.templateArgs"
    methods: ClassVar = {"String": lambda self: "{}" if self.is_nil else values.json(self)}


_NO_IMAGES, _NO_CALLS = Images(), Calls()


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call of a tool that the model made."""

    name: str
    arguments: Mapping[str, Any] | None
    id: str = ""
    index: int = 0

    @classmethod
    def read(cls, call: Any) -> ToolCall:
        """From a call of the API. Raises TemplateError for what is none."""
        given = Fields(call, "a tool call")
        function = Fields(given.any("function"), "'function'")
        arguments = function.mapping("arguments")
        return cls(function.text("name"), arguments, given.text("id"), function.whole("index"))

    def struct(self) -> Struct:
        """The value that Go templates see."""
        given = self.arguments
        arguments = Arguments(None if given is None else plain_object(given))
        return Call(ID=self.id, Function=CalledFunction(Index=self.index, Name=self.name, Arguments=arguments))

    def dict(self, *, is_text: bool) -> dict[str, Any]:
        """The value that Jinja templates see; the arguments as an object, or as its JSON text."""
        given = self.arguments or {}
        arguments = json.dumps(given, ensure_ascii=False) if is_text else given
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
    image_data: Sequence[bytes | None] | None = None
    """What is in them, where that is known."""

    @classmethod
    def read(cls, message: Any) -> ChatMessage:
        """From a message of the API. Raises TemplateError for fields of the wrong type."""
        given = Fields(message, "a message")
        data = given.list("images", octets)
        return cls(
            "".join(char.lower()[0] for char in given.text("role")),  # of İ, whose lower case is two, Go keeps one
            given.text("content"),
            given.text("thinking"),
            tuple(given.list("tool_calls", ToolCall.read) or ()),
            given.text("tool_name"),
            given.text("tool_call_id"),
            len(data or ()),
            None if data is None else tuple(data),
        )

    def struct(self) -> Struct:
        """The value that Go templates see."""
        return Message(
            Role=self.role,
            Content=self.content,
            Thinking=self.thinking,
            Images=self._images() if self.images or self.image_data is not None else _NO_IMAGES,
            ToolCalls=Calls(call.struct() for call in self.tool_calls) if self.tool_calls else _NO_CALLS,
            ToolName=self.tool_name,
            ToolCallID=self.tool_call_id,
        )

    def _images(self) -> Images:
        return Images([Image(b"")] * self.images if self.image_data is None else map(Image, self.image_data))

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


def message_values(messages: Sequence[ChatMessage]) -> Messages:
    """The messages that Go templates see."""
    return Messages([message.struct() for message in messages] or None)


def tool_values(tools: Sequence[Mapping[str, Any]] | None) -> Tools:
    """The tools that Go templates see; the empty tuple says none. Raises TemplateError for what is no tool."""
    return read_tools(None if tools == () else tools)


def think_values(think: Think) -> dict[str, Value]:
    """Think, ThinkLevel and IsThinkSet, which Go templates see. Raises TemplateError for a level that does not exist."""
    if isinstance(think, str) and think not in THINK_LEVELS:
        raise TemplateError(f"invalid think value: {think!r} (must be {', '.join(THINK_LEVELS)}, true, or false)")
    return {
        "Think": bool(think),
        "ThinkLevel": think if isinstance(think, str) else "medium" if think else "",
        "IsThinkSet": think is not None,
    }
