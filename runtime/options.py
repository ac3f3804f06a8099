"""Options: from what a Modelfile and a request say to how a model is loaded and its tokens are chosen."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

from ..modelfile.parameters import PARAMETERS, Value, merge_parameters, read_options
from ..store.errors import InputError
from .dialogue.prompt import MAX_PROMPT
from .engine.protocol import LoadOptions, Sampling
from .engine.threads import available_cores
from .schedule.policy import Wanted
from .served import ModelFacts

log = logging.getLogger(__name__)

_LONGEST_ANSWER = 10
"""Contexts' worth of tokens, unless a request says that it wants no limit."""
MAX_BATCH = 2048
"""Tokens evaluated at once: the engine allocates logits for each, and more make nothing faster."""
MAX_STOPS = 256
"""Stop texts of a request: each is looked for after every token, and together they are no longer than a prompt."""
_MAX_CELLS = (1 << 31) - 1
"""Tokens a KV cache may hold; the engine counts them in 32 bits."""


@dataclass(frozen=True, slots=True)
class EngineDefaults:
    """What the environment decides for all models."""

    slots: int = 4
    num_ctx: int = 0
    """0: the model's own, or what of it the memory holds beside other models."""
    num_thread: int = 0
    deterministic: bool = False
    keep_alive: float = 300.0
    flash_attention: bool | None = None
    kv_cache_type: str = "f16"
    load_timeout: float = 300.0
    """Seconds without progress that end a load; 0 for no end."""
    gpu_overhead: int = 0
    """Bytes left free on each GPU."""
    spread: bool = False
    """Whether each model is spread over all GPUs."""
    truncates: bool = True
    """Whether a conversation or prompt that is too long for the context is cut; else it is refused."""


def merged_options(model: ModelFacts, asked: Mapping[str, object]) -> dict[str, Value]:
    """The request's options over the model's. Raises InputError for one of the wrong type in the request."""
    # Models of other makers may have stored anything; what is not a parameter here has no effect.
    stored, _ = read_options(model.parameters)
    given, ignored = read_options(asked)
    if whole_number(given, "num_ctx") <= 0:
        given.pop("num_ctx", None)  # as if it were not given
    for name in ignored:
        log.warning("%s: option %r has no effect", model.name, name)
    return merge_parameters(stored, given)


def load_options(model: ModelFacts, options: Mapping[str, Value], defaults: EngineDefaults) -> Wanted:
    """How the model is to be loaded."""
    trained = model.header.context_length or 1 << 20
    asked = _positive(options, "num_ctx") or defaults.num_ctx
    threads = _positive(options, "num_thread")
    loaded = LoadOptions(
        num_ctx=max(4, min(asked or trained, trained, _MAX_CELLS // defaults.slots)),
        slots=defaults.slots,
        num_batch=min(_positive(options, "num_batch") or 512, MAX_BATCH),
        num_gpu=max(-1, whole_number(options, "num_gpu")),
        main_gpu=whole_number(options, "main_gpu"),
        use_mmap=options.get("use_mmap") is not False,
        num_thread=min(threads, defaults.num_thread or available_cores()) if threads else defaults.num_thread,
        flash_attention=defaults.flash_attention,
        kv_cache_type=defaults.kv_cache_type,
        adapters=model.adapters,
        embeds=model.header.own("pooling_type") is not None,
        deterministic=defaults.deterministic,
    )
    main_gpu = loaded.main_gpu if options.get("main_gpu") is not None else None
    return Wanted(options=loaded, is_elastic=not asked, main_gpu=main_gpu, header=model.header)


def most_tokens(options: Mapping[str, Value], num_ctx: int) -> int:
    """The most tokens an answer may have; 0 is without limit, for who says so."""
    asked, most = whole_number(options, "num_predict"), _LONGEST_ANSWER * num_ctx
    return asked if 0 <= asked <= most else most


def sampling_options(
    options: Mapping[str, Value], *, bias: Mapping[int, float] | None = None, grammar: str = ""
) -> Sampling:
    """How the next token is to be chosen; `bias` is added to the logits of tokens, `grammar` is what the answer keeps to."""
    given = {name: value for name, value in options.items() if name in Sampling.__struct_fields__}
    numbers = {name: whole_number(options, name) for name in given if PARAMETERS[name].kind == "int"}
    return Sampling(**(given | numbers), logit_bias=dict(bias or {}), grammar=grammar)  # pyright: ignore[reportArgumentType] - typed by the table


def stop_texts(options: Mapping[str, Value]) -> list[str]:
    """The texts that end an answer. Raises InputError when there are too many."""
    value = options.get("stop")
    stops = list(dict.fromkeys(value)) if isinstance(value, list) else []
    if len(stops) > MAX_STOPS:
        raise InputError(f"{len(stops)} stop texts, at most {MAX_STOPS} are taken")
    if (size := sum(map(len, stops))) > MAX_PROMPT:
        raise InputError(f"the stop texts have {size} characters, at most {MAX_PROMPT} are taken")
    return stops


def whole_number(options: Mapping[str, Value], name: str) -> int:
    """An option's value, or its default, cut to what frames and the engine can carry."""
    value = options.get(name, PARAMETERS[name].default)
    return max(-(1 << 63), min(value, (1 << 63) - 1)) if isinstance(value, int) else 0


def _positive(options: Mapping[str, Value], name: str) -> int:
    """The value; 0, which is "not given", also for what is less."""
    return max(0, whole_number(options, name))
