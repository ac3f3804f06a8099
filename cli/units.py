"""Sizes and times as Ollama prints them, and sizes as people write them. Pure."""

from __future__ import annotations

import re

_SIZE = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,6})?)\s*([kmgt]?)(i?)(b?)(?:/s)?", re.IGNORECASE)
_YEAR = 365 * 24 * 3600.0


def human_bytes(size: float) -> str:
    """`98 MB`, `4.7 GB`: decimal units, one decimal below ten."""
    value, unit = float(size), "B"
    for bigger in ("KB", "MB", "GB", "TB", "PB"):
        if value < 1000:
            break
        value, unit = value / 1000, bigger
    if unit == "B" or value >= 10 or value == int(value):
        return f"{int(value)} {unit}"
    return f"{int(value * 10) / 10} {unit}"


def read_bytes(text: str) -> int:
    """The bytes in `10MB`, `512 KiB`, `1.5GB/s` or `4096`. Raises ValueError, which says what is expected."""
    match = _SIZE.fullmatch(text.strip())
    if not match or (match[3] and not match[2]):
        raise ValueError('expected bytes, as in "10MB", "512KiB" or 4096')
    power = " kmgt".index(match[2].lower() or " ")
    return int(float(match[1]) * (1024 if match[3] else 1000) ** power)


def counted(count: int, thing: str) -> str:
    """`1 blob`, `3 blobs`."""
    return f"{count} {thing}{'' if count == 1 else 's'}"


def human_time(seconds: float) -> str:
    """How long something takes or took: `About a minute`, `3 weeks`."""
    minutes, hours = int(seconds // 60), int(seconds // 3600)
    days = hours // 24
    steps: list[tuple[bool, str]] = [
        (seconds < 1, "Less than a second"),
        (seconds < 2, "1 second"),
        (seconds < 60, f"{int(seconds)} seconds"),
        (minutes < 2, "About a minute"),
        (minutes < 60, f"{minutes} minutes"),
        (hours < 2, "About an hour"),
        (hours < 48, f"{hours} hours"),
        (days < 14, f"{days} days"),
        (days < 60, f"{days // 7} weeks"),
        (days < 730, f"{days // 30} months"),
    ]
    return next((words for fits, words in steps if fits), f"{days // 365} years")


def ago(seconds: float) -> str:
    """A moment this long ago."""
    return f"{human_time(max(0.0, seconds))} ago"


def until(seconds: float) -> str:
    """A moment this far ahead; beyond twenty years it is for ever."""
    if seconds > 20 * _YEAR:
        return "Forever"
    return "Stopping..." if seconds < 0 else f"{human_time(seconds)} from now"
