"""ThreadTuner, on machines that are made up."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import pytest
from corral.runtime.engine.tuner import ThreadTuner, candidates

Machine: TypeAlias = "Callable[[int], tuple[float, float]]"
"""How long a step takes with so many threads, and the part of their cores' time that they have."""


def used(tuner: ThreadTuner, machine: Machine, *, steps: int, tokens: int = 4) -> list[int]:
    """The threads of so many steps."""
    chosen: list[int] = []
    for _ in range(steps):
        threads = tuner.choose(tokens)
        chosen.append(threads)
        seconds, share = machine(threads)
        tuner.observe(threads, tokens, seconds, share * seconds * threads)
    return chosen


def idle(threads: int) -> tuple[float, float]:
    return 0.04 / threads, 0.96


def busy(threads: int) -> tuple[float, float]:
    """Another program has one of two cores."""
    return (0.04, 1.0) if threads == 1 else (0.3, 0.5)


@pytest.mark.parametrize(("most", "expected"), [(1, [1]), (2, [1, 2]), (6, [1, 2, 4, 6]), (8, [1, 2, 4, 8])])
def test_the_numbers_tried_are_few(most: int, expected: list[int]) -> None:
    assert candidates(most) == expected


def test_one_number_is_no_choice() -> None:
    assert set(used(ThreadTuner([3]), busy, steps=50)) == {3}


def test_an_idle_machine_is_used_whole() -> None:
    assert set(used(ThreadTuner(candidates(2)), idle, steps=2000)) == {2}


def test_a_step_that_was_interrupted_changes_nothing() -> None:
    tuner = ThreadTuner(candidates(2))
    for _ in range(20):
        assert set(used(tuner, busy, steps=2)) == {2}
        assert set(used(tuner, idle, steps=20)) == {2}


@pytest.mark.parametrize("share", [0.97, 0.88, 0.85, 0.78])
def test_a_machine_that_is_disturbed_once_is_used_whole_again(share: float) -> None:
    tuner = ThreadTuner(candidates(8))
    used(tuner, lambda threads: (0.04 / threads, share), steps=500)
    used(tuner, lambda threads: (0.3 / threads, 0.4), steps=8)
    assert set(used(tuner, lambda threads: (0.04 / threads, share), steps=3000)[-500:]) == {8}


def test_fewer_threads_that_are_as_fast_are_preferred_where_cores_are_shared() -> None:
    machine = {1: (0.04, 1.0), 2: (0.04, 0.9), 4: (0.041, 0.6)}
    assert used(ThreadTuner(candidates(4)), machine.__getitem__, steps=500).count(1) > 470


def test_a_core_that_is_taken_away_is_done_without() -> None:
    tuner = ThreadTuner(candidates(2))
    used(tuner, idle, steps=500)
    assert used(tuner, busy, steps=100).count(2) <= 12


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
