"""Durations as Ollama reads them: Go's `1h30m`, or a bare number of seconds. Pure."""

from __future__ import annotations

import math
import re

from ...store.errors import InputError, shown

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_NUMBER = r"(?:[0-9]+\.?[0-9]*|\.[0-9]+)"
_BARE = re.compile(rf"[+-]?{_NUMBER}")
_PART = re.compile(rf"({_NUMBER})(ns|us|µs|μs|ms|s|m|h)")
_WHOLE = re.compile(rf"([+-]?)((?:{_NUMBER}(?:ns|us|µs|μs|ms|s|m|h))+)")
FOREVER = math.inf


def parse_duration(value: str | float) -> float:
    """Seconds. Negative means FOREVER; a bare number, also in a string, is seconds. Raises InputError."""
    if isinstance(value, int | float):
        return _or_forever(float(value))
    text = value.strip()
    if _BARE.fullmatch(text):
        return _or_forever(float(text))
    found = _WHOLE.fullmatch(text)
    if not found:
        raise InputError(
            f"time: invalid duration {shown(text)}", hint="write 5m, 1h30m, 90 (seconds), 0 or -1 (forever)"
        )
    seconds = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(found[2]))
    return _or_forever(-seconds if found[1] == "-" else seconds)


def _or_forever(seconds: float) -> float:
    if math.isnan(seconds):
        raise InputError("time: invalid duration NaN")
    return FOREVER if seconds < 0 else seconds
