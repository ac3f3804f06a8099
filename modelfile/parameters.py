"""The PARAMETER table: every name, its type, default and when it takes effect, as data; and how its text is read. Pure.

Names are those of Ollama's API options too (spec part 3.5, v0.33).
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, TypeAlias, cast

from ..store.errors import InputError
from .diagnostics import did_you_mean

Value: TypeAlias = "int | float | bool | str | list[str]"
Kind: TypeAlias = Literal["int", "float", "bool", "strings"]


@dataclass(frozen=True, slots=True)
class ParameterSpec:
    """One parameter."""

    name: str
    kind: Kind
    default: Value | None
    """The value at run time when nothing sets it; None: chosen by the machine or the model."""
    when: Literal["load", "request", "never"]
    """Whether a change needs the model loaded anew; a deprecated one has no effect ever."""
    meaning: str
    least: float = -math.inf
    most: float = math.inf
    special: tuple[int, ...] = ()
    """Values outside the range that mean something, as -1 often does."""
    source: str = "Ollama 0.33, api.Options"
    """Where name and type come from."""

    @property
    def is_deprecated(self) -> bool:
        """Whether it is accepted without effect."""
        return self.when == "never"

    @property
    def range_text(self) -> str:
        """The values that make sense, in words; "" when all of the type do."""
        bounds = [f"{bound:g}" for bound in (self.least, self.most) if math.isfinite(bound)]
        words = " to ".join(bounds) if len(bounds) == 2 else f"from {bounds[0]}" if bounds else ""
        return f"{words}, or {' or '.join(map(str, self.special))}" if self.special and words else words

    def allows(self, value: Value) -> bool:
        """Whether the value makes sense. Ollama checks no range, so this is advice."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return True
        return self.least <= value <= self.most or value in self.special


def _deprecated(name: str, kind: Kind) -> ParameterSpec:
    return ParameterSpec(name, kind, None, "never", "deprecated", source="Ollama 0.33, api.FormatParams")


_SPECS = (
    ParameterSpec("num_ctx", "int", None, "load", "context window in tokens", 4),
    ParameterSpec("num_batch", "int", None, "load", "prompt tokens evaluated at once", 1),
    ParameterSpec("num_gpu", "int", -1, "load", "layers on the GPU; -1 lets the machine decide", 0, special=(-1,)),
    ParameterSpec("main_gpu", "int", None, "load", "the GPU for small tensors", 0),
    ParameterSpec("use_mmap", "bool", None, "load", "map the weights instead of reading them"),
    ParameterSpec("num_thread", "int", 0, "load", "CPU threads; 0 lets the machine decide", 0, 4096),
    ParameterSpec("draft_num_predict", "int", 0, "load", "tokens drafted at once by the draft model", 0),
    ParameterSpec("num_keep", "int", 4, "request", "tokens kept from the start when the context is full", 0, special=(-1,)),
    ParameterSpec("seed", "int", -1, "request", "seed of the sampler; -1 is random"),
    ParameterSpec("num_predict", "int", -1, "request", "most tokens to generate; -1 is unlimited", 1, special=(-1, -2)),
    ParameterSpec("top_k", "int", 40, "request", "sample from the k likeliest tokens; 0 is all", 0),
    ParameterSpec("top_p", "float", 0.9, "request", "sample from the likeliest tokens of this total probability", 0, 1),
    ParameterSpec("min_p", "float", 0.0, "request", "drop tokens less likely than this share of the likeliest", 0, 1),
    ParameterSpec("typical_p", "float", 1.0, "request", "locally typical sampling; 1 is off", 0, 1),
    ParameterSpec("repeat_last_n", "int", 64, "request", "tokens penalties see; 0 is off, -1 is all", 0, special=(-1,)),
    ParameterSpec("temperature", "float", 0.8, "request", "0 always takes the likeliest token", 0, 5),
    ParameterSpec("repeat_penalty", "float", 1.0, "request", "penalty for repeated tokens; 1 is off", 0, 5),
    ParameterSpec("presence_penalty", "float", 0.0, "request", "penalty for tokens that occurred", -2, 2),
    ParameterSpec("frequency_penalty", "float", 0.0, "request", "penalty for each time a token occurred", -2, 2),
    ParameterSpec(
        "truncate", "bool", None, "request", "cut what is too long for the context; false refuses it", source="Corral"
    ),
    ParameterSpec("stop", "strings", None, "request", "text that ends the answer; may be given several times"),
    _deprecated("penalize_newline", "bool"),
    _deprecated("low_vram", "bool"),
    _deprecated("f16_kv", "bool"),
    _deprecated("logits_all", "bool"),
    _deprecated("vocab_only", "bool"),
    _deprecated("use_mlock", "bool"),
    _deprecated("mirostat", "int"),
    _deprecated("mirostat_tau", "float"),
    _deprecated("mirostat_eta", "float"),
)  # fmt: skip

