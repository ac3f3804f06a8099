"""Spans: which bytes of a file are there, as half-open intervals. Pure."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator


class Spans:
    """A set of byte positions, kept as the fewest intervals `[start, stop)` in order."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._stops: list[int] = []

    def add(self, start: int, stop: int) -> None:
        """Take these positions in; those that are there already may be among them."""
        if start >= stop:
            return
        # All that touch the new one become part of it.
        first = bisect_left(self._stops, start)
        last = bisect_right(self._starts, stop)
        if first < last:
            start = min(start, self._starts[first])
            stop = max(stop, self._stops[last - 1])
        self._starts[first:last] = [start]
        self._stops[first:last] = [stop]

    def clear(self) -> None:
        """Forget all."""
        self._starts.clear()
        self._stops.clear()

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """The intervals in order."""
        return iter(list(zip(self._starts, self._stops, strict=True)))

    @property
    def total(self) -> int:
        """How many positions there are."""
        return sum(self._stops) - sum(self._starts)

    @property
    def frontier(self) -> int:
        """Where the interval that begins at 0 ends."""
        return self._stops[0] if self._starts and self._starts[0] == 0 else 0

    def gaps(self, size: int) -> Iterator[tuple[int, int]]:
        """What is missing of `[0, size)`, in order."""
        position = 0
        for start, stop in self:
            if start >= size:
                break
            if position < start:
                yield position, start
            position = stop
        if position < size:
            yield position, size
