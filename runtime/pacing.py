"""Pacing: the progress of transfers, thinned out for those who are sent every line of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from ..store.progress import Progress, Report


class Paced:
    """Passes on what it is told, of a transfer one step in every so many seconds, but always the first and the last.

    Transfers report from several threads at once; `report` hears of one step at a time.
    """

    def __init__(self, report: Report, *, every: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._report = report
        self._every = every
        self._clock = clock
        self._guard = threading.Lock()
        self._said: dict[str, tuple[int | None, float]] = {}
        """Of each transfer, what was last said of it, and when."""

    def report(self, step: Progress) -> None:
        """Take note of a step."""
        with self._guard:
            if step.total is not None:
                now = self._clock()
                completed, when = self._said.get(step.status, (-1, float("-inf")))
                if step.completed == completed or (step.completed != step.total and now - when < self._every):
                    return
                self._said[step.status] = (step.completed, now)
            self._report(step)
