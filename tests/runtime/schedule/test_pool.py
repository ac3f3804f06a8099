"""The pool of loaded models, with real worker processes that run the FakeDecoder."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from corral.runtime.engine.process import ModelLoadError, StoppingError, Worker
from corral.runtime.engine.protocol import LoadOptions
from corral.runtime.schedule.pool import BusyError, ModelKey, Pool, Runner

from corral import Digest
from tests.runtime.conftest import PATIENCE, kill

SMALL = LoadOptions(num_ctx=64, slots=1)
LARGE = LoadOptions(num_ctx=128, slots=1)
FOREVER = math.inf


def key(name: str) -> ModelKey:
    return ModelKey(name, Digest("sha256", "0" * 64), Path(f"/models/{name}"))


A, B, C = key("a"), key("b"), key("c")


class Loads:
    """Starts workers, and says which."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.workers: list[Worker] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def start(self, name: str, _: str, options: LoadOptions) -> Worker:
        self.names.append(name)
        await self.gate.wait()
        if name == "broken":
            raise ModelLoadError("model 'broken' cannot be loaded")
        self.workers.append(await Worker.start(name, "fake:0", options))
        return self.workers[-1]


def in_pool(
    test: Callable[[Pool, Loads], Coroutine[Any, Any, None]], *, max_loaded: int = 3, max_queue: int = 512
) -> None:
    """Run a test's coroutine with a pool; afterwards no worker may be left."""

    async def run() -> None:
        loads = Loads()
        pool = Pool(max_loaded=max_loaded, max_queue=max_queue, start=loads.start)
        await test(pool, loads)
        await pool.close()
        assert not [worker for worker in loads.workers if psutil.pid_exists(worker.pid)]
        assert pool.runners() == []

    asyncio.run(asyncio.wait_for(run(), PATIENCE))


async def use(pool: Pool, which: ModelKey, *, options: LoadOptions = SMALL, keep_alive: float = FOREVER) -> Runner:
    """Use a model for a moment."""
    async with pool.lease(which, options, keep_alive) as runner:
        return runner


@asynccontextmanager
async def using(pool: Pool, which: ModelKey, options: LoadOptions = SMALL) -> AsyncGenerator[Runner]:
    async with pool.lease(which, options, FOREVER) as runner:
        yield runner


def names(pool: Pool) -> set[str]:
    return {runner.key.name for runner in pool.runners()}


async def settle() -> None:
    """Let everything that can go on do so."""
    for _ in range(20):
        await asyncio.sleep(0)


async def until(holds: Callable[[], bool]) -> None:
    while not holds():
        await asyncio.sleep(0.005)


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
        assert (await waiting).options == LARGE
        assert loads.names == ["a", "a"]

    in_pool(run)


def test_the_model_idle_longest_makes_room() -> None:
    async def run(pool: Pool, _: Loads) -> None:
        for which in (A, B, A, C):
            await use(pool, which)
        assert names(pool) == {"a", "c"}

    in_pool(run, max_loaded=2)


def test_a_busy_model_makes_no_room_and_the_others_do() -> None:
    async def run(pool: Pool, _: Loads) -> None:
        async with using(pool, A):
            await use(pool, B)
            await use(pool, C)
            assert names(pool) == {"a", "c"}

    in_pool(run, max_loaded=2)


def test_when_all_are_busy_a_new_model_waits_for_one() -> None:
    async def run(pool: Pool, loads: Loads) -> None:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(using(pool, A))
            waiting = asyncio.create_task(use(pool, B))
            await settle()
            assert loads.names == ["a"]
        await waiting
        assert loads.names == ["a", "b"]
        assert names(pool) == {"b"}

    in_pool(run, max_loaded=1)


def test_a_loaded_model_is_served_while_another_waits_for_room() -> None:
    async def run(pool: Pool, _: Loads) -> None:
        async with using(pool, A) as first:
            waiting = asyncio.create_task(use(pool, B))
            await settle()
            assert await use(pool, A) is first
        await waiting

    in_pool(run, max_loaded=1)


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
            pool.unload(A.path)
            await settle()
            assert not runner.worker.is_dead
        assert names(pool) == set()
        pool.unload(A.path)

    in_pool(run)


def test_error_too_many_who_wait_for_a_load_are_refused() -> None:
    async def run(pool: Pool, loads: Loads) -> None:
        await use(pool, C)
        loads.gate.clear()
        waiting = [asyncio.create_task(use(pool, which)) for which in (A, B)]
        await settle()
        with pytest.raises(BusyError, match=r"server busy, please try again\.  maximum pending requests exceeded"):
            await use(pool, A)
        assert (await use(pool, C)).key == C
        loads.gate.set()
        await asyncio.gather(*waiting)
        assert names(pool) == {"a", "b", "c"}

    in_pool(run, max_queue=2)


def test_a_queue_of_no_length_is_the_default_one() -> None:
    async def run(pool: Pool, _: Loads) -> None:
        assert await asyncio.gather(*(use(pool, which) for which in (A, B, C)))

    in_pool(run, max_queue=0)


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
