"""The engine's part of the environment."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

from ..store.errors import InputError, shown
from .settings import Settings

if TYPE_CHECKING:
    from ..runtime.inference import EngineDefaults


MOST_SLOTS = 256
"""Sequences that llama.cpp can tell apart."""


def engine_defaults(settings: Settings) -> EngineDefaults:
    """What the environment decides for all models. Raises InputError for values that mean nothing."""
    from ..runtime.inference import EngineDefaults

    slots = settings.count("NUM_PARALLEL", 4)
    if slots > MOST_SLOTS:
        variable = settings.variable("NUM_PARALLEL")
        raise InputError(f"{variable}: {slots} is too much", hint=f"the engine decodes at most {MOST_SLOTS} at once")
    return EngineDefaults(
        slots=max(1, slots),
        num_ctx=settings.count("CONTEXT_LENGTH", 0),
        num_thread=settings.count("NUM_THREAD", 0),
        deterministic=settings.flag("DETERMINISTIC"),
        keep_alive=settings.seconds("KEEP_ALIVE", 300.0),
        flash_attention=settings.flag("FLASH_ATTENTION") if settings.text("FLASH_ATTENTION") else None,
        kv_cache_type=_cache_type(settings),
        load_timeout=settings.seconds("LOAD_TIMEOUT", 300.0),
        gpu_overhead=settings.count("GPU_OVERHEAD", 0),
        spread=settings.flag("SCHED_SPREAD"),
        truncates=settings.flag("TRUNCATE") if settings.text("TRUNCATE") else True,
    )


def _cache_type(settings: Settings) -> str:
    from ..runtime.schedule.memory import CACHE_TYPES

    name = settings.text("KV_CACHE_TYPE").lower() or "f16"
    variable = settings.variable("KV_CACHE_TYPE")
    if name not in CACHE_TYPES:
        raise InputError(f"{variable}: {shown(name)} is no type of KV cache", hint=f"one of {', '.join(CACHE_TYPES)}")
    is_off = settings.text("FLASH_ATTENTION") and not settings.flag("FLASH_ATTENTION")
    if is_off and name not in CACHE_TYPES[:3]:
        raise InputError(
            f"{variable}: a KV cache of {name} needs flash attention, which {settings.variable('FLASH_ATTENTION')} turns off",
            hint="unset one of the two",
        )
    return name


def start_logging(settings: Settings) -> None:
    """Log to stderr: warnings, or everything with OLLAMA_DEBUG."""
    level = logging.DEBUG if settings.flag("DEBUG") else logging.WARNING
    logging.basicConfig(level=level, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
