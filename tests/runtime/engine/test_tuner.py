"""ThreadTuner, on machines that are made up."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from corral.runtime.engine.tuner import ThreadTuner, candidates


def used(tuner: ThreadTuner, seconds: Callable[[int], float], *, steps: int, tokens: int = 4) -> list[int]:
    """The threads of so many steps on a machine where a step takes what `seconds` says."""
    chosen: list[int] = []
    for _ in range(steps):
        threads = tuner.choose(tokens)
        chosen.append(threads)
        tuner.observe(threads, tokens, seconds(threads))
    return chosen


def idle(threads: int) -> float:
    return 0.04 / threads


def busy(threads: int) -> float:
    """Another program has one of two cores."""
    return 0.04 if threads == 1 else 0.3


@pytest.mark.parametrize(("most", "expected"), [(1, [1]), (2, [1, 2]), (6, [1, 2, 4, 6]), (8, [1, 2, 4, 8])])
def test_the_numbers_tried_are_few(most: int, expected: list[int]) -> None:
    assert candidates(most) == expected


def test_one_number_is_no_choice() -> None:
    assert set(used(ThreadTuner([3]), busy, steps=50)) == {3}


def test_an_idle_machine_is_used_whole() -> None:
    chosen = used(ThreadTuner(candidates(2)), idle, steps=2000)
    assert chosen[0] == 2
    assert chosen.count(1) < 20


def test_fewer_threads_that_are_as_fast_are_preferred() -> None:
    chosen = used(ThreadTuner(candidates(4)), lambda threads: 0.04 if threads < 4 else 0.041, steps=500)
    assert chosen.count(1) > 480


def test_a_core_that_is_taken_away_is_done_without() -> None:
    tuner = ThreadTuner(candidates(2))
    used(tuner, idle, steps=500)
    assert used(tuner, busy, steps=100).count(2) <= 8


def test_a_core_that_comes_back_is_used_again() -> None:
    tuner = ThreadTuner(candidates(2))
    used(tuner, busy, steps=300)
    chosen = used(tuner, idle, steps=1500)
    assert set(chosen[-100:]) <= {1, 2}
    assert chosen[-500:].count(2) > 450


def test_steps_of_other_sizes_are_judged_by_themselves() -> None:
    tuner = ThreadTuner(candidates(2))
    used(tuner, busy, steps=100, tokens=1)
    assert used(tuner, idle, steps=100, tokens=300).count(2) > 90
    assert used(tuner, busy, steps=100, tokens=1).count(1) > 90
