"""Chat templates in Jinja, as GGUF files carry them, with the Hugging Face conventions and in a sandbox. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import cache, lru_cache
from typing import Any

import jinja2

from .conversation import ChatMessage
from .errors import TemplateError
from .sandbox import Sandbox


def render_jinja(
    text: str,
    messages: Sequence[ChatMessage],
    *,
    bos: str = "",
    eos: str = "",
    now: Callable[[], datetime] | None = None,
) -> str:
    """The prompt that continues the conversation. Raises TemplateError.

    What a template may do is bounded: see sandbox.py.
    """
    clock = now or (lambda: datetime.now(UTC).astimezone())

    def strftime_now(form: str) -> str:
        return clock().strftime(form)

    try:
        return _sandbox().run(
            _compiled(text),
            {
                "messages": [{"role": message.role, "content": message.content} for message in messages],
                "add_generation_prompt": True,
                "bos_token": bos,
                "eos_token": eos,
                "tools": None,
                "documents": None,
                "strftime_now": strftime_now,
                "raise_exception": _raise,
            },
        )
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


def _to_json(value: Any, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _raise(message: str) -> None:
    raise TemplateError(f"chat template: {message}")
