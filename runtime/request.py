"""Requests and their answers: what every dialect asks for, and the events it gets. Values only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from ..modelfile.template.conversation import THINK_LEVELS, ChatMessage, Think
from ..store.errors import InputError, shown

_THINK_VALUES = '"high", "medium", "low", "max", true, or false'


def read_think(value: object) -> Think:
    """What is said of thinking. Raises InputError for a value that says nothing."""
    match value:
        case None | bool():
            return value
        case str() if value in THINK_LEVELS:
            return value
        case str():
            raise InputError(f"invalid think value: {shown(value)} (must be {_THINK_VALUES})")
        case _:
            raise InputError(f"think must be a boolean or string ({_THINK_VALUES})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Chat:
    """A conversation to continue."""

    messages: Sequence[ChatMessage]
    tools: Sequence[Mapping[str, Any]] = ()
    """In the API's shape."""
    think: Think = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """A prompt to continue; `system` and `template` replace the model's, `raw` uses no template at all."""

    prompt: str
    suffix: str = ""
    """What follows after the text that is asked for."""
    system: str = ""
    template: str = ""
    raw: bool = False
    images: int = 0
    """How many come with the prompt."""
    think: Think = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InferenceRequest:
    """What a dialect asks for."""

    model: str
    task: Chat | Completion
    options: Mapping[str, object] = field(default_factory=dict[str, object])
    keep_alive: float | None = None
    shift: bool = True
    """Whether generation goes on, with the oldest tokens forgotten, when the context is full."""
    client: str = ""
    """Who asks: clients take turns."""


@dataclass(frozen=True, slots=True)
class Text:
    """Some of the answer."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """The end of an answer. Times are in seconds."""

    reason: str
    total: float
    load: float
    prompt_tokens: int = 0
    prompt: float = 0.0
    tokens: int = 0
    generation: float = 0.0


Event: TypeAlias = Text | Done


class UnsupportedError(InputError):
    """The model, or this server, cannot do what is asked."""
