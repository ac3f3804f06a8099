"""Which layers go to which GPU, on devices nobody has."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from corral.runtime.schedule.devices import SPREAD, Layout, lay_out
from corral.runtime.schedule.memory import Estimate
from hypothesis import given, settings
from hypothesis import strategies as st

MODEL = Estimate(embedding=50, blocks=(10,) * 8, output=30, caches=(5,) * 8, compute=20)
"""150 bytes of layers can be on a GPU, besides what evaluation needs."""
WHOLE = 150 + 20


@dataclass(frozen=True)
class Card:
    free: int
    total: int = 1000
    kind: str = "gpu"


@pytest.mark.parametrize(
    ("free", "expected"),
    [
        (WHOLE, Layout(9, 0, WHOLE, is_whole=True)),
        (10 * WHOLE, Layout(9, 0, WHOLE, is_whole=True)),
        (WHOLE - 1, Layout(8, 0, 20 + 30 + 7 * 15, is_whole=False)),
        (20 + 30, Layout(1, 0, 50, is_whole=False)),
        (20 + 29, Layout(0, 0, 0, is_whole=False)),
        (0, Layout(0, 0, 0, is_whole=False)),
    ],
)
def test_as_many_layers_as_fit(free: int, expected: Layout) -> None:
    assert lay_out(MODEL, [Card(free)]) == expected


def test_without_a_device_all_stay_here() -> None:
    assert lay_out(MODEL, []) == lay_out(MODEL, [], num_gpu=99) == Layout(0, 0, 0, is_whole=True)
    assert lay_out(MODEL, [Card(999)], num_gpu=0) == Layout(0, 0, 0, is_whole=True)


def test_what_is_to_stay_free_does() -> None:
    assert lay_out(MODEL, [Card(WHOLE + 7)], overhead=7).is_whole
    assert not lay_out(MODEL, [Card(WHOLE + 7)], overhead=8).is_whole


def test_a_number_of_layers_is_obeyed() -> None:
    assert lay_out(MODEL, [Card(999)], num_gpu=3) == Layout(3, 0, 20 + 30 + 30, is_whole=True)
    assert lay_out(MODEL, [Card(0)], num_gpu=99) == Layout(9, 0, WHOLE, is_whole=False)


def test_one_device_takes_all_where_it_can() -> None:
    assert lay_out(MODEL, [Card(WHOLE), Card(WHOLE + 1)]) == Layout(9, 1, WHOLE, is_whole=True)
    assert lay_out(MODEL, [Card(WHOLE + 5), Card(WHOLE)], main_gpu=1).main_gpu == 1
    assert lay_out(MODEL, [Card(100), Card(999)], main_gpu=0) == Layout(4, 0, 20 + 30 + 45, is_whole=False)
    assert lay_out(MODEL, [Card(WHOLE), Card(10)], main_gpu=7).main_gpu == 0


def test_where_none_can_all_do() -> None:
    assert lay_out(MODEL, [Card(120), Card(120)]) == Layout(9, SPREAD, 150 + 2 * 20, is_whole=True)
    assert lay_out(MODEL, [Card(999), Card(999)], spread=True).main_gpu == SPREAD
    assert not lay_out(MODEL, [Card(90), Card(90)]).is_whole


@settings(derandomize=True, deadline=None, max_examples=300)
@given(
    st.lists(st.integers(0, 400), max_size=4),
    st.integers(0, 50),
    st.booleans(),
    st.none() | st.integers(-3, 5),
)
def test_no_device_is_given_more_than_it_has(
    free: list[int], overhead: int, spread: bool, main_gpu: int | None  # noqa: FBT001 - hypothesis gives it
) -> None:  # fmt: skip
    found = lay_out(MODEL, [Card(size) for size in free], overhead=overhead, spread=spread, main_gpu=main_gpu)
    assert 0 <= found.num_gpu <= 9
    assert found.is_whole == (found.num_gpu == 9 or not free)
    if found.num_gpu:
        usable = [max(0, size - overhead) for size in free]
        assert found.vram <= (usable[found.main_gpu] if found.main_gpu != SPREAD else sum(usable))
