"""Pace: how much of the waiting prompts a step takes, so that answers on their way keep theirs. Pure.

A step with a long piece of a prompt in it takes longer, and every answer waits for it. Short prompts go in whole, which
each answer notices once; of long ones a step takes what makes it somewhat longer, by what steps have taken so far.
"""

from __future__ import annotations

from collections.abc import Sequence

LONG = 256
"""A prompt with more tokens than this to evaluate is a long one."""
_SLOWER = 0.6
"""A piece of a long prompt may make a step longer by this part of it."""
_LEAST = 2
"""Tokens of long prompts in a step, however slow they are: they too must come to an end."""
_UNKNOWN = 16
_NEWEST = 0.25
"""Weight of the newest measurement."""


class Pace:
    """What steps take on this machine now."""

    def __init__(self) -> None:
        self._steps: dict[int, float] = {}
        """Seconds of a step with so many answers and nothing else."""
        self._token = 0.0
        """Seconds that a token of a prompt adds."""

    def observe(self, answers: int, prefilled: int, seconds: float) -> None:
        """A step with so many answers' tokens and so many of prompts took this long."""
        if not prefilled:
            self._steps[answers] = _mixed(self._steps.get(answers, 0.0), seconds)
            return
        step = self._step(answers) if answers else 0.0
        if seconds > step:
            self._token = _mixed(self._token, (seconds - step) / prefilled)

    def room(self, answers: int, most: int) -> int:
        """How many tokens of long prompts a step with so many answers should take, of `most`."""
        if not answers:
            return most
        step = self._step(answers)
        wanted = int(_SLOWER * step / self._token) if step and self._token else _UNKNOWN
        return min(most, max(_LEAST, wanted))

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