PARAMETERS: Mapping[str, ParameterSpec] = MappingProxyType({spec.name: spec for spec in _SPECS})
"""The table. Checks of Modelfiles and of the API's options read it, and so does docs/parameters.md."""

_INT = re.compile(r"[+-]?[0-9]+")
_DIGITS = r"[0-9](?:_?[0-9])*"
_HEX = r"[0-9a-fA-F](?:_?[0-9a-fA-F])*"
_FLOAT = re.compile(rf"[+-]?(?:{_DIGITS}(?:\.(?:{_DIGITS})?)?|\.{_DIGITS})(?:[eE][+-]?{_DIGITS})?")
_HEX_FLOAT = re.compile(rf"[+-]?0[xX]_?(?:{_HEX}(?:\.(?:{_HEX})?)?|\.{_HEX})[pP][+-]?{_DIGITS}")
_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})
_WANTED: Mapping[Kind, str] = MappingProxyType(
    {"int": "a whole number of 64 bits", "float": "a number of 32 bits", "bool": "true or false", "strings": "text"}
)


class ParameterError(InputError):
    """A parameter that does not exist or a value that is not of its type."""

    def __init__(self, message: str, *, hint: str | None = None, about: Literal["name", "value"]) -> None:
        super().__init__(message, hint=hint)
        self.about = about


def read_parameter(name: str, text: str) -> Value:
    """The value a Modelfile's `PARAMETER name text` sets, as Ollama would store it; a `stop` is a list of one.

    Raises ParameterError.
    """
    spec = PARAMETERS.get(name)
    if spec is None:
        names = [spec.name for spec in _SPECS if not spec.is_deprecated]
        known = f"a parameter is one of {', '.join(names)}"
        hint = did_you_mean(name, names) or known if name else "one space stands before the name, not more"
        raise ParameterError(f"unknown parameter '{name}'", hint=hint, about="name")
    match spec.kind:
        case "strings":
            return [text]
        case "int" if _INT.fullmatch(text) and len(text) < 100 and -(2**63) <= int(text) < 2**63:
            return int(text)
        case "float" if (number := _float32(text)) is not None:
            return number
        case "bool" if text in _TRUE | _FALSE:
            return text in _TRUE
        case _:
            wanted = _WANTED[spec.kind]
            raise ParameterError(
                f"invalid {spec.kind} value [{text[:40]}]",
                hint=f"{name} ({spec.meaning}) takes {wanted}",
                about="value",
            )


def merge_parameters(base: Mapping[str, Value], own: Mapping[str, Value]) -> dict[str, Value]:
    """Inherited parameters with a model's own over them; lists replace, they do not add up."""
    return {**base, **own}


def _float32(text: str) -> float | None:
    """Go's ParseFloat(text, 32), then the shortest decimal that gives the same float32."""
    if _FLOAT.fullmatch(text):
        real = float(text.replace("_", ""))
    elif _HEX_FLOAT.fullmatch(text):
        try:
            real = float.fromhex(text.replace("_", ""))
        except OverflowError:
            return None
    else:
        return None
    try:
        exact = struct.unpack("f", struct.pack("f", real))[0]
    except OverflowError:
        return None
    if not math.isfinite(exact):
        return None
    for digits in range(1, 10):
        short = float(f"{exact:.{digits}g}")
        if struct.unpack("f", struct.pack("f", short))[0] == exact:
            return short
    return exact


def read_options(options: Mapping[str, object]) -> tuple[dict[str, Value], list[str]]:
    """The values of an API request's `options`, and the names that mean nothing here.

    As Ollama's server reads them: null is absent, and whole numbers take any number and cut it. Deprecated names and
    unknown ones are no error. Raises ParameterError for a value of the wrong type.
    """
    values: dict[str, Value] = {}
    ignored: list[str] = []
    for name, value in options.items():
        spec = PARAMETERS.get(name)
        if value is None:
            continue
        if spec is None or spec.is_deprecated:
            ignored.append(name)
            continue
        number = value if isinstance(value, int | float) and not isinstance(value, bool) else None
        match spec.kind:
            case "int" if number is not None and math.isfinite(number):
                values[name] = int(number)
            case "float" if number is not None:
                values[name] = float(number)
            case "bool" if isinstance(value, bool):
                values[name] = value
            case "strings" if isinstance(value, list) and all(
                isinstance(item, str) for item in cast("list[object]", value)
            ):
                values[name] = cast("list[str]", value)
            case "strings" if isinstance(value, str):
                values[name] = [value]
            case _:
                kinds = {"int": "of type integer", "float": "of type float32", "bool": "of type boolean"}
                wanted = kinds.get(spec.kind, "of an array of strings")
                raise ParameterError(f'option "{name}" must be {wanted}', about="value")
    return values, ignored
