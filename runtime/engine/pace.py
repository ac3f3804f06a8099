"""Pace: how much of the waiting prompts a step takes, so that answers on their way keep theirs. Pure.

A step with a piece of a prompt in it takes longer, and every answer waits for it. Short prompts go in whole, which each
answer notices once. Of long ones each step takes some where tokens are cheap, as on a GPU. On a CPU a token costs several
times as much in a small piece as in a large one: there a large piece goes in now and then, and the steps between are as
short as ever.
"""

from __future__ import annotations

from collections.abc import Sequence

LONG = 256
"""A prompt with more tokens than this to evaluate is a long one."""
_SLOWER = 0.6
"""A piece of a long prompt in each step may make it longer by this part of it."""
_SMALL = 64
"""Pieces of fewer tokens cost more for each."""
_APART = 32
"""Steps from a large piece to the next: 19 of 20 steps are without one."""
_LARGE = 32
"""A large piece may take as long as so many of them."""
_UNKNOWN = 128
"""Tokens of a large piece while nothing was measured."""
_NEWEST = 0.25
"""Weight of the newest measurement."""


class Pace:
    """What steps take on this machine now."""

    def __init__(self) -> None:
        self._steps: dict[int, float] = {}
        """Seconds of a step with so many answers and nothing else."""
        self._token = 0.0
        """Seconds that a token of a prompt adds, in a piece that is not small."""
        self._since = _APART
        """Steps with answers since the last large piece."""

    def observe(self, answers: int, prefilled: int, seconds: float) -> None:
        """A step with so many answers' tokens and so many of prompts took this long."""
        self._since += 1
        if not prefilled:
            self._steps[answers] = _mixed(self._steps.get(answers, 0.0), seconds)
            return
        step = self._step(answers) if answers else 0.0
        if prefilled >= _SMALL and seconds > step:
            self._token = _mixed(self._token, (seconds - step) / prefilled)

    def room(self, answers: int, most: int) -> int:
        """How many tokens of long prompts a step with so many answers should take, of `most`; who asks takes them."""
        if not answers:
            return most
        step = self._step(answers)
        affordable = int(step / self._token) if step and self._token else 0
        if _SLOWER * affordable >= _SMALL:
            return min(most, int(_SLOWER * affordable))
        if self._since < _APART:
            return 0
        self._since = 0
        return min(most, max(_SMALL, _LARGE * affordable) if affordable else _UNKNOWN)

    def _step(self, answers: int) -> float:
        nearest = min(self._steps, key=lambda known: abs(known - answers), default=0)
        return self._steps.get(nearest, 0.0)


def shares(prompts: Sequence[tuple[int, int]], room: int, long_room: int) -> list[int]:
    """How many tokens of each prompt a step takes, of `room` in all and `long_room` of long ones.

    Each prompt is told by its tokens that are left, and those it had to evaluate at first; they are served in order. While
    both kinds wait, neither takes all of the room, so that none has to wait for the end of the other kind.
    """
    longs = [i for i, (_, whole) in enumerate(prompts) if whole > LONG]
    shorts = [i for i, (_, whole) in enumerate(prompts) if whole <= LONG]
    kept = min(long_room, room // 2, sum(prompts[i][0] for i in longs))
    taken = [0] * len(prompts)
    left = room - kept
    for i in shorts:
        taken[i] = min(prompts[i][0], left)
        left -= taken[i]
    left = min(left + kept, long_room)
    for i in longs:
        taken[i] = min(prompts[i][0], left)
        left -= taken[i]
    return taken


def _mixed(old: float, new: float) -> float:
    return old + _NEWEST * (new - old) if old else new
