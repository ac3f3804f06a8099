"""The engine's part of the environment."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

from ..store.errors import InputError
from .settings import Settings

if TYPE_CHECKING:
    from ..runtime.inference import EngineDefaults


def engine_defaults(settings: Settings) -> EngineDefaults:
    """What the environment decides for all models. Raises InputError for values that mean nothing."""
    from ..runtime.inference import EngineDefaults

    return EngineDefaults(
        slots=max(1, settings.count("NUM_PARALLEL", 4)),
        num_ctx=settings.count("CONTEXT_LENGTH", 0),
        num_thread=settings.count("NUM_THREAD", 0),
        deterministic=settings.flag("DETERMINISTIC"),
        keep_alive=_keep_alive(settings),
    )


def _keep_alive(settings: Settings) -> float:
    from ..runtime.schedule.duration import parse_duration

    try:
        return parse_duration(settings.text("KEEP_ALIVE") or "5m")
    except InputError as error:
        raise InputError(f"{settings.variable('KEEP_ALIVE')}: {error}", hint=error.hint) from None


def start_logging(settings: Settings) -> None:
    """Log to stderr: warnings, or everything with OLLAMA_DEBUG."""
    level = logging.DEBUG if settings.flag("DEBUG") else logging.WARNING
    logging.basicConfig(level=level, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
