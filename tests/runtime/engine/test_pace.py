"""Pace: what of the waiting prompts goes into a step."""

from __future__ import annotations

import pytest
from corral.runtime.engine.pace import LONG, Pace, shares
from hypothesis import given, settings
from hypothesis import strategies as st

STEP = 0.05
"""Seconds of a step with some answers, of the machine that is made up here."""
CHEAP, DEAR = 0.0002, 0.003
"""Seconds of each token of a prompt: on a GPU, on a CPU."""


def measured(token: float, *, answers: int = 8, step: float = STEP) -> Pace:
    pace = Pace()
    for _ in range(10):
        pace.observe(answers, 0, step)
        pace.observe(answers, 100, step + 100 * token)
    return pace


def taken(pace: Pace, token: float, *, steps: int = 400, answers: int = 8) -> list[float]:
    """What each of the next steps takes, with a long prompt that has no end; as the last how many tokens of it went in."""
    seconds: list[float] = []
    tokens = 0
    for _ in range(steps):
        room = pace.room(answers, 512)
        seconds.append(STEP + room * token)
        pace.observe(answers, room, seconds[-1])
        tokens += room
    return [*seconds, tokens]


def test_with_nobody_to_wait_a_prompt_takes_all() -> None:
    assert Pace().room(0, 512) == 512
    assert measured(DEAR).room(0, 512) == 512


def test_before_anything_is_known_a_long_prompt_takes_a_bit() -> None:
    assert 0 < Pace().room(8, 512) < 256


@pytest.mark.parametrize("answers", [1, 8, 30])
def test_where_tokens_are_cheap_each_step_takes_some_and_none_twice_as_long(answers: int) -> None:
    pace = measured(CHEAP, answers=answers)
    assert all(0.3 * STEP < pace.room(answers, 512) * CHEAP < STEP for _ in range(100))


def test_where_they_are_dear_19_of_20_steps_are_as_short_as_ever() -> None:
    *seconds, tokens = taken(measured(DEAR), DEAR)
    assert sum(took > STEP for took in seconds) < len(seconds) / 20
    assert sum(seconds) < 2.2 * STEP * len(seconds)  # and the answers keep half of their pace
    assert tokens > 2000


def test_a_first_piece_does_not_wait() -> None:
    assert measured(DEAR).room(8, 512) > 64


def test_what_was_measured_with_other_company_is_better_than_nothing() -> None:
    assert measured(CHEAP, answers=8).room(6, 512) == measured(CHEAP, answers=8).room(8, 512)


def test_it_follows_a_machine_that_gets_slower() -> None:
    pace = measured(CHEAP)
    before = pace.room(8, 512)
    for _ in range(20):
        pace.observe(8, 100, STEP + 200 * CHEAP)
    assert pace.room(8, 512) < before * 0.6


@pytest.mark.parametrize("most", [1, 512])
def test_however_slow_it_is_a_prompt_comes_to_an_end(most: int) -> None:
    pace = measured(1.0)
    assert taken(pace, 1.0)[-1] > 0
    assert any(pace.room(8, most) for _ in range(1000) if pace.observe(8, 0, STEP) is None)


def test_short_prompts_go_in_whole_and_a_long_one_beside_them() -> None:
    assert shares([(4000, 4000), (45, 45), (LONG, LONG)], 512, 20) == [20, 45, LONG]


def test_what_is_left_of_a_long_prompt_is_still_a_long_ones() -> None:
    assert shares([(100, 4000), (45, 45)], 512, 20) == [20, 45]


def test_short_prompts_do_not_shut_a_long_one_out() -> None:
    taken = shares([(4000, 4000), *[(LONG, LONG)] * 10], 512, 512)
    assert taken[0] == 256
    assert sum(taken) == 512


def test_a_long_prompt_alone_takes_all_it_may() -> None:
    assert shares([(4000, 4000)], 512, 512) == [512]
    assert shares([(4000, 4000), (4000, 4000)], 512, 30) == [30, 0]


PROMPT = st.tuples(st.integers(1, 5000), st.integers(1, 5000)).map(lambda pair: (min(pair), max(pair)))


@settings(derandomize=True, deadline=None, max_examples=300)
@given(prompts=st.lists(PROMPT, max_size=12), room=st.integers(2, 2048), long_room=st.integers(1, 2048))
def test_no_step_is_overfull_and_none_idle(prompts: list[tuple[int, int]], room: int, long_room: int) -> None:
    taken = shares(prompts, room, min(long_room, room))
    assert all(0 <= share <= left for share, (left, _) in zip(taken, prompts, strict=True))
    assert sum(taken) <= room
    assert sum(share for share, (_, whole) in zip(taken, prompts, strict=True) if whole > LONG) <= long_room
    # Whoever is first of its kind gets on.
    for is_long in (False, True):
        kind = [share for share, (_, whole) in zip(taken, prompts, strict=True) if (whole > LONG) == is_long]
        assert not kind or kind[0] > 0
