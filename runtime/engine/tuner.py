"""ThreadTuner: how many threads evaluate a step, by what steps have taken with each number so far. Pure.

llama.cpp's threads wait for each other many hundred times a step. On a core of its own each makes a step faster; where
another program wants one of the cores they all wait for the thread that lost it, and fewer are many times faster. That they
wait shows in the processor's time: while all threads have all of it, their number stays, and with it every digit of what
they compute. Else other numbers are tried, and again now and then, since nobody says when that changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

_NEAR_BEST = 1.05
"""Fewer threads that are so near to the best leave the other cores to others."""
_NEWEST = 0.4
"""Weight of the newest measurement."""
_OFTEN, _SELDOM = 16, 512
"""Steps between trials, after something changed and after nothing did for long."""
_SHARED, _OWN = 0.8, 0.9
"""Below the first part of what is usual the threads share their cores with others, above the second they have them again."""
_USUAL = 0.95
"""Of their cores' time, what threads take that have these to themselves; it may be less, which is seen in time."""
_FADES = 0.9999
_NEWEST_SHARE = 0.1
"""Weight of the newest step's part; a single one says little."""
_CHANGED = 1.5
"""A step so many times longer or shorter than those before tells of a change."""


@dataclass(slots=True)
class _Work:
    """Steps of about the same size."""

    seconds: dict[int, float] = field(default_factory=dict[int, float])
    """By number of threads."""
    pause: int = _OFTEN
    until_trial: int = _OFTEN
    tried: int = 0


class ThreadTuner:
    """See the module."""

    def __init__(self, candidates: Sequence[int]) -> None:
        """At least one number of threads; with just one there is nothing to choose."""
        self._candidates = sorted(set(candidates))
        self._works: dict[int, _Work] = {}
        self._share = self._usual = _USUAL
        """The part of their cores' time that the most threads had."""
        self._is_shared = False

    def choose(self, tokens: int) -> int:
        """The threads for a step with so many tokens."""
        if not self._is_shared:
            return self._candidates[-1]
        work = self._works.setdefault(tokens.bit_length(), _Work())
        unknown = [threads for threads in self._candidates if threads not in work.seconds]
        if unknown:
            return unknown[-1]  # most first: it is what a machine that is idle does best with
        best = self._best(work)
        work.until_trial -= 1
        if work.until_trial > 0:
            return best
        others = [threads for threads in self._candidates if threads != best]
        work.tried += 1
        work.pause = min(2 * work.pause, _SELDOM)
        work.until_trial = work.pause
        return others[work.tried % len(others)]

    def observe(self, threads: int, tokens: int, seconds: float, busy: float) -> None:
        """A step with so many tokens took this long, and the process so many seconds of the processors' time."""
        if len(self._candidates) == 1 or seconds <= 0:
            return
        if threads == self._candidates[-1]:
            self._share += _NEWEST_SHARE * (min(1.0, busy / (threads * seconds)) - self._share)
            self._usual = max(_FADES * self._usual, self._share)
            self._is_shared = self._share < (_OWN if self._is_shared else _SHARED) * self._usual
        work = self._works.setdefault(tokens.bit_length(), _Work())
        known = work.seconds.get(threads)
        if known is None:
            work.seconds[threads] = seconds
            return
        before = self._best(work)
        is_faster, is_slower = seconds < known / _CHANGED, seconds > known * _CHANGED
        # Nothing is fast by accident; what is slow once may be, so it counts as twice as slow at most.
        work.seconds[threads] = seconds if is_faster else known + _NEWEST * (min(seconds, 2 * known) - known)
        if self._best(work) != before or (is_slower and threads == before):
            work.pause = _OFTEN
            work.until_trial = min(work.until_trial, _OFTEN)

    @staticmethod
    def _best(work: _Work) -> int:
        fastest = min(work.seconds.values())
        return min(threads for threads, seconds in work.seconds.items() if seconds <= _NEAR_BEST * fastest)


def candidates(most: int) -> list[int]:
    """The numbers worth trying on a machine of so many cores: powers of two, and all."""
    return [*(1 << i for i in range((most - 1).bit_length())), most]
