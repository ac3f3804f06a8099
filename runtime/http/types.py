"""What the HTTP dialects read from request bodies: typed, bounded, and as forgiving as Ollama's decoder."""

from __future__ import annotations

import json
import re
from typing import Any, TypeVar, cast

import msgspec

from ...modelfile.template.conversation import ChatMessage
from ...store.errors import InputError

MAX_BODY = 128 << 20


class WireMessage(msgspec.Struct, kw_only=True):
    """A chat message, in Ollama's shape or OpenAI's."""

    role: str = ""
    content: str | list[dict[str, Any]] | None = None
    thinking: str | None = None
    images: list[str] | None = None
    tool_calls: list[Any] | None = None

    def to_chat(self) -> ChatMessage:
        """The message as the prompt sees it. Raises InputError for parts other than text."""
        if self.images:
            raise InputError("images are not supported by this model")
        if self.tool_calls:
            raise InputError("tool_calls are not supported yet")
        if isinstance(self.content, list):
            parts = [part.get("text") if part.get("type") == "text" else None for part in self.content]
            if not all(isinstance(part, str) for part in parts):
                raise InputError("only text parts are supported in a message's content")
            return ChatMessage(self.role.lower(), "".join(cast("list[str]", parts)), self.thinking or "")
        return ChatMessage(self.role.lower(), self.content or "", self.thinking or "")


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
    tools: list[Any] | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    truncate: bool | None = None
    debug_render_only: bool | None = msgspec.field(default=None, name="_debug_render_only")

    @property
    def wanted(self) -> str:
        """The model's name as typed, "" when absent."""
        return self.model or self.name or ""


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
