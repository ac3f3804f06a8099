"""Ranges: which bytes of a blob to ask for next, and whether a reply has those that were asked for. Pure.

A blob is asked for in pieces from its beginning, so that who follows with the digest never has far to go. When all is on its
way, whoever is free takes over half of what the slowest has left, or all of it where that has come to a stand.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import median

from ..store.errors import shown
from ..store.spans import Spans

_LEAST_PIECE = 8 << 20
_MOST_PIECE = 256 << 20
_WORTH_TAKING = 2 << 20
"""Bytes; a new request costs more than the rest of a smaller piece."""
_PATIENCE = 1.0
"""Seconds that a transfer is given, and that its rest may take, before somebody helps."""
_JUDGED_AFTER = 3.0
"""Seconds before a transfer is called slow."""
_SLOW = 0.1
"""Of the median speed."""
_REMEMBERED = 15

_CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)", re.ASCII)


@dataclass(eq=False, slots=True)
class Flight:
    """A range on its way: `[position, stop)` of the blob is still to come, `[settled, position)` being written."""

    start: int
    stop: int
    began: float
    """By the monotonic clock, in seconds."""
    is_whole: bool = False
    """The whole blob is asked for, not a range."""
    position: int = -1
    settled: int = -1
    is_called_off: bool = False
    """Somebody else does the rest."""

    def __post_init__(self) -> None:
        self.position = self.settled = self.start

    @property
    def left(self) -> int:
        """How many bytes are to come."""
        return 0 if self.is_called_off else self.stop - self.position

    def speed(self, now: float) -> float:
        """Bytes a second so far."""
        return (self.position - self.start) / max(now - self.began, 0.001)


@dataclass(slots=True)
class Schedule:
    """What of one blob is asked for by whom. The caller sees to it that one thread at a time is in here."""

    size: int
    done: Spans
    streams: int
    has_ranges: bool | None = None
    """Whether the other side gives ranges; None until it has answered once."""
    flights: list[Flight] = field(default_factory=list[Flight])
    most: int = 64
    """How many transfers the other side bears at once."""
    _speeds: list[float] = field(default_factory=list[float])
    """Of the last that came to their ends."""

    def next(self, now: float) -> Flight | None:
        """The next range to ask for, if there is one to be had at the moment."""
        if (self.flights and not self.has_ranges) or len(self.flights) >= self.most:
            return None
        if self.has_ranges is False:
            return None if self.is_done else self._begin(Flight(0, self.size, now, is_whole=True))
        gap = next(self._free(), None)
        if gap is None:
            return None
        start, stop = gap
        stop = min(stop, start + self._piece)
        return self._begin(Flight(start, stop, now, is_whole=stop - start == self.size))

    @property
    def is_done(self) -> bool:
        """Whether all bytes are there."""
        return self.done.frontier == self.size

    def end(self, flight: Flight, now: float) -> None:
        """Take note that nothing more comes of it."""
        self.flights.remove(flight)
        if not flight.left and not flight.is_called_off:
            self._speeds = [*self._speeds[-_REMEMBERED:], flight.speed(now)]

    @property
    def _piece(self) -> int:
        return max(_LEAST_PIECE, min(_MOST_PIECE, self.size // (self.streams * 8)))

    def claim(self, flight: Flight, count: int) -> tuple[int, int]:
        """Of `count` bytes that came next, those to be written: from the one, to before the other.

        No byte that is there is ever written again: it may have gone into the digest.
        """
        came = flight.position
        flight.position += min(count, flight.left)
        return (max(came, self.done.frontier), flight.position) if flight.is_whole else (came, flight.position)

    def settle(self, flight: Flight) -> None:
        """Take note that what was claimed is written."""
        self.done.add(flight.settled, flight.position)
        flight.settled = flight.position

    def take_whole(self, flight: Flight) -> None:
        """Take note that the other side gives no ranges, and whether it gives the whole blob to this one."""
        self.has_ranges = False
        # While others still bring ranges, the whole would write what is theirs to write.
        if flight.start == 0 and not flight.is_called_off and len(self.flights) == 1:
            flight.is_whole, flight.stop = True, self.size
        else:
            flight.is_called_off = True

    def _begin(self, flight: Flight) -> Flight:
        self.flights.append(flight)
        return flight

    def _free(self) -> Iterator[tuple[int, int]]:
        """What is neither there nor on its way."""
        taken = Spans()
        for start, stop in self.done:
            taken.add(start, stop)
        for flight in self.flights:
            taken.add(flight.settled, flight.position if flight.is_called_off else flight.stop)
        return taken.gaps(self.size)

    def taken_over(self, now: float) -> Flight | None:
        """The half, or all, of what the slowest transfer has left, where that takes long and ranges are to be had."""
        if not self.has_ranges:
            return None
        flights = [flight for flight in self.flights if flight.left and now - flight.began > _PATIENCE]
        for flight in flights:
            if self._is_slow(flight, now):
                flight.is_called_off = True
                return self._begin(Flight(flight.position, flight.stop, now))
        longest = max(flights, key=lambda one: one.left / max(one.speed(now), 1.0), default=None)
        if longest is None or longest.left < 2 * _WORTH_TAKING or longest.left < longest.speed(now) * _PATIENCE:
            return None
        middle = longest.position + longest.left // 2
        flight = Flight(middle, longest.stop, now)
        longest.stop = middle
        return self._begin(flight)

    def _is_slow(self, flight: Flight, now: float) -> bool:
        """Whether it crawls where others run."""
        others = [other.speed(now) for other in self.flights if other is not flight and not other.is_called_off]
        others += self._speeds
        return now - flight.began > _JUDGED_AFTER and flight.speed(now) < _SLOW * (median(others) if others else 0.0)


def check_range(content_range: str, start: int, stop: int, size: int) -> None:
    """Raises ValueError unless a 206's Content-Range has the very bytes that were asked for, `[start, stop)`."""
    asked = f"bytes {start}-{stop - 1}/{size}"
    match = _CONTENT_RANGE.fullmatch(content_range.strip())
    if not match or (int(match[1]), int(match[2])) != (start, stop - 1) or match[3] not in (str(size), "*"):
        raise ValueError(f"asked for {asked}, got {shown(content_range)}")
