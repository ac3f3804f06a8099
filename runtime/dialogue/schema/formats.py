"""Formats: those that are enforced, as patterns of the whole text; all others say nothing (JSON Schema 2020-12, 7.2.1). Pure.

A pattern may leave out some of what its RFC allows, never more: years begin at 1, there are no leap seconds, and names of
hosts are short.
"""

from __future__ import annotations

from functools import cache

from .automaton import Automaton, both, lengths
from .budget import Budget
from .pattern import exactly

_NOT_ZERO = r"(\d{3}[1-9]|\d{2}[1-9]0|\d[1-9]00|[1-9]000)"
_LEAP = r"(\d\d(0[48]|[2468][048]|[13579][26])|(0[48]|[2468][048]|[13579][26])00)"
_DATE = (
    rf"({_NOT_ZERO}-((0[13578]|1[02])-(0[1-9]|[12]\d|3[01])|(0[469]|11)-(0[1-9]|[12]\d|30)|02-(0[1-9]|1\d|2[0-8]))"
    rf"|{_LEAP}-02-29)"
)
_TIME = r"([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,6})?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)"
_LABEL = r"[A-Za-z0-9]+(-+[A-Za-z0-9]+)*"
_HOST = rf"{_LABEL}(\.{_LABEL})*"
_ATOM = r"[A-Za-z0-9_+-]+"
_BYTE = r"(25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
_IPV4 = rf"{_BYTE}(\.{_BYTE}){{3}}"
_LETTER = r"[A-Za-z0-9._~!$&'()*+,;=:@/?-]"
_H16 = r"[0-9A-Fa-f]{1,4}"
_IPV6 = "|".join(
    [
        rf"({_H16}:){{7}}{_H16}",
        r"::",
        *(rf"({_H16}:){{{before}}}(:{_H16}){{1,{7 - before}}}" for before in range(1, 7)),
        rf"({_H16}:){{1,7}}:",
        rf":(:{_H16}){{1,7}}",
    ]
)
_HOURS = r"T(\d{1,4}H(\d{1,4}M(\d{1,4}S)?)?|\d{1,4}M(\d{1,4}S)?|\d{1,4}S)"
_DAYS = r"\d{1,4}Y(\d{1,4}M(\d{1,4}D)?)?|\d{1,4}M(\d{1,4}D)?|\d{1,4}D"
_DURATION = rf"P(\d{{1,4}}W|({_DAYS})({_HOURS})?|{_HOURS})"

_FORMATS = {
    "date": _DATE,
    "time": _TIME,
    "date-time": rf"{_DATE}T{_TIME}",
    "duration": _DURATION,
    "email": rf"{_ATOM}(\.{_ATOM})*@({_LABEL}\.)+[A-Za-z]{{2,}}",
    "hostname": _HOST,
    "ipv4": _IPV4,
    "ipv6": _IPV6,
    "uri": rf"(https?|ftp)://{_HOST}(:\d+)?([/?]{_LETTER}*)?(#{_LETTER}*)?",
    "uuid": r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}",
}
_LONGEST = {"hostname": 63}
"""Characters; so no label can be too long."""


@cache
def formatted(name: str) -> Automaton | None:
    """All texts of a format; None for one that is not enforced."""
    pattern = _FORMATS.get(name)
    if pattern is None:
        return None
    longest = _LONGEST.get(name)
    return exactly(pattern) if longest is None else both(exactly(pattern), lengths(1, longest, Budget()), Budget())
