"""Messages: what the HTTP dialects read of a conversation, in Ollama's shape or OpenAI's."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import msgspec

from ...modelfile.template.conversation import ChatMessage, ToolCall
from ...store.errors import InputError, shown

_IMAGE = re.compile(r"data:(image/(jpeg|jpg|png|webp))?;base64,")


class WireFunction(msgspec.Struct, kw_only=True):
    """What a tool call calls. The arguments are an object, or its JSON as a text."""

    index: int | None = None
    name: str | None = None
    arguments: dict[str, Any] | str | None = None


class WireToolCall(msgspec.Struct, kw_only=True):
    """A call of a tool, in Ollama's shape or OpenAI's."""

    id: str | None = None
    function: WireFunction = msgspec.field(default_factory=WireFunction)

    def to_call(self) -> ToolCall:
        """The call as the prompt sees it. A text that is no object, as some models wrote it, is the only argument."""
        name = self.function.name or ""
        given = self.function.arguments or {}
        arguments = _read(given) if isinstance(given, str) else given
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
    reasoning: str | None = None
    """OpenAI's spelling of `thinking`; the next is that of others."""
    reasoning_content: str | None = None

    def to_chat(self) -> ChatMessage:
        """The message as the prompt sees it. Raises InputError for parts that are neither text nor images."""
        text, images = self._parts()
        role = self.role.lower()
        return ChatMessage(
            "system" if role == "developer" else role,  # OpenAI's newer name for it
            text,
            self.thinking or self.reasoning or self.reasoning_content or "",
            tuple(call.to_call() for call in self.tool_calls or ()),
            self.tool_name or (self.name if role == "tool" else "") or "",
            self.tool_call_id or "",
            images + len(self.images or ()),
        )

    def _parts(self) -> tuple[str, int]:
        """The text, and the number of images."""
        if not isinstance(self.content, list):
            return self.content or "", 0
        texts: list[str] = []
        images = 0
        for part in self.content:
            text, kind = part.get("text"), part.get("type")
            if kind == "text" and isinstance(text, str):
                texts.append(text)
            elif kind == "image_url":
                _check_image(part.get("image_url"))
                images += 1
            else:
                raise InputError(f"a part of a message is of the type {shown(str(kind))}: text and image_url are taken")
        return "".join(texts), images


def conversation(messages: Sequence[WireMessage]) -> list[ChatMessage]:
    """The messages as the prompt sees them; a tool's answer that names only the call gets the tool's name.

    Raises InputError.
    """
    chat = [message.to_chat() for message in messages]
    names = {call.id: call.name for message in chat for call in message.tool_calls if call.id}
    return [
        # Some clients write the call's id into both fields.
        replace(message, tool_name=names.get(message.tool_name or message.tool_call_id, message.tool_name))
        if message.role == "tool"
        else message
        for message in chat
    ]


def tool_objects(tools: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The tools in the API's shape; some clients send bare functions."""
    return [
        {"type": "function", "function": tool} if "function" not in tool and "name" in tool else tool for tool in tools
    ]


def _read(arguments: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(arguments.encode("utf-8", "replace"), type=dict[str, Any] | None) or {}
    except (ValueError, RecursionError):
        return {"arguments": arguments}


def _check_image(image: object) -> None:
    url = cast("dict[str, object]", image).get("url") if isinstance(image, dict) else image
    if isinstance(url, str) and url.startswith(("http://", "https://")):
        raise InputError("image URLs are not currently supported, please use base64 encoded data instead")
    if not isinstance(url, str) or not _IMAGE.match(url):
        raise InputError("invalid image input")
