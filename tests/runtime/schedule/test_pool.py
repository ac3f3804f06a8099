"""A pool of models: what is loaded, how long it stays, and what becomes of those who use it."""

from __future__ import annotations

import asyncio
import math

import pytest
from corral.runtime.engine.process import ModelLoadError, StoppingError
from corral.runtime.engine.protocol import Adapter, LoadOptions
from corral.runtime.schedule.policy import Wanted
from corral.runtime.schedule.pool import Pool
from corral.runtime.schedule.runner import ModelKey, Runner

from corral import Digest
from tests.runtime.conftest import kill
from tests.runtime.schedule.pools import (
    FOREVER,
    LARGE,
    SMALL,
    A,
    B,
    C,
    Loads,
    in_pool,
    key,
    names,
    settle,
    until,
    use,
    using,
)


def test_a_model_is_loaded_once_and_kept() -> None:
    async def run(pool: Pool, loads: Loads) -> None:
        first = await use(pool, A)
        assert await use(pool, A) is first
        assert loads.names == ["a"]

    in_pool(run)


def test_all_who_want_a_model_wait_for_one_load() -> None:
    async def run(pool: Pool, loads: Loads) -> None:
        runners = await asyncio.gather(*(use(pool, A) for _ in range(10)))
        assert len(set(map(id, runners))) == 1
        assert loads.names == ["a"]

    in_pool(run)


def test_names_with_the_same_weights_share_a_worker() -> None:
    async def run(pool: Pool, loads: Loads) -> None:
        first = await use(pool, A)
        twin = ModelKey("twin", Digest("sha256", "1" * 64), A.path)
        assert await use(pool, twin) is first
        assert names(pool) == {"a"}
        assert set(first.asked) == {"a", "twin"}
        assert loads.names == ["a"]

    in_pool(run)


def test_a_larger_context_loads_anew_and_a_smaller_one_does_not() -> None:
    async def run(pool: Pool, loads: Loads) -> None:
        small = await use(pool, A, options=SMALL)
        large = await use(pool, A, options=LARGE)
        assert large is not small
        assert small.worker.is_dead
        assert await use(pool, A, options=SMALL) is large
        assert loads.names == ["a", "a"]

    in_pool(run)


def test_a_model_in_use_is_not_replaced_until_it_is_free() -> None:
    async def run(pool: Pool, loads: Loads) -> None:
        async with using(pool, A) as small:
            waiting = asyncio.create_task(use(pool, A, options=LARGE))
            await settle()
            assert not waiting.done()
            assert not small.worker.is_dead
        assert (await waiting).options == LARGE.options
        assert loads.names == ["a", "a"]

    in_pool(run)


def test_models_with_other_adapters_are_loaded_beside_each_other() -> None:
    async def run(pool: Pool, loads: Loads) -> None:
        adapters = (Adapter("/a.gguf"),)
        tuned = ModelKey("tuned", None, A.path, adapters)
        wanted = Wanted(options=LoadOptions(num_ctx=64, slots=1, adapters=adapters))
        plain = await use(pool, A)
        assert await use(pool, tuned, options=wanted) is not plain
        assert await use(pool, A) is plain
        pool.unload(tuned)
        assert names(pool) == {"a"}
        assert loads.names == ["a", "tuned"]

    in_pool(run)


def test_a_model_goes_when_its_time_is_over() -> None:
    async def run(pool: Pool, _: Loads) -> None:
        runner = await use(pool, A, keep_alive=0.01)
        await until(lambda: runner.worker.is_dead)
        assert names(pool) == set()

    in_pool(run)


def test_the_time_begins_when_the_last_request_ends() -> None:
    async def run(pool: Pool, _: Loads) -> None:
        async with pool.lease(A, SMALL, 0.01) as runner:
            await asyncio.sleep(0.1)
            assert not runner.worker.is_dead
            assert runner.expires_in == 0.01
        await until(lambda: runner.worker.is_dead)

    in_pool(run)


def test_each_request_sets_the_time_anew() -> None:
    async def run(pool: Pool, _: Loads) -> None:
        await use(pool, A, keep_alive=0.02)
        runner = await use(pool, A, keep_alive=FOREVER)
        await asyncio.sleep(0.1)
        assert not runner.worker.is_dead
        assert math.isinf(runner.expires_in)
        await use(pool, A, keep_alive=1e300)
        assert 1e299 < runner.expires_in <= 1e300
        await use(pool, A, keep_alive=0)
        await until(lambda: runner.worker.is_dead)

    in_pool(run)


def test_unloading_waits_for_those_who_use_the_model() -> None:
    async def run(pool: Pool, _: Loads) -> None:
        async with using(pool, A) as runner:
            pool.unload(A)
            await settle()
            assert not runner.worker.is_dead
        assert names(pool) == set()
        pool.unload(A)

    in_pool(run)


def test_error_a_pool_that_closes_ends_whoever_loads_waits_or_comes() -> None:
    async def run(pool: Pool, loads: Loads) -> None:
        async with using(pool, A):
            waiting = [asyncio.create_task(use(pool, which)) for which in (B, C)]
            await settle()
            assert loads.names == ["a"]
            await pool.close()
            assert {type(end) for end in await asyncio.gather(*waiting, return_exceptions=True)} == {StoppingError}
        with pytest.raises(StoppingError, match="server is shutting down"):
            await use(pool, A)

    in_pool(run, max_loaded=1)


def test_error_a_pool_that_closes_ends_a_load() -> None:
    async def run(pool: Pool, loads: Loads) -> None:
        loads.gate.clear()
        loading = asyncio.create_task(use(pool, A))
        await settle()
        await pool.close()
        with pytest.raises(StoppingError):
            await loading

    in_pool(run)


def test_error_a_load_that_fails_fails_its_request_only() -> None:
    async def run(pool: Pool, _: Loads) -> None:
        broken, good = await asyncio.gather(use(pool, key("broken")), use(pool, A), return_exceptions=True)
        assert isinstance(broken, ModelLoadError)
        assert isinstance(good, Runner)
        assert names(pool) == {"a"}

    in_pool(run)


def test_a_client_who_gives_up_while_loading_does_not_hold_up_the_next() -> None:
    async def run(pool: Pool, loads: Loads) -> None:
        loads.gate.clear()
        gone = asyncio.create_task(use(pool, A))
        await settle()
        gone.cancel()
        await settle()
        next_one = asyncio.create_task(use(pool, B))
        await settle()
        loads.gate.set()
        await next_one
        assert gone.cancelled()
        assert names(pool) == {"b"}

    in_pool(run, max_queue=1)


def test_a_worker_that_died_is_replaced() -> None:
    async def run(pool: Pool, loads: Loads) -> None:
        first = await use(pool, A)
        kill(first.worker.pid)
        await until(lambda: first.worker.is_dead)
        assert names(pool) == set()
        assert await use(pool, A) is not first
        assert loads.names == ["a", "a"]

    in_pool(run)


def test_a_worker_that_dies_in_use_makes_room() -> None:
    async def run(pool: Pool, _: Loads) -> None:
        async with using(pool, A) as runner:
            kill(runner.worker.pid)
            await until(lambda: runner.worker.is_dead)
            assert (await use(pool, B)).key == B
        assert names(pool) == {"b"}

    in_pool(run, max_loaded=1)


def test_those_that_stay_longest_are_listed_first() -> None:
    async def run(pool: Pool, _: Loads) -> None:
        await use(pool, A, keep_alive=50)
        await use(pool, B)
        await use(pool, C, keep_alive=500)
        assert [runner.key.name for runner in pool.runners()] == ["b", "c", "a"]

    in_pool(run)
