"""From a conversation to the prompt the model continues: TEMPLATE, else the GGUF's chat template, else a plain form. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from ...modelfile.template.collate import render_chat
from ...modelfile.template.conversation import ChatMessage, Conversation
from ...modelfile.template.jinja import render_jinja
from ...modelfile.template.parser import Template

_CHATML = "{{ range .Messages }}<|im_start|>{{ .Role }}\n{{ .Content }}<|im_end|>\n{{ end }}<|im_start|>assistant\n"
"""What llama.cpp falls back to for chats with a model that says nothing of a template."""
_PLAIN = "{{ .Prompt }}"


@dataclass(frozen=True, slots=True)
class Templates:
    """What a model says about its prompt, and the texts of its special tokens."""

    go: str = ""
    jinja: str = ""
    bos: str = ""
    eos: str = ""


def chat_messages(
    model_messages: Sequence[ChatMessage], model_system: str, messages: Sequence[ChatMessage]
) -> list[ChatMessage]:
    """The whole conversation: the model's MESSAGEs come before the request's, its SYSTEM first unless the request has one."""
    system = [ChatMessage("system", model_system)] if model_system and messages[0].role != "system" else []
    return [*system, *model_messages, *messages]


def generate_messages(model_messages: Sequence[ChatMessage], system: str, prompt: str) -> list[ChatMessage]:
    """A single prompt as a conversation."""
    first = [ChatMessage("system", system)] if system else []
    return [*first, *model_messages, ChatMessage("user", prompt)]


def render_prompt(templates: Templates, messages: Sequence[ChatMessage], *, is_chat: bool) -> str:
    """The prompt, without the half surrogates that a template may write. Raises TemplateError."""
    return _rendered(templates, messages, is_chat=is_chat).encode("utf-8", "replace").decode()


def _rendered(templates: Templates, messages: Sequence[ChatMessage], *, is_chat: bool) -> str:
    if templates.go:
        return render_chat(_template(templates.go), Conversation(messages))
    if templates.jinja:
        return render_jinja(templates.jinja, Conversation(messages), bos=templates.bos, eos=templates.eos)
    return render_chat(_template(_CHATML if is_chat else _PLAIN), Conversation(messages))


@lru_cache(maxsize=64)
def _template(text: str) -> Template:
    return Template(text)
