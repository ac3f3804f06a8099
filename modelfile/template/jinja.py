"""Chat templates in Jinja, as GGUF files carry them, with the Hugging Face conventions and in a sandbox. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache, lru_cache
from typing import Any

import jinja2

from .conversation import Conversation, Think
from .errors import TemplateError
from .sandbox import Budget, Sandbox

_ASKS_FOR_NONE = re.compile(r"""content['"\]]*\s+is\s+(?:not\s+)?none""")
"""A template that looks whether a message that calls tools has no content, rather than an empty one."""


def render_jinja(
    text: str,
    conversation: Conversation,
    *,
    bos: str = "",
    eos: str = "",
    now: Callable[[], datetime] | None = None,
    budget: Budget | None = None,
) -> str:
    """The prompt that continues the conversation. Raises TemplateError.

    What a template may do is bounded, by what is left of a budget where one is given: see sandbox.py.
    """
    budget = budget or Budget()
    clock = now or (lambda: datetime.now(UTC).astimezone())

    def strftime_now(form: str) -> str:
        return clock().strftime(form)

    variables: dict[str, Any] = {
        "tools": list(conversation.tools) or None,
        "documents": None,
        "add_generation_prompt": True,
        "bos_token": bos,
        "eos_token": eos,
        "strftime_now": strftime_now,
        "raise_exception": _raise,
        **_think_variables(conversation.think),
    }
    try:
        return _rendered(text, variables | {"messages": _messages(text, conversation)}, budget)
    except TemplateError:
        # Most templates want the arguments of past calls as an object, some as text; neither can do with the other.
        if not any(message.tool_calls for message in conversation.messages):
            raise
        return _rendered(text, variables | {"messages": _messages(text, conversation, is_text=True)}, budget)


def _messages(text: str, conversation: Conversation, *, is_text: bool = False) -> list[dict[str, Any]]:
    messages = [message.dict(is_text=is_text) for message in conversation.messages]
    if _ASKS_FOR_NONE.search(text):
        for message in messages:
            if "tool_calls" in message and not message["content"]:
                message["content"] = None
    return messages


def _rendered(text: str, variables: dict[str, Any], budget: Budget) -> str:
    try:
        return _sandbox().run(_compiled(text), variables, budget)
    except TemplateError:
        raise
    except jinja2.TemplateSyntaxError as cause:
        raise TemplateError(f"chat template: {cause.message}", line=cause.lineno) from None
    # A template is somebody else's program: whatever it raises is its failure, not ours.
    except Exception as cause:
        raise TemplateError(f"chat template: {cause}") from cause


@lru_cache(maxsize=32)
def _compiled(text: str) -> jinja2.Template:
    return _sandbox().compiled(text)


@cache
def _sandbox() -> Sandbox:
    return Sandbox({"tojson": _to_json})


def _think_variables(think: Think) -> dict[str, Any]:
    """What the model families call it; nothing when it is not said, which leaves it to the template."""
    if think is None:
        return {}
    effort = {"reasoning_effort": think} if isinstance(think, str) else {}
    return {"enable_thinking": bool(think), "thinking": bool(think), **effort}


def _to_json(
    value: Any,
    ensure_ascii: bool = False,  # noqa: FBT001, FBT002 - as Hugging Face declares it
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,  # noqa: FBT001, FBT002
) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise(message: str) -> None:
    raise TemplateError(f"chat template: {message}")
