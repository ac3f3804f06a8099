"""Which loaded model serves a request, and which goes."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import pytest
from corral.runtime.engine.protocol import LoadOptions
from corral.runtime.schedule.policy import serves, victim

LOADED = LoadOptions(num_ctx=4096, slots=4)


@dataclass
class Model:
    users: int
    last_used: float


def test_a_smaller_context_needs_no_reload() -> None:
    assert serves(LOADED, LOADED)
    assert serves(LOADED, msgspec.structs.replace(LOADED, num_ctx=8))
    assert not serves(LOADED, msgspec.structs.replace(LOADED, num_ctx=4097))


@pytest.mark.parametrize(
    "change",
    [
        {"slots": 5},
        {"num_batch": 64},
        {"num_gpu": 0},
        {"main_gpu": 1},
        {"use_mmap": False},
        {"num_thread": 3},
        {"deterministic": True},
    ],
)
def test_any_other_difference_needs_one(change: dict[str, int]) -> None:
    assert not serves(LOADED, msgspec.structs.replace(LOADED, **change))
    assert not serves(LOADED, msgspec.structs.replace(LOADED, num_ctx=8, **change))


def test_the_model_idle_longest_goes() -> None:
    busy, old, new = Model(1, 0), Model(0, 1), Model(0, 2)
    assert victim([busy, new, old]) is old


def test_a_busy_model_never_goes() -> None:
    assert victim([Model(1, 0), Model(2, 5)]) is None
    assert victim([]) is None
