"""Collate: a conversation to a prompt, through a Go template, by Ollama's rules (template/template.go, v0.33). Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from .parser import Template
from .values import Json, Struct, Value


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One message of a conversation, as the prompt sees it."""

    role: str
    content: str
    thinking: str = ""
    tool_calls: tuple[Json, ...] = field(default=())


def render_chat(template: Template, messages: Sequence[ChatMessage], tools: Sequence[Json] = ()) -> str:
    """The prompt that continues the conversation. Raises TemplateError."""
    system, merged = _collate(messages)
    if not template.is_legacy:
        data: dict[str, Value] = {
            "System": system,
            "Messages": [_struct(message) for message in merged],
            "Tools": list(tools),
            "Response": "",
            "Think": False,
            "ThinkLevel": "",
            "IsThinkSet": False,
        }
        return template.render(data)
    return _render_exchanges(template, merged)


def _render_exchanges(template: Template, messages: Sequence[ChatMessage]) -> str:
    text = ""
    system = prompt = response = ""

    def exchange() -> dict[str, Value]:
        return {"System": system, "Prompt": prompt, "Response": response}

    for message in messages:
        match message.role:
            case "system":
                if prompt or response:
                    text += template.render(exchange())
                    prompt = response = ""
                system = message.content
            case "user":
                if response:
                    text += template.render(exchange())
                    system = prompt = response = ""
                prompt = message.content
            case "assistant":
                response = message.content
            case _:
                continue
    return text + template.render_open(exchange())


def _collate(messages: Sequence[ChatMessage]) -> tuple[str, list[ChatMessage]]:
    """All system texts joined, and the messages with neighbours of one role merged."""
    merged: list[ChatMessage] = []
    for message in messages:
        if merged and merged[-1].role == message.role != "tool":
            merged[-1] = replace(merged[-1], content=f"{merged[-1].content}\n\n{message.content}")
        else:
            merged.append(message)
    return "\n\n".join(message.content for message in messages if message.role == "system"), merged


def _struct(message: ChatMessage) -> Struct:
    return Struct(
        Role=message.role,
        Content=message.content,
        Thinking=message.thinking,
        Images=[],
        ToolCalls=list(message.tool_calls),
        ToolName="",
        ToolCallID="",
    )
