"""Progress in lines: for people without a terminal, and for programs. Transfers report from several threads at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from ..runtime.pacing import Paced
from ..store.progress import Progress
from .units import human_bytes

_EVERY = 10.0
"""Seconds between two lines about transfers that take long, so that a log shows they are alive."""
_LINES = 0.06
"""Seconds between two lines of JSON about one blob, as in Ollama's API."""


@dataclass(slots=True)
class Lines:
    """A line for each new status; for a transfer one when it begins, and more only when it takes long."""

    write: Callable[[str], None]
    clock: Callable[[], float] = time.monotonic
    every: float = _EVERY
    _guard: threading.Lock = field(default_factory=threading.Lock)
    _status: str = ""
    _begun: dict[str, float] = field(default_factory=dict[str, float])
    """Of each transfer, when something was last said of it."""

    def report(self, step: Progress) -> None:
        """Take note of a step."""
        with self._guard:
            if step.total is None:
                if step.status != self._status:
                    self.write(step.status)
                self._status = step.status
                return
            now, said = self.clock(), self._begun.get(step.status)
            if said is None:
                self.write(step.status)
            elif now - said < self.every:
                return
            else:
                self.write(f"{step.status}: {_share(step)}")
            self._begun[step.status] = now


def _share(step: Progress) -> str:
    total, completed = step.total or 0, step.completed or 0
    return f"{100 * completed // max(total, 1):3d}% of {human_bytes(total)}"


class Objects(Paced):
    """The API's own objects; of a blob not more than Ollama's server sends, but always the last."""

    def __init__(
        self, write: Callable[[dict[str, str | int]], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(lambda step: write(step.to_json()), every=_LINES, clock=clock)
