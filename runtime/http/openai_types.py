"""What OpenAI's dialect reads from request bodies, and what that asks for. What would change the answer and cannot be
honoured is refused; values that change nothing, and fields nobody knows, pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import msgspec

from ...modelfile.template.conversation import Think
from ...store.errors import InputError, shown
from ..dialogue.schema.answers import function_of
from ..request import Calls, Format, UnsupportedError
from .logprobs import MOST_LOGPROBS
from .messages import WireMessage
from .types import Loading

MOST_CHOICES = 128
_SAMPLING = (
    "temperature", "top_p", "top_k", "min_p", "seed", "frequency_penalty", "presence_penalty", "repeat_penalty", "stop",
)  # fmt: skip
_EFFORTS: Mapping[str, Think] = {
    "none": False, "minimal": "low", "low": "low", "medium": "medium", "high": "high",
    "max": "max", "xhigh": "max", "ultra": "max",
}  # fmt: skip
_MOST_BIAS = 100


class StreamOptions(msgspec.Struct):
    """stream_options."""

    include_usage: bool | None = None


class OpenAIRequest(Loading, kw_only=True):
    """What both kinds of completions may be asked for."""

    model: str | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    repeat_penalty: float | None = None
    n: int | None = None
    logit_bias: dict[str, float] | None = None
    truncate: bool | None = None

    @property
    def includes_usage(self) -> bool:
        """Whether the last chunk of a stream is to say how many tokens there were."""
        return bool(self.stream_options and self.stream_options.include_usage)

    @property
    def choices(self) -> int:
        """How many answers there are to be. Raises InputError."""
        if self.n is not None and not 1 <= self.n <= MOST_CHOICES:
            raise InputError(f"n must be between 1 and {MOST_CHOICES}")
        return self.n or 1

    def sampling(self, most: int | None) -> dict[str, object]:
        """The options: those of the model hold where nothing is said. `most` is how many tokens there may be."""
        named: dict[str, object] = {name: getattr(self, name) for name in _SAMPLING}
        named |= {"num_predict": most, "truncate": self.truncate}
        return (self.options or {}) | {name: value for name, value in named.items() if value is not None}

    @property
    def bias(self) -> dict[int, float]:
        """What is added to the logits of tokens. Raises InputError."""
        bias: dict[int, float] = {}
        for token, value in (self.logit_bias or {}).items():
            if not (token.isascii() and token.isdigit() and len(token) < 10 and abs(value) <= _MOST_BIAS):
                raise InputError("logit_bias must map token numbers to values from -100 to 100")
            bias[int(token)] = value
        return bias


class ChatCompletionRequest(OpenAIRequest, kw_only=True):
    """POST /v1/chat/completions."""

    messages: list[WireMessage] | None = None
    max_completion_tokens: int | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: Any = None
    parallel_tool_calls: bool | None = None
    response_format: dict[str, Any] | None = None
    reasoning_effort: Any = None
    reasoning: Any = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    functions: Any = None
    function_call: Any = None
    modalities: Any = None
    web_search_options: Any = None

    def check(self) -> None:
        """Raises UnsupportedError for what cannot be honoured."""
        if self.functions or self.web_search_options is not None:
            name = "functions" if self.functions else "web_search_options"
            raise UnsupportedError(f"{name} is not supported; use tools")
        for tool in self.tools or ():
            if (kind := tool.get("type", "function")) != "function":
                raise UnsupportedError(f"tools of the type {shown(str(kind))} are not supported: describe a function")
            function_of(tool)
        if self.function_call not in (None, "none", "auto"):
            raise UnsupportedError("function_call is not supported; use tool_choice")
        if self.modalities not in (None, ["text"]):
            raise UnsupportedError("modalities other than text are not supported")

    @property
    def format(self) -> Format:
        """What response_format says. Raises InputError."""
        wanted = self.response_format or {}
        match wanted.get("type"):
            case None | "text":
                return None
            case "json_object":
                return "json"
            case "json_schema":
                described = wanted.get("json_schema")
                schema = cast("dict[str, Any]", described).get("schema") if isinstance(described, dict) else None
                if not isinstance(schema, dict):
                    raise InputError("response_format of type json_schema needs json_schema.schema, an object")
                return cast("dict[str, Any]", schema)
            case other:
                raise InputError(f"invalid response_format type {shown(str(other))}: text, json_object or json_schema")

    @property
    def calls(self) -> tuple[Calls, str]:
        """What tool_choice says, and the tool that has to be called, "" for any. Raises InputError."""
        match self.tool_choice:
            case None | "auto":
                return "auto", ""
            case "none":
                return "none", ""
            case "required" if self.tools:
                return "required", ""
            case {"type": "function", "function": {"name": str(name)}} if name in self._tool_names():
                return "required", name
            case {"type": "function", "function": {"name": str(name)}}:
                raise InputError(f"tool_choice names {shown(name)}, which is not among the tools")
            case "required":
                raise InputError("tool_choice is required, and there are no tools")
            case _:
                raise InputError('invalid tool_choice: "none", "auto", "required", or a function by its name')

    def _tool_names(self) -> set[str]:
        return {function_of(tool)["name"] for tool in self.tools or ()}

    @property
    def think(self) -> Think:
        """What reasoning_effort says. Raises InputError."""
        effort = self.reasoning_effort
        if effort is None and isinstance(self.reasoning, dict):
            effort = cast("dict[str, object]", self.reasoning).get("effort")
        if effort is None:
            return None
        if not isinstance(effort, str) or effort not in _EFFORTS:
            raise InputError(f"invalid reasoning value: {shown(str(effort))} (must be one of {', '.join(_EFFORTS)})")
        return _EFFORTS[effort]

    @property
    def wanted_logprobs(self) -> int:
        """How many of the best tokens are wanted with each; -1 for none. Raises InputError."""
        top = self.top_logprobs or 0
        if not 0 <= top <= MOST_LOGPROBS:
            raise InputError(f"top_logprobs must be between 0 and {MOST_LOGPROBS}")
        return top if self.logprobs else -1


class CompletionRequest(OpenAIRequest, kw_only=True):
    """POST /v1/completions."""

    prompt: Any = None
    suffix: str | None = None
    logprobs: int | None = None
    echo: bool | None = None
    best_of: int | None = None

    @property
    def text(self) -> str:
        """The prompt. Raises InputError."""
        prompt = cast("list[object]", self.prompt) if isinstance(self.prompt, list) else [self.prompt]
        if len(prompt) != 1 or not isinstance(prompt[0], str):
            raise InputError("prompt must be one text; token numbers and several prompts are not taken")
        return prompt[0]

    def check(self) -> None:
        """Raises UnsupportedError for what cannot be honoured."""
        if self.best_of not in (None, 1, self.n):
            raise UnsupportedError("best_of is not supported; use n")
        if self.logprobs is not None and not 0 <= self.logprobs <= MOST_LOGPROBS:
            raise InputError(f"logprobs must be between 0 and {MOST_LOGPROBS}")
        if self.echo and self.logprobs is not None:
            raise UnsupportedError("logprobs of an echoed prompt are not supported; leave out echo")
