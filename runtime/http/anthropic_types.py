"""What Anthropic's dialect reads from request bodies, and what that asks for. What would change the answer and cannot be
honoured is refused; what changes nothing here (`metadata`, `cache_control`, `service_tier`, a thinking budget), and fields
nobody knows, pass.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from ...modelfile.template.conversation import ChatMessage, Think
from ...store.errors import InputError, shown
from ..request import Calls, Format, UnsupportedError
from .messages import WireFunction, WireMessage, WireToolCall, conversation
from .types import Loading

_ROLES = ("user", "assistant", "system")
_APART = ("tool_result", "tool_use", "thinking", "redacted_thinking")
"""Types of blocks that are no part of what is said; nobody here can read the last."""
_EFFORTS: Mapping[str, Think] = {"low": "low", "medium": "medium", "high": "high", "xhigh": "high", "max": "max"}
_BILLING = "x-anthropic-billing-header:"
"""Begins the first line of Claude Code's system prompt, which is another in each request: no two prompts would begin alike,
so that every one would be evaluated from its beginning.
"""


class ImageSource(msgspec.Struct, kw_only=True):
    """Where an image is."""

    type: str = ""
    data: str | None = None

    def encoded(self) -> str:
        """The image in base64. Raises InputError when it is not here."""
        if self.type == "url":
            raise InputError("image URLs are not currently supported, please use base64 encoded data instead")
        if self.type != "base64" or not self.data:
            raise InputError("invalid image source: type base64, with media_type and data, is taken")
        return self.data


class Block(msgspec.Struct, kw_only=True):
    """A part of a message, of any type; each has some of the fields."""

    type: str = ""
    text: str | None = None
    thinking: str | None = None
    source: ImageSource | None = None
    id: str | None = None
    name: str | None = None
    input: dict[str, Any] | None = None
    tool_use_id: str | None = None
    content: str | list[Block] | None = None
    is_error: bool | None = None

    def call(self, index: int) -> WireToolCall:
        """What a tool_use block calls. Raises InputError."""
        if not self.id or not self.name:
            raise InputError("a block of the type tool_use needs an id and a name")
        return WireToolCall(id=self.id, function=WireFunction(index=index, name=self.name, arguments=self.input or {}))

    def result(self) -> WireMessage:
        """What a tool_result block says. Raises InputError."""
        if not self.tool_use_id:
            raise InputError("a block of the type tool_result needs a tool_use_id")
        blocks = self.content if isinstance(self.content, list) else [Block(type="text", text=self.content or "")]
        text, images = _said(blocks, "\n")
        said = f"Error: {text}" if self.is_error else text  # templates know of no other way to say so
        return WireMessage(role="tool", content=said, images=images, tool_call_id=self.tool_use_id)


class Message(msgspec.Struct, kw_only=True):
    """A turn of the conversation."""

    role: str = ""
    content: str | list[Block] | None = None

    def to_wire(self) -> list[WireMessage]:
        """The results of tools, each as a message, then what is said besides, if anything. Raises InputError."""
        if self.role not in _ROLES:
            raise InputError(f"invalid role {shown(self.role)}: {', '.join(_ROLES)}")
        if not isinstance(self.content, list):
            return [WireMessage(role=self.role, content=self.content or "")]
        results = [block.result() for block in self._of_type("tool_result")]
        others = [block for block in self.content if block.type not in _APART]
        if results and not others:
            return results
        # An answer comes back in the pieces it was sent in; what others write in pieces are texts of their own.
        text, images = _said(others, "" if self.role == "assistant" else "\n")
        rest = WireMessage(
            role=self.role,
            content=text,
            images=images,
            thinking="".join(block.thinking or "" for block in self._of_type("thinking")),
            tool_calls=[block.call(index) for index, block in enumerate(self._of_type("tool_use"))],
        )
        return [*results, rest]

    def _of_type(self, kind: str) -> list[Block]:
        return [block for block in self.content or () if isinstance(block, Block) and block.type == kind]


class Tool(msgspec.Struct, kw_only=True):
    """A tool that the model may call."""

    type: str | None = None
    name: str | None = None
    description: str | None = None
    input_schema: dict[str, Any] | None = None

    def function(self) -> dict[str, Any]:
        """The tool in Ollama's shape. Raises UnsupportedError for those that only Anthropic's own models have."""
        if self.type not in (None, "custom"):
            raise UnsupportedError(
                f"a tool of the type {shown(self.type)} is not supported: describe one of your own by its input_schema"
            )
        if not self.name or self.input_schema is None:
            raise InputError("a tool needs a name and an input_schema")
        described = {"description": self.description} if self.description else {}
        return {"type": "function", "function": {"name": self.name, **described, "parameters": self.input_schema}}


class ToolChoice(msgspec.Struct, kw_only=True):
    """tool_choice."""

    type: str = ""
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class Thinking(msgspec.Struct, kw_only=True):
    """thinking."""

    type: str = ""


class OutputFormat(msgspec.Struct, kw_only=True):
    """What the answer has to be."""

    type: str = ""
    schema: dict[str, Any] | None = None


class OutputConfig(msgspec.Struct, kw_only=True):
    """output_config."""

    effort: str | None = None
    format: OutputFormat | None = None


class MessagesRequest(Loading, kw_only=True):
    """POST /v1/messages, and /v1/messages/count_tokens, which has less to say."""

    model: str | None = None
    messages: list[Message] | None = None
    system: str | list[Block] | None = None
    max_tokens: int | None = None
    stream: bool | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop_sequences: list[str] | None = None
    tools: list[Tool] | None = None
    tool_choice: ToolChoice | None = None
    thinking: Thinking | None = None
    output_config: OutputConfig | None = None
    output_format: OutputFormat | None = None
    """The older place of `output_config.format`."""
    mcp_servers: list[Any] | None = None
    truncate: bool | None = None

    def check(self) -> None:
        """Raises UnsupportedError for what cannot be honoured."""
        if self.mcp_servers:
            raise UnsupportedError("mcp_servers is not supported; use tools")

    @property
    def sampling(self) -> dict[str, object]:
        """The options: those of the model hold where nothing is said. Raises InputError without a limit of tokens."""
        if self.max_tokens is None or self.max_tokens <= 0:
            raise InputError("max_tokens is required and must be positive")
        named: dict[str, object] = {
            "num_predict": self.max_tokens,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "top_k": self.top_k,
            "stop": self.stop_sequences,
            "truncate": self.truncate,
        }
        return (self.options or {}) | {name: value for name, value in named.items() if value is not None}

    @property
    def conversation(self) -> list[ChatMessage]:
        """The messages as the prompt sees them, after the system prompt. Raises InputError."""
        if not self.messages:
            raise InputError("messages is required")
        system = self.system or ""
        if not isinstance(system, str):
            system, images = _said(system, "\n")
            if images:
                raise InputError("system has blocks of the type text only")
        if system.startswith(_BILLING):
            system = system.partition("\n")[2]
        first = [WireMessage(role="system", content=system)] if system else []
        return conversation([*first, *(wire for message in self.messages for wire in message.to_wire())])

    @property
    def functions(self) -> list[dict[str, Any]]:
        """The tools in Ollama's shape. Raises InputError."""
        return [tool.function() for tool in self.tools or ()]

    @property
    def calls(self) -> tuple[Calls, str]:
        """What tool_choice says, and the tool that has to be called, "" for any. Raises InputError."""
        choice = self.tool_choice or ToolChoice(type="auto")
        match choice.type:
            case "auto":
                return "auto", ""
            case "none":
                return "none", ""
            case "any" if self.tools:
                return "required", ""
            case "any":
                raise InputError("tool_choice is any, and there are no tools")
            case "tool" if choice.name and choice.name in {tool.name for tool in self.tools or ()}:
                return "required", choice.name
            case "tool":
                raise InputError(f"tool_choice names {shown(choice.name or '')}, which is not among the tools")
            case other:
                raise InputError(f"invalid tool_choice type {shown(other)}: auto, any, none or tool")

    @property
    def is_single(self) -> bool:
        """Whether no more than one tool may be called."""
        return bool(self.tool_choice and self.tool_choice.disable_parallel_tool_use)

    @property
    def think(self) -> Think:
        """What thinking and the effort say; None where that is left to the model. Raises InputError."""
        effort = self.output_config.effort if self.output_config else None
        if effort is not None and effort not in _EFFORTS:
            raise InputError(f"invalid effort {shown(effort)}: {', '.join(_EFFORTS)}")
        match self.thinking.type if self.thinking else None:
            case "disabled":
                return False
            case "enabled" | "adaptive":
                return _EFFORTS[effort] if effort else True
            case None:
                return _EFFORTS[effort] if effort else None
            case other:
                raise InputError(f"invalid thinking type {shown(other)}: enabled, adaptive or disabled")

    @property
    def format(self) -> Format:
        """What the answer has to be. Raises InputError."""
        wanted = (self.output_config.format if self.output_config else None) or self.output_format
        if wanted is None:
            return None
        if wanted.type != "json_schema" or wanted.schema is None:
            raise InputError("the format of the output is to be of the type json_schema, with a schema")
        return wanted.schema


def _said(blocks: Sequence[Block], between: str) -> tuple[str, list[str]]:
    """The text of the blocks, with `between` between them, and their images in base64. Raises InputError."""
    texts: list[str] = []
    images: list[str] = []
    for block in blocks:
        if block.type == "text" and block.text is not None:
            texts.append(block.text)
        elif block.type == "image" and block.source is not None:
            images.append(block.source.encoded())
        elif block.type in ("text", "image"):
            raise InputError(f"a block of the type {block.type} without one")
        else:
            raise UnsupportedError(f"blocks of the type {shown(block.type)} are not supported here")
    return between.join(texts), images
