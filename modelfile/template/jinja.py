"""Chat templates in Jinja, as GGUF files carry them, with the Hugging Face conventions and in a sandbox. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import jinja2
import jinja2.ext
from jinja2.sandbox import ImmutableSandboxedEnvironment

from .collate import ChatMessage
from .errors import TemplateError


def render_jinja(
    text: str,
    messages: Sequence[ChatMessage],
    *,
    bos: str = "",
    eos: str = "",
    now: Callable[[], datetime] | None = None,
) -> str:
    """The prompt that continues the conversation. Raises TemplateError."""
    clock = now or (lambda: datetime.now(UTC).astimezone())

    def strftime_now(form: str) -> str:
        return clock().strftime(form)

    try:
        return _compiled(text).render(
            messages=[{"role": message.role, "content": message.content} for message in messages],
            add_generation_prompt=True,
            bos_token=bos,
            eos_token=eos,
            tools=None,
            documents=None,
            strftime_now=strftime_now,
            raise_exception=_raise,
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
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[jinja2.ext.loopcontrols], autoescape=False
    )
    environment.filters["tojson"] = _to_json
    return environment.from_string(text)


def _to_json(value: Any, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _raise(message: str) -> None:
    raise TemplateError(f"chat template: {message}")
