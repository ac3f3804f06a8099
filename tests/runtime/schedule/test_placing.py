"""How a model is loaded on machines that have just so much."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import pytest
from corral.runtime.engine.protocol import LoadOptions
from corral.runtime.schedule.machine import Room
from corral.runtime.schedule.memory import PROCESS, estimate
from corral.runtime.schedule.placing import Placement, Placer, Shortage, too_large
from corral.runtime.schedule.policy import Wanted
from corral.store.header import GGUF

MIB = 1 << 20
MODEL = GGUF(
    3,
    {
        "general.architecture": "llama",
        "llama.block_count": 8,
        "llama.embedding_length": 1024,
        "llama.attention.head_count": 8,
    },
    (),
    32,
    0,
    {},
)
"""Its keys and values take 32 KiB a token."""
OPTIONS = LoadOptions(num_ctx=16384, slots=1)
FIXED = Wanted(options=OPTIONS, header=MODEL)
ELASTIC = replace(FIXED, is_elastic=True)
NOWHERE = Path("/nowhere")


@dataclass(frozen=True)
class Card:
    free: int
    total: int
    kind: str = "gpu"


def needs(num_ctx: int) -> int:
    return estimate(MODEL, msgspec.structs.replace(OPTIONS, num_ctx=num_ctx)).total + PROCESS


def placed(
    wanted: Wanted, available: int, *cards: Card, may_shrink: bool = True, held: int = 0
) -> LoadOptions | Shortage:
    placer = Placer(room=lambda: Room(available, "this machine"), devices=lambda: cards)
    found = placer.place(wanted, held, name="m", may_shrink=may_shrink)
    return found.options if isinstance(found, Placement) else found


def context(found: LoadOptions | Shortage) -> int:
    assert isinstance(found, LoadOptions)
    return found.num_ctx


def test_what_fits_is_loaded_as_it_was_asked_for() -> None:
    found = placed(FIXED, needs(16384))
    assert found == msgspec.structs.replace(OPTIONS, num_gpu=0)
    assert placed(ELASTIC, 2 * needs(16384)) == found


def test_error_what_fits_with_no_context_at_all() -> None:
    found = placed(FIXED, needs(2048) - 1)
    assert isinstance(found, Shortage)
    error = too_large("big", found, 4)
    need = -(-needs(2048) // MIB)
    assert str(error) == (
        f"model 'big' needs {need} MiB of memory (with a context of 2048 tokens for each of 4 slots), "
        f"this machine has {(needs(2048) - 1) // MIB} MiB free"
    )
    assert error.hint
    assert "num_ctx" in error.hint
    assert (error.needs, error.available) == (needs(2048), needs(2048) - 1)


def test_a_context_is_made_shorter_until_it_fits_and_that_is_said(caplog: pytest.LogCaptureFixture) -> None:
    assert context(placed(FIXED, needs(16384) - 1)) == 8192
    assert caplog.messages == ["m: loaded with a context of 8192 tokens instead of 16384, to fit the memory"]
    assert context(placed(ELASTIC, needs(2048))) == 2048
    assert isinstance(placed(FIXED, needs(16384) - 1, may_shrink=False), Shortage)


@pytest.mark.parametrize(("memory", "num_ctx"), [(2 * needs(16384), 16384), (needs(16384), 8192), (needs(4096), 4096)])
def test_a_context_nobody_asked_for_leaves_memory_to_others(memory: int, num_ctx: int) -> None:
    assert context(placed(ELASTIC, memory, may_shrink=False)) == num_ctx


def test_a_models_own_context_may_be_shorter_than_the_least() -> None:
    small = replace(ELASTIC, options=msgspec.structs.replace(OPTIONS, num_ctx=500))
    assert context(placed(small, needs(500))) == 500
    assert isinstance(placed(small, needs(500) - 1), Shortage)


def test_the_weights_of_models_that_stay_are_not_free() -> None:
    assert isinstance(placed(FIXED, needs(16384), held=MIB, may_shrink=False), Shortage)
    assert context(placed(FIXED, needs(16384) + MIB, held=MIB)) == 16384


def test_a_gpu_takes_the_load_off_the_memory() -> None:
    card = Card(needs(16384), 80 << 30)
    found = placed(FIXED, PROCESS, card)
    assert isinstance(found, LoadOptions)
    assert (found.num_ctx, found.num_gpu) == (16384, 9)
    assert isinstance(placed(FIXED, PROCESS, replace(card, kind="igpu")), Shortage)


def test_a_context_nobody_asked_for_does_not_push_layers_off_the_gpu() -> None:
    card = Card(needs(8192), 80 << 30)
    found = placed(ELASTIC, needs(16384), card)
    assert isinstance(found, LoadOptions)
    assert (found.num_ctx, found.num_gpu) == (8192, 9)
    kept = placed(FIXED, needs(16384), card)
    assert isinstance(kept, LoadOptions)
    assert kept.num_ctx == 16384
    assert 0 < kept.num_gpu < 9
    tiny = placed(ELASTIC, needs(16384), Card(needs(2048), 80 << 30))
    assert context(tiny) == 16384


def test_of_what_nothing_is_known_nothing_is_asked() -> None:
    def never() -> Sequence[Card]:
        pytest.fail("asked for devices")

    found = Placer(devices=never, room=lambda: None).place(Wanted(options=OPTIONS), 0, name="m", may_shrink=False)
    assert found == Placement(OPTIONS, is_whole=True)


def test_devices_are_counted_once() -> None:
    asked: list[int] = []

    def cards() -> Sequence[Card]:
        asked.append(1)
        return [Card(1, 100), Card(1, 50)]

    placer = Placer(devices=cards, overhead=60)
    assert (placer.gpus(), placer.vram(), placer.vram(), asked) == (2, 40, 40, [1])
