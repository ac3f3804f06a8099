"""The engine's part of the environment."""

from __future__ import annotations

import math

import pytest
from corral.cli.engine import engine_defaults
from corral.cli.settings import Settings
from corral.runtime.options import EngineDefaults
from corral.store.errors import InputError


def defaults(**variables: str) -> EngineDefaults:
    return engine_defaults(Settings({f"OLLAMA_{name}": value for name, value in variables.items()}))


def test_what_nobody_sets() -> None:
    found = defaults()
    assert found == EngineDefaults()
    assert found.slots == 4


@pytest.mark.parametrize(("text", "value"), [("", None), ("1", True), ("true", True), ("0", False), ("false", False)])
def test_flash_attention(text: str, value: bool | None) -> None:  # noqa: FBT001 - a parameter of the test
    assert defaults(FLASH_ATTENTION=text).flash_attention is value


@pytest.mark.parametrize(("text", "kind"), [("", "f16"), ("Q8_0", "q8_0"), ("q4_0", "q4_0"), ("iq4_nl", "iq4_nl")])
def test_the_type_of_the_cache(text: str, kind: str) -> None:
    assert defaults(KV_CACHE_TYPE=text).kv_cache_type == kind


def test_error_no_such_type_of_cache() -> None:
    with pytest.raises(InputError, match='OLLAMA_KV_CACHE_TYPE: "q9" is no type of KV cache') as caught:
        defaults(KV_CACHE_TYPE="q9")
    assert "q8_0" in (caught.value.hint or "")


def test_error_a_small_cache_needs_flash_attention() -> None:
    with pytest.raises(InputError, match="needs flash attention, which OLLAMA_FLASH_ATTENTION turns off"):
        defaults(KV_CACHE_TYPE="q8_0", FLASH_ATTENTION="0")
    assert defaults(KV_CACHE_TYPE="f32", FLASH_ATTENTION="0").kv_cache_type == "f32"


@pytest.mark.parametrize(("text", "seconds"), [("", 300), ("15m", 900), ("0", 0), ("-1", math.inf), ("7", 7)])
def test_how_long_a_load_may_stand_still(text: str, seconds: float) -> None:
    assert defaults(LOAD_TIMEOUT=text).load_timeout == seconds


def test_error_a_time_that_is_none() -> None:
    with pytest.raises(InputError, match="OLLAMA_LOAD_TIMEOUT: time: invalid duration"):
        defaults(LOAD_TIMEOUT="soon")


def test_gpus() -> None:
    found = defaults(GPU_OVERHEAD="1073741824", SCHED_SPREAD="1")
    assert (found.gpu_overhead, found.spread) == (1 << 30, True)
