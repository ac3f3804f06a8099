"""Throttle: keeps all transfers of one operation together below so many bytes a second."""

from __future__ import annotations

import threading
import time


class Throttle:
    """`rate` is in bytes a second, 0 for no limit."""

    def __init__(self, rate: int = 0) -> None:
        self._rate = rate
        self._guard = threading.Lock()
        self._free_at = 0.0
        self._stopped = threading.Event()

    def take(self, count: int) -> None:
        """Wait until as many bytes may pass."""
        wait = self.reserve(count)
        if wait:
            self._stopped.wait(wait)

    def stop(self) -> None:
        """Hold nobody up any more."""
        self._stopped.set()

    def reserve(self, count: int) -> float:
        """How many seconds to wait until as many bytes may pass, which are counted now."""
        if not self._rate:
            return 0.0
        with self._guard:
            now = time.monotonic()
            # What was not used is not saved up.
            self._free_at = max(self._free_at, now) + count / self._rate
            return self._free_at - now
