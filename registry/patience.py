"""Patience: how long to wait, and how often to try again, when a registry fails. Pure.

Worth another try are broken connections and the statuses that say so; whatever else is said is an answer.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses of failures that may pass."""
_LONGEST_WAIT = 20.0
_CREDIT = 64 << 10
"""Bytes that buy another try: a transfer that gets on may break as often as it likes."""


@dataclass(frozen=True, slots=True)
class Patience:
    """What its user has."""

    retries: int = 5
    """How often to try again without getting any further."""
    first_wait: float = 0.5
    """In seconds; it doubles from try to try."""
    stall: float = 30.0
    """In seconds without a byte, after which a connection is given up."""
    longest_request: float = 120.0
    """In seconds; a registry that asks to be left alone for longer is left alone for good."""


@dataclass(slots=True)
class Tries:
    """The tries at one thing."""

    patience: Patience
    failures: int = 0
    """In all."""
    in_vain: int = 0
    """Since it last got on."""
    _draw: random.Random = field(default_factory=random.Random)

    def got_on(self) -> None:
        """Take note that something has come."""
        self.in_vain = 0

    def wait(self, retry_after: float | None, gained: int = 0) -> float | None:
        """After a failure, with `gained` bytes in all: how many seconds to wait before the next try, None for no more."""
        self.failures += 1
        self.in_vain += 1
        if self.in_vain > self.patience.retries or self.failures > self.patience.retries + gained // _CREDIT:
            return None
        if retry_after is not None and retry_after > self.patience.longest_request:
            return None
        wait = min(_LONGEST_WAIT, self.patience.first_wait * 2 ** (self.in_vain - 1))
        # Those who failed together do not come back together.
        return max(wait * self._draw.uniform(0.5, 1.0), retry_after or 0.0)


def retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """The seconds that a reply's Retry-After asks for, which may be a number or a date; None where it says nothing."""
    text = headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit() and len(text) < 10:
        return float(text)
    try:
        date = parsedate_to_datetime(text)
        given = (date - (now or datetime.now(UTC))).total_seconds()
    except (ValueError, TypeError):
        return None
    return max(given, 0.0)
