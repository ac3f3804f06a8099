"""Watch: notices that a process has been silent for too long, or that its load does not go on."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

_LOOKS = 10
"""How often it looks in the shorter of its times."""


class Watch:
    """Time is counted in looks and not by the clock: when this process itself was stopped for a while, or its machine
    slept, the other's bytes are waiting to be read, and it is not to blame.
    """

    def __init__(self, *, silence: float, stall: float) -> None:
        """Seconds without a word while something is wanted, and of loading without progress; math.inf for no limit."""
        self._silence, self._stall = silence, stall
        self._silent = self._stalled = 0.0

    def heard(self) -> None:
        """Something came, whatever it was."""
        self._silent = 0.0

    def progressed(self) -> None:
        """The load went on."""
        self._stalled = 0.0

    async def silent(self, is_wanted: Callable[[], bool]) -> str:
        """Return when it has been silent for too long while something was wanted of it, with that said."""
        while True:
            await self._look(self._silence)
            self._silent = self._silent + 1 if is_wanted() else 0
            if self._silent >= _LOOKS:
                return f"nothing was heard of it for {self._silence:g} seconds"

    async def stalled(self) -> str:
        """Return when its load has not gone on for too long, with that said."""
        while True:
            await self._look(self._stall)
            self._stalled += 1
            if self._stalled >= _LOOKS:
                return f"no progress for {self._stall:g} seconds"

    async def _look(self, limit: float) -> None:
        if math.isinf(limit):
            await asyncio.get_running_loop().create_future()
        await asyncio.sleep(limit / _LOOKS)
