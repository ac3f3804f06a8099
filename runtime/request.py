"""Requests and their answers: what every dialect asks for, and the events it gets. Values only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from ..modelfile.template.conversation import THINK_LEVELS, ChatMessage, Think
from ..store.errors import InputError, shown
from .dialogue.parts import Part
from .engine.protocol import TokenLogprobs

Format: TypeAlias = 'Literal["json"] | Mapping[str, Any] | None'
"""Any JSON object, or what a JSON Schema describes; None for any text."""
Calls: TypeAlias = Literal["auto", "none", "required"]

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
    calls: Calls = "auto"
    """Whether the model may call a tool, must not, or has to."""
    tool: str = ""
    """The one it has to call."""
    is_single: bool = False
    """Whether it may call no more than one."""


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
    context: Sequence[int] = ()
    """The tokens of what was said before."""
    think: Think = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InferenceRequest:
    """What a dialect asks for."""

    model: str
    task: Chat | Completion
    options: Mapping[str, object] = field(default_factory=dict[str, object])
    keep_alive: float | None = None
    format: Format = None
    """What the answer has to be."""
    logprobs: int = -1
    """With each token its log-probability and those of so many best ones; -1 for none."""
    logit_bias: Mapping[int, float] = field(default_factory=dict[int, float])
    shift: bool = True
    """Whether generation goes on, with the oldest tokens forgotten, when the context is full."""
    truncate: bool | None = None
    """Whether what is too long for the context is cut, else it is refused; None leaves it to the model and the server."""
    wants_tokens: bool = False
    """Whether Done is to hold the tokens of prompt and answer."""
    client: str = ""
    """Who asks: clients take turns."""
    number: int = 0
    """Which of several answers it is, from 0: each draws its own random numbers."""


@dataclass(frozen=True, slots=True)
class Cut:
    """What of a request did not get into the context."""

    messages: int = 0
    """The oldest of the conversation that were left out."""
    tokens: int = 0
    """Of the prompt that was left then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """The first event: how the answer is made."""

    num_ctx: int
    asked_ctx: int = 0
    """The context that was asked for, where it is more."""
    cut: Cut | None = None


@dataclass(frozen=True, slots=True)
class Said:
    """Some of the answer. The log-probabilities are of the tokens that it, or what came just before it, is made of."""

    part: Part
    logprobs: Sequence[TokenLogprobs] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """The end of an answer. Times are in seconds."""

    reason: str
    total: float
    load: float
    prompt_tokens: int = 0
    cached: int = 0
    """Prompt tokens that were evaluated for another request before."""
    prompt: float = 0.0
    tokens: int = 0
    generation: float = 0.0
    context: Sequence[int] = ()
    """The tokens of prompt and answer, where they are wanted."""
    stop: str | None = None
    """The stop text that ended it, if one did."""


Event: TypeAlias = Started | Said | Done


class UnsupportedError(InputError):
    """The model, or this server, cannot do what is asked."""
