"""From a conversation to the prompt the model continues: TEMPLATE, else the GGUF's chat template, else a plain form. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from ...modelfile.template.collate import render_chat, render_infill
from ...modelfile.template.conversation import ChatMessage, Conversation
from ...modelfile.template.errors import TemplateError
from ...modelfile.template.jinja import render_jinja
from ...modelfile.template.parser import Template

MAX_PROMPT = 8 << 20
"""Characters of a prompt: splitting it into tokens holds up the model's other requests."""
_CHATML = "{{ range .Messages }}<|im_start|>{{ .Role }}\n{{ .Content }}<|im_end|>\n{{ end }}<|im_start|>assistant\n"
"""What llama.cpp falls back to for chats with a model that says nothing of a template."""
_PLAIN = "{{ .Prompt }}"
_THOUGHT = re.compile(r"\s*<think>(?:.*?</think>\s*|.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Templates:
    """What the prompt is made with: Go's template if there is one, else Jinja's, and the texts of its special tokens."""

    go: str = ""
    jinja: str = ""
    bos: str = ""
    eos: str = ""
    has_infill: bool = False
    """Whether the model has special tokens for a text with a gap, and no template says otherwise."""
    infill: tuple[str, str, str] | None = None
    """Those tokens: before the text, before what follows the gap, before what belongs into it."""

    @property
    def mentions_tokens(self) -> bool:
        """Whether what is rendered may depend on the model's special tokens."""
        return self.has_infill or (not self.go and ("bos_token" in self.jinja or "eos_token" in self.jinja))


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A prompt before it is known how much of the conversation the context can hold."""

    conversation: Conversation
    """At least one message; for a prompt that is no chat, the prompt is the last one."""
    templates: Templates = Templates()
    suffix: str = ""
    """With it, what is asked for is the text between the prompt and this; the template is Go's."""
    is_chat: bool = True
    is_raw: bool = False
    """The prompt as it is, without a template."""
    image_tokens: int = 0
    """What an image takes of the context."""

    def render(self, messages: Sequence[ChatMessage]) -> str:
        """The prompt from these messages of the conversation, without half surrogates. Raises TemplateError."""
        try:
            return self._rendered(messages).encode("utf-8", "replace").decode()
        # Tools and the arguments of calls are anything that JSON can say.
        except RecursionError:
            raise TemplateError("the conversation is nested too deeply") from None
        except OverflowError as cause:
            raise TemplateError(f"the conversation: {cause}") from None

    def _rendered(self, messages: Sequence[ChatMessage]) -> str:
        conversation = replace(self.conversation, messages=messages)
        prompt = self.conversation.messages[-1].content
        templates = self.templates
        if self.is_raw:
            return prompt
        if self.suffix and templates.has_infill:
            if not templates.infill:
                raise TemplateError("the model's tokens for a text with a gap are not in its vocabulary")
            before, after, middle = templates.infill
            return f"{before}{prompt}{after}{self.suffix}{middle}"
        if self.suffix:
            return render_infill(_template(templates.go), prompt, self.suffix, think=conversation.think)
        if templates.jinja and not templates.go:
            return render_jinja(templates.jinja, conversation, bos=templates.bos, eos=templates.eos)
        return render_chat(_template(templates.go or (_CHATML if self.is_chat else _PLAIN)), conversation)


def chat_messages(
    model_messages: Sequence[ChatMessage], model_system: str, messages: Sequence[ChatMessage]
) -> list[ChatMessage]:
    """The whole conversation: the model's MESSAGEs come before the request's, its SYSTEM first unless the request has one."""
    system = [ChatMessage("system", model_system)] if model_system and messages[0].role != "system" else []
    return [*system, *model_messages, *messages]


def generate_messages(
    model_messages: Sequence[ChatMessage], system: str, prompt: str, images: int = 0
) -> list[ChatMessage]:
    """A single prompt as a conversation."""
    first = [ChatMessage("system", system)] if system else []
    return [*first, *model_messages, ChatMessage("user", prompt, images=images)]


def without_thoughts(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    """The conversation without what the model thought aloud in its answers before the last question."""
    last = max((i for i, message in enumerate(messages) if message.role == "user"), default=0)
    return [
        replace(message, content=message.content[thought.end() :])
        if message.role == "assistant" and i < last and (thought := _THOUGHT.match(message.content))
        else message
        for i, message in enumerate(messages)
    ]


@lru_cache(maxsize=64)
def _template(text: str) -> Template:
    return Template(text)
