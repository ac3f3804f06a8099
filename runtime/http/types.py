"""What the HTTP dialects read from request bodies: typed, bounded, and as forgiving as Ollama's decoder."""

from __future__ import annotations

import json
import re
from typing import Any, TypeVar, cast

import msgspec

from ...modelfile.template.conversation import ChatMessage, Think, ToolCall
from ...store.errors import InputError, shown
from ..request import read_think

MAX_BODY = 128 << 20


class WireFunction(msgspec.Struct, kw_only=True):
    """What a tool call calls. The arguments are an object, or in OpenAI's shape its JSON as a text."""

    index: int | None = None
    name: str | None = None
    arguments: dict[str, Any] | str | None = None


class WireToolCall(msgspec.Struct, kw_only=True):
    """A call of a tool, in Ollama's shape or OpenAI's."""

    id: str | None = None
    function: WireFunction = msgspec.field(default_factory=WireFunction)

    def to_call(self) -> ToolCall:
        """The call as the prompt sees it. Raises InputError for arguments that are not an object."""
        name = self.function.name or ""
        arguments = self.function.arguments or {}
        if isinstance(arguments, str):
            try:
                arguments = msgspec.json.decode(arguments.encode("utf-8", "replace"), type=dict[str, Any])
            except (ValueError, RecursionError):
                raise InputError(f"the arguments of a call of {shown(name)} are no JSON object") from None
        return ToolCall(name, arguments, self.id or "", self.function.index or 0)


class WireMessage(msgspec.Struct, kw_only=True):
    """A chat message, in Ollama's shape or OpenAI's."""

    role: str = ""
    content: str | list[dict[str, Any]] | None = None
    thinking: str | None = None
    images: list[str] | None = None
    tool_calls: list[WireToolCall] | None = None
    tool_name: str | None = None
    name: str | None = None
    """OpenAI's older spelling of `tool_name`."""
    tool_call_id: str | None = None

    def to_chat(self) -> ChatMessage:
        """The message as the prompt sees it. Raises InputError for parts other than text."""
        role = self.role.lower()
        return ChatMessage(
            role,
            self._text(),
            self.thinking or "",
            tuple(call.to_call() for call in self.tool_calls or ()),
            self.tool_name or (self.name if role == "tool" else "") or "",
            self.tool_call_id or "",
            len(self.images or ()),
        )

    def _text(self) -> str:
        if not isinstance(self.content, list):
            return self.content or ""
        parts = [part.get("text") if part.get("type") == "text" else None for part in self.content]
        if not all(isinstance(part, str) for part in parts):
            raise InputError("only text parts are supported in a message's content")
        return "".join(cast("list[str]", parts))


class ModelRequest(msgspec.Struct, kw_only=True):
    """What every request of Ollama's API may say."""

    model: str | None = None
    name: str | None = None
    """The older spelling of `model`."""
    options: dict[str, Any] | None = None
    keep_alive: float | str | None = None
    stream: bool | None = None
    format: Any = None
    think: Any = None
    tools: list[dict[str, Any]] | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    truncate: bool | None = None
    shift: bool | None = None
    debug_render_only: bool | None = msgspec.field(default=None, name="_debug_render_only")

    @property
    def wanted(self) -> str:
        """The model's name as typed, "" when absent."""
        return self.model or self.name or ""

    @property
    def thought(self) -> Think:
        """What is said of thinking. Raises InputError for a value that says nothing."""
        return read_think(self.think)


class GenerateRequest(ModelRequest, kw_only=True):
    """POST /api/generate."""

    prompt: str | None = None
    suffix: str | None = None
    system: str | None = None
    template: str | None = None
    context: list[int] | None = None
    raw: bool | None = None
    images: list[str] | None = None


class ChatRequest(ModelRequest, kw_only=True):
    """POST /api/chat."""

    messages: list[WireMessage] | None = None


class ShowRequest(ModelRequest, kw_only=True):
    """POST /api/show."""

    verbose: bool | None = None
    system: str | None = None


class CopyRequest(msgspec.Struct, kw_only=True):
    """POST /api/copy."""

    source: str = ""
    destination: str = ""


class StreamOptions(msgspec.Struct):
    """OpenAI's stream_options."""

    include_usage: bool | None = None


class OpenAIChatRequest(msgspec.Struct, kw_only=True):
    """POST /v1/chat/completions."""

    model: str | None = None
    messages: list[WireMessage] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    n: int | None = None
    tools: list[Any] | None = None
    response_format: dict[str, Any] | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    logit_bias: Any = None
    functions: Any = None
    function_call: Any = None
    modalities: Any = None
    prediction: Any = None
    reasoning_effort: Any = None


_T = TypeVar("_T")


def decode(body: bytes, kind: type[_T]) -> _T:
    """Read a JSON body: field names in any case, unknown ones ignored, whatever follows the first value too.

    Raises InputError.
    """
    if not body.strip():
        raise InputError("missing request body")
    try:
        text = _SURROGATE.sub(lambda found: found[1] or "\\ufffd", body.decode("utf-8", "replace"))
        value, _ = _DECODER.raw_decode(text.lstrip("\ufeff \t\r\n"))
        return msgspec.convert(_folded(value), kind)
    except RecursionError:
        raise InputError("the request body is nested too deeply") from None
    except (ValueError, msgspec.ValidationError) as cause:
        raise InputError(f"invalid request body: {cause}") from None


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")


def _whole_number(digits: str) -> int:
    if len(digits) > _MAX_DIGITS:
        raise ValueError(f"a number of {len(digits)} digits")
    return int(digits)


_MAX_DIGITS = 300
"""More would not even be a float."""
_DECODER = json.JSONDecoder(parse_int=_whole_number, parse_constant=_no_number)
_SURROGATE = re.compile(
    r"(\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\[^u])|\\u[dD][89a-fA-F][0-9a-fA-F]{2}"
)
"""Escapes of surrogates, those that make a pair and any other escape in the group: one alone is no character."""


def _folded(value: object) -> object:
    """Field names in lower case, at the top and in messages; what is inside options and schemas is data."""
    if not isinstance(value, dict):
        return value
    fields = {key.lower(): item for key, item in cast("dict[str, object]", value).items()}
    messages = fields.get("messages")
    if isinstance(messages, list):
        fields["messages"] = [_folded(message) for message in cast("list[object]", messages)]
    return fields
