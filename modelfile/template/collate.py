"""Collate: a conversation to a prompt, through a Go template, by Ollama's rules (template/template.go, v0.33). Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from .conversation import ChatMessage, Conversation, Think, message_values, think_values, tool_values
from .values import Value


class Executable(Protocol):
    """A parsed template."""

    @property
    def is_legacy(self) -> bool:
        """Whether it renders one exchange at a time, from `.Prompt` and `.Response`, instead of `.Messages`."""
        ...

    def execute(self, data: Mapping[str, Value]) -> str:
        """The text for these values."""
        ...

    def execute_open(self, data: Mapping[str, Value]) -> str:
        """The text up to and with `.Response`: the open end the model continues."""
        ...


def render_chat(template: Executable, conversation: Conversation) -> str:
    """The prompt that continues the conversation. Raises TemplateError."""
    system, merged = _collate(conversation.messages)
    extra = think_values(conversation.think)
    if template.is_legacy:
        return _render_exchanges(template, merged, extra)
    data: dict[str, Value] = {
        "System": system,
        "Messages": message_values(merged),
        "Tools": tool_values(conversation.tools),
        "Response": "",
    }
    return template.execute(data | extra)


def render_infill(template: Executable, prompt: str, suffix: str, *, think: Think = None) -> str:
    """The prompt for what belongs between two texts. Raises TemplateError."""
    return template.execute({"Prompt": prompt, "Suffix": suffix, "Response": ""} | think_values(think))


def _render_exchanges(template: Executable, messages: Sequence[ChatMessage], extra: Mapping[str, Value]) -> str:
    text = ""
    system = prompt = response = ""

    def exchange() -> dict[str, Value]:
        return {"System": system, "Prompt": prompt, "Response": response, **extra}

    for message in messages:
        match message.role:
            case "system":
                if prompt or response:
                    text += template.execute(exchange())
                    prompt = response = ""
                system = message.content
            case "user":
                if response:
                    text += template.execute(exchange())
                    system = prompt = response = ""
                prompt = message.content
            case "assistant":
                response = message.content
            case _:
                continue
    return text + template.execute_open(exchange())


def _collate(messages: Sequence[ChatMessage]) -> tuple[str, list[ChatMessage]]:
    """All system texts joined, and the messages with neighbours of one role merged."""
    merged: list[ChatMessage] = []
    for message in messages:
        if merged and merged[-1].role == message.role != "tool":
            merged[-1] = replace(merged[-1], content=f"{merged[-1].content}\n\n{message.content}")
        else:
            merged.append(message)
    return "\n\n".join(message.content for message in messages if message.role == "system"), merged
