"""Which loaded model serves a request, which goes, and who is next."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
from corral.runtime.engine.protocol import LoadOptions
from corral.runtime.schedule.policy import Line, Wanted, last_of_longest, serves, victim
from hypothesis import given, settings
from hypothesis import strategies as st

LOADED = LoadOptions(num_ctx=4096, slots=4)
FIRST = Wanted(options=LOADED)


def wants(*, is_elastic: bool = False, **changes: bool | str | int) -> Wanted:
    return Wanted(options=msgspec.structs.replace(LOADED, **changes), is_elastic=is_elastic)


@dataclass
class Model:
    users: int = 0
    keep_alive: float = 300
    last_used: float = 0
    path: str = "/a"


def test_a_smaller_context_needs_no_reload() -> None:
    assert serves(LOADED, FIRST, FIRST)
    assert serves(LOADED, FIRST, wants(num_ctx=8))
    assert not serves(LOADED, FIRST, wants(num_ctx=4097))


def test_what_was_granted_for_want_of_memory_is_enough_for_who_asked_for_nothing() -> None:
    granted = msgspec.structs.replace(LOADED, num_ctx=2048)
    first = wants(is_elastic=True)
    assert serves(granted, first, first)
    assert serves(granted, first, wants(num_ctx=2048))
    assert not serves(granted, first, wants(num_ctx=4096))


def test_what_was_granted_of_what_somebody_asked_for_is_enough_for_the_next_who_asks_so() -> None:
    granted = msgspec.structs.replace(LOADED, num_ctx=2048)
    assert serves(granted, wants(num_ctx=8192), wants(num_ctx=8192))
    assert not serves(granted, wants(num_ctx=8192), wants(num_ctx=8193))


def test_who_asks_for_nothing_is_content_with_a_usual_context_but_not_with_a_tiny_one() -> None:
    elastic = wants(num_ctx=131072, is_elastic=True)
    assert serves(msgspec.structs.replace(LOADED, num_ctx=4096), wants(num_ctx=4096), elastic)
    assert not serves(msgspec.structs.replace(LOADED, num_ctx=512), wants(num_ctx=512), elastic)
    assert serves(msgspec.structs.replace(LOADED, num_ctx=512), wants(num_ctx=512), wants(num_ctx=512, is_elastic=True))


@pytest.mark.parametrize(
    "change",
    [
        {"slots": 5},
        {"num_batch": 64},
        {"num_gpu": 0},
        {"main_gpu": 1},
        {"use_mmap": False},
        {"num_thread": 3},
        {"kv_cache_type": "q8_0"},
        {"flash_attention": True},
        {"embeds": True},
        {"deterministic": True},
    ],
)
def test_any_other_difference_needs_one(change: dict[str, Any]) -> None:
    assert not serves(LOADED, FIRST, wants(**change))
    assert not serves(LOADED, FIRST, wants(num_ctx=8, **change))


def test_layers_on_the_gpu_are_as_they_are_for_who_asked_for_none() -> None:
    placed = msgspec.structs.replace(LOADED, num_gpu=20)
    assert serves(placed, FIRST, FIRST)
    assert serves(placed, FIRST, wants(num_gpu=20))
    assert serves(placed, wants(num_gpu=20), FIRST)
    assert serves(placed, wants(num_gpu=99), wants(num_gpu=99))
    assert not serves(placed, FIRST, wants(num_gpu=19))


@pytest.mark.parametrize(
    ("goes", "stays"),
    [
        (Model(keep_alive=900), Model(users=1, keep_alive=5)),
        (Model(keep_alive=5, last_used=9), Model(keep_alive=900)),
        (Model(keep_alive=5, path="/z"), Model(keep_alive=float("inf"))),
        (Model(last_used=1, path="/z"), Model(last_used=2)),
        (Model(), Model(path="/b")),
        (Model(users=3), Model(users=1, path="/b")),
    ],
)
def test_who_goes_first(goes: Model, stays: Model) -> None:
    assert victim([goes, stays]) is goes
    assert victim([stays, goes]) is goes


def test_of_none_none_goes() -> None:
    assert victim([]) is None


def line(*clients: str) -> Line[str]:
    made: Line[str] = Line()
    for number, client in enumerate(clients):
        made.add(client, f"{client}{number}")
    return made


def test_clients_take_turns_and_each_ones_own_keep_their_order() -> None:
    assert list(line(*"xxxyyz")) == ["x0", "y3", "z5", "x1", "y4", "x2"]


def test_a_client_that_was_served_is_behind_the_others() -> None:
    waiting = line(*"xxyz")
    waiting.take("x", "x0")
    assert list(waiting) == ["y2", "z3", "x1"]
    waiting.add("new", "new")
    waiting.take("y", "y2")
    waiting.add("y", "y")
    assert list(waiting) == ["z3", "x1", "new", "y"]


def test_who_gives_up_loses_no_turn() -> None:
    waiting = line(*"xxyy")
    waiting.discard("x", "x0")
    assert list(waiting) == ["x1", "y2", "y3"]
    waiting.discard("x", "x1")
    waiting.discard("y", "y2")
    assert list(waiting) == ["y3"]
    assert len(waiting) == 1


@settings(derandomize=True, deadline=None, max_examples=200)
@given(st.lists(st.one_of(st.sampled_from("abcd"), st.none()), max_size=60))
def test_whoever_waits_is_overtaken_by_each_other_client_at_most_once_more_than_he_is_served(
    steps: list[str | None],
) -> None:
    """None serves the next; a letter is a request of that client."""
    waiting: Line[tuple[str, int]] = Line()
    served_while_waiting: dict[str, dict[str, int]] = {}
    pending: dict[str, list[int]] = defaultdict(list)
    for number, client in enumerate([*steps, *[None] * len(steps)]):
        if client is not None:
            waiting.add(client, (client, number))
            pending[client].append(number)
            served_while_waiting.setdefault(client, defaultdict(int))
            continue
        order = list(waiting)
        assert len(order) == len(waiting) == sum(map(len, pending.values()))
        if not order:
            continue
        who, first = order[0]
        assert first == pending[who].pop(0)
        waiting.take(who, (who, first))
        served_while_waiting[who] = defaultdict(int)
        for other, counts in served_while_waiting.items():
            if pending[other] and other != who:
                counts[who] += 1
                assert counts[who] <= 1
        for other in [other for other in pending if not pending[other]]:
            served_while_waiting[other] = defaultdict(int)
    assert not len(waiting)


@dataclass(frozen=True)
class Waiter:
    client: str
    number: int


def test_when_too_many_wait_who_sends_most_is_refused() -> None:
    waiting = [Waiter("hog", 1), Waiter("hog", 2), Waiter("hog", 4), Waiter("guest", 5)]
    assert last_of_longest(waiting) == Waiter("hog", 4)
    assert last_of_longest(waiting[:1]) == Waiter("hog", 1)
    assert last_of_longest([Waiter("a", 1), Waiter("b", 2)]) == Waiter("b", 2)
