"""What the HTTP dialects read from request bodies: typed, bounded, and as forgiving as Ollama's decoder."""

from __future__ import annotations

import json
import re
from typing import Annotated, Any, TypeVar, cast

import msgspec

from ...modelfile.template.conversation import Think
from ...store.errors import InputError
from ..request import read_think
from ..schedule.duration import parse_duration
from .messages import WireMessage

MAX_BODY = 128 << 20
_COSTLY = b",:[{\\"
"""What each value of a JSON body, each field, and each escape needs at least one of."""
_MOST_COSTLY = 1_000_000
"""More would take seconds in which nobody else is served, and gigabytes."""


class Loading(msgspec.Struct, kw_only=True):
    """How a model is loaded and run, which requests of every dialect may say in Ollama's words."""

    options: dict[str, Any] | None = None
    """Such as num_ctx; where a dialect has a word of its own, that wins."""
    keep_alive: float | str | None = None

    @property
    def lasting(self) -> float | None:
        """Seconds that the model is to stay loaded. Raises InputError."""
        return None if self.keep_alive is None else parse_duration(self.keep_alive)


class ModelRequest(Loading, kw_only=True):
    """What every request of Ollama's API may say."""

    model: str | None = None
    name: str | None = None
    """The older spelling of `model`."""
    stream: bool | None = None
    format: Any = None
    think: Any = None
    tools: list[dict[str, Any]] | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    truncate: bool | None = None
    shift: bool | None = None
    debug_render_only: bool | None = msgspec.field(default=None, name="_debug_render_only")

    @property
    def wanted(self) -> str:
        """The model's name as typed, "" when absent."""
        return self.model or self.name or ""

    @property
    def thought(self) -> Think:
        """What is said of thinking. Raises InputError for a value that says nothing."""
        return read_think(self.think)


class GenerateRequest(ModelRequest, kw_only=True):
    """POST /api/generate."""

    prompt: str | None = None
    suffix: str | None = None
    system: str | None = None
    template: str | None = None
    context: list[Annotated[int, msgspec.Meta(ge=-(1 << 63), le=(1 << 63) - 1)]] | None = None
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


class CreateMessage(msgspec.Struct, kw_only=True):
    """A message that a model begins with."""

    role: str = ""
    content: str | None = None


class CreateRequest(msgspec.Struct, kw_only=True):
    """POST /api/create."""

    model: str | None = None
    name: str | None = None
    """The older spelling of `model`."""
    stream: bool | None = None
    base: str | None = msgspec.field(default=None, name="from")
    files: dict[str, str] | None = None
    """Digests of uploaded blobs by the names of the files that they were; so for the next two."""
    adapters: dict[str, str] | None = None
    draft_files: dict[str, str] | None = None
    modelfile: str | None = None
    """What clients sent before there were the other fields; not looked at beside `from` and `files`."""
    template: str | None = None
    system: str | None = None
    license: str | list[str] | None = None
    parameters: dict[str, Any] | None = None
    messages: list[CreateMessage] | None = None
    renderer: str | None = None
    parser: str | None = None
    requires: str | None = None
    quantize: str | None = None
    quantization: str | None = None
    """The older spelling of `quantize`."""
    draft_quantize: str | None = None
    remote_host: str | None = None
    info: dict[str, Any] | None = None


class TransferRequest(msgspec.Struct, kw_only=True):
    """POST /api/pull and /api/push."""

    model: str | None = None
    name: str | None = None
    """The older spelling of `model`."""
    insecure: bool | None = None
    stream: bool | None = None


_T = TypeVar("_T")


def decode(body: bytes, kind: type[_T]) -> _T:
    """Read a JSON body: field names in any case, unknown ones ignored, whatever follows the first value too.

    Raises InputError.
    """
    if not body.strip():
        raise InputError("missing request body")
    if len(body) - len(body.translate(None, _COSTLY)) > _MOST_COSTLY:
        raise InputError("the request body has too many values")
    try:
        text = body.decode("utf-8", "replace")
        if "\\ud" in text or "\\uD" in text:
            text = _SURROGATE.sub(lambda found: found[1] or "\\ufffd", text)
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
