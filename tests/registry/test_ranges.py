"""Ranges: which are asked for, who takes over from whom, and that no byte is asked for or written twice without need."""

from __future__ import annotations

import random

import pytest
from corral.registry.ranges import Flight, Schedule, check_range
from corral.store.spans import Spans
from hypothesis import given
from hypothesis import strategies as st

MIB = 1 << 20


def schedule(size: int, streams: int = 4, *, has_ranges: bool | None = None) -> Schedule:
    return Schedule(size, Spans(), streams, has_ranges)


def bring(plan: Schedule, flight: Flight, count: int) -> tuple[int, int]:
    claimed = plan.claim(flight, count)
    plan.settle(flight)
    return claimed


def test_the_first_one_goes_alone_until_it_is_known_that_there_are_ranges() -> None:
    plan = schedule(100 * MIB)
    first = plan.next(0.0)
    assert first
    assert (first.start, first.stop, first.is_whole) == (0, 8 * MIB, False)
    assert plan.next(0.0) is None
    plan.has_ranges = True
    second = plan.next(0.0)
    assert second
    assert (second.start, second.stop) == (8 * MIB, 16 * MIB)


def test_a_small_blob_is_asked_for_whole() -> None:
    flight = schedule(8 * MIB).next(0.0)
    assert flight
    assert flight.is_whole


def test_pieces_of_a_large_blob_are_larger() -> None:
    plan = schedule(1 << 40, has_ranges=True)
    flight = plan.next(0.0)
    assert flight
    assert flight.stop == 256 * MIB


def test_without_ranges_one_brings_all_and_what_is_there_is_not_written_again() -> None:
    plan = schedule(20 * MIB)
    flight = plan.next(0.0)
    assert flight
    plan.take_whole(flight)
    assert (flight.is_whole, flight.stop) == (True, 20 * MIB)
    assert bring(plan, flight, 5 * MIB) == (0, 5 * MIB)
    plan.end(flight, 1.0)
    again = plan.next(1.0)
    assert again
    assert (again.start, again.is_whole) == (0, True)
    start, stop = bring(plan, again, 4 * MIB)
    assert start >= stop
    assert bring(plan, again, 4 * MIB) == (5 * MIB, 8 * MIB)


def test_one_that_gets_the_whole_for_a_later_range_gives_up() -> None:
    plan = schedule(20 * MIB)
    plan.done.add(0, 10 * MIB)
    flight = plan.next(0.0)
    assert flight
    assert flight.start == 10 * MIB
    plan.take_whole(flight)
    assert flight.is_called_off
    plan.end(flight, 0.0)
    whole = plan.next(0.0)
    assert whole
    assert (whole.start, whole.stop) == (0, 20 * MIB)


def all_flying(plan: Schedule, now: float) -> list[Flight]:
    flights: list[Flight] = []
    while flight := plan.next(now):
        flights.append(flight)
    return flights


def test_half_of_what_the_slowest_has_left_is_taken_over() -> None:
    plan = schedule(32 * MIB, has_ranges=True)
    flights = all_flying(plan, 0.0)
    assert len(flights) == 4
    for flight in flights[1:]:
        bring(plan, flight, 8 * MIB)
        plan.end(flight, 2.0)
    bring(plan, flights[0], 2 * MIB)
    helper = plan.taken_over(2.0)
    assert helper
    assert (flights[0].stop, helper.start, helper.stop) == (5 * MIB, 5 * MIB, 8 * MIB)
    assert not flights[0].is_called_off


def test_one_that_stands_still_is_called_off() -> None:
    plan = schedule(32 * MIB, has_ranges=True)
    flights = all_flying(plan, 0.0)
    for flight in flights[1:]:
        bring(plan, flight, 8 * MIB)
        plan.end(flight, 1.0)
    bring(plan, flights[0], 1000)
    half = plan.taken_over(2.0)  # not all, before it can be told that it crawls
    assert half
    assert not flights[0].is_called_off
    rest = plan.taken_over(10.0)
    assert rest
    assert (rest.start, rest.stop) == (1000, half.start)
    assert flights[0].is_called_off
    assert plan.claim(flights[0], 1000) == (1000, 1000)


def test_nobody_helps_where_it_is_nearly_done() -> None:
    plan = schedule(32 * MIB, has_ranges=True)
    flights = all_flying(plan, 0.0)
    for flight in flights:
        bring(plan, flight, 8 * MIB - 1000)
    assert plan.taken_over(0.5) is None


@given(st.randoms(use_true_random=False), st.integers(1, 64 * MIB), st.integers(1, 8))
def test_whoever_fails_whenever_each_byte_is_written_once(draws: random.Random, size: int, streams: int) -> None:
    plan = schedule(size, streams, has_ranges=True)
    written = Spans()
    now = 0.0
    for _ in range(3000):
        if plan.is_done:
            break
        now += draws.random() * 2
        flight = plan.next(now) or plan.taken_over(now) if len(plan.flights) < streams else None
        flight = flight or (draws.choice(plan.flights) if plan.flights else None)
        assert flight, "nothing to do, and not done"
        start, stop = plan.claim(flight, draws.choice([1, 65536, MIB, 16 * MIB]))
        before = written.total
        written.add(start, stop)
        assert written.total == before + stop - start
        plan.settle(flight)
        if not flight.left or draws.random() < 0.1:
            plan.end(flight, now)
    assert list(plan.done) == list(written)


@pytest.mark.parametrize(
    ("header", "is_right"),
    [
        ("bytes 5-9/20", True),
        (" bytes 5-9/20 ", True),
        ("bytes 5-9/*", True),
        ("bytes 5-9/21", False),
        ("bytes 5-10/20", False),
        ("bytes 4-9/20", False),
        ("bytes */20", False),
        ("items 5-9/20", False),
        ("bytes 5-9", False),
        ("bytes 5-9/" + "9" * 100, False),
        ("", False),
        ("bytes ٥-9/20", False),
    ],
)
def test_only_the_range_that_was_asked_for_will_do(header: str, is_right: bool) -> None:  # noqa: FBT001
    if is_right:
        check_range(header, 5, 10, 20)
    else:
        with pytest.raises(ValueError, match="asked for bytes 5-9/20, got "):
            check_range(header, 5, 10, 20)
