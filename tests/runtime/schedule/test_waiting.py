"""Who waits in a pool of models, who is next, and what goes to make room."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest
from corral.runtime.engine.protocol import LoadOptions
from corral.runtime.schedule.placing import TooLargeError
from corral.runtime.schedule.policy import TURN, Wanted
from corral.runtime.schedule.pool import BusyError, Pool
from corral.runtime.schedule.runner import ModelKey

from tests.runtime.schedule.pools import (
    FOREVER,
    HUGE,
    LARGE,
    MIDDLING,
    SLOTS,
    SMALL,
    A,
    B,
    C,
    Loads,
    Memory,
    in_pool,
    names,
    settle,
    until,
    use,
    using,
)


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


def test_who_was_there_before_is_served_and_who_comes_later_waits() -> None:
    async def run(pool: Pool, loads: Loads) -> None:
        order: list[str] = []

        async def ask(label: str, which: ModelKey) -> None:
            async with pool.lease(which, SMALL, FOREVER):
                order.append(label)

        async with using(pool, A):
            asked = [asyncio.create_task(ask(f"a{i}", A)) for i in range(3)]
            await settle()
            asked.append(asyncio.create_task(ask("b", B)))
            await until(lambda: pool.runners()[0].turn is not None)
            asked += [asyncio.create_task(ask(f"late{i}", A)) for i in range(3)]
            await settle()
        await asyncio.gather(*asked)
        assert order == ["a0", "a1", "a2", "b", "late0", "late1", "late2"]
        assert loads.names == ["a", "b", "a"]

    in_pool(run, max_loaded=1)


def test_a_long_line_makes_room_after_its_turn() -> None:
    async def run(pool: Pool, _: Loads) -> None:
        served: list[str] = []

        async def ask(which: ModelKey) -> None:
            async with pool.lease(which, SMALL, FOREVER):
                served.append(which.name)

        async with using(pool, A):
            asked = [asyncio.create_task(ask(A)) for _ in range(3 * TURN)]
            await settle()
            asked.append(asyncio.create_task(ask(B)))
            await until(lambda: pool.runners()[0].turn is not None)
        await asyncio.gather(*asked)
        assert served.index("b") == TURN
        assert len(served) == 3 * TURN + 1

    in_pool(run, max_loaded=1)


def test_two_models_in_one_place_under_load_both_go_on() -> None:
    async def run(pool: Pool, loads: Loads) -> None:
        served = {"a": 0, "b": 0}

        async def ask(which: ModelKey, client: str) -> None:
            for _ in range(4):
                async with pool.lease(which, SLOTS, FOREVER, client=client) as runner:
                    assert runner.key == which
                    assert not runner.worker.is_dead
                    await asyncio.sleep(0)
                    served[which.name] += 1

        await asyncio.gather(*(ask(which, f"{which.name}{i}") for which in (A, B) for i in range(4)))
        assert served == {"a": 16, "b": 16}
        assert loads.names[:4] == ["a", "b", "a", "b"]

    in_pool(run, max_loaded=1)


def test_nobody_is_stuck_when_who_wanted_room_gives_up() -> None:
    async def run(pool: Pool, loads: Loads) -> None:
        async with using(pool, A):
            for wanted, which in ((SMALL, B), (LARGE, A)):
                gone = asyncio.create_task(use(pool, which, options=wanted))
                await until(lambda: pool.runners()[0].turn == 0)
                gone.cancel()
                await settle()
            waiting = asyncio.create_task(use(pool, A))
            await settle()
        await waiting
        assert loads.names == ["a"]

    in_pool(run, max_loaded=1)


def test_who_waits_already_goes_on_when_who_wanted_room_gives_up() -> None:
    async def run(pool: Pool, _: Loads) -> None:
        async with using(pool, A, options=SLOTS):
            gone = asyncio.create_task(use(pool, A, options=LARGE))
            await until(lambda: pool.runners()[0].turn == 0)
            waiting = asyncio.create_task(use(pool, A, options=SLOTS))
            await settle()
            assert not waiting.done()
            gone.cancel()
            await waiting  # beside the first, which still runs

    in_pool(run)


def test_a_client_with_many_requests_makes_way_for_one_with_few() -> None:
    async def run(pool: Pool, _: Loads) -> None:
        async def ask(client: str) -> str:
            async with pool.lease(A, SMALL, FOREVER, client=client):
                return client

        async with using(pool, A):
            hog = [asyncio.create_task(ask("hog")) for _ in range(3)]
            await settle()
            guest = asyncio.create_task(ask("guest"))
            await settle()
            assert isinstance(hog[2].exception(), BusyError)
        assert await asyncio.gather(guest, *hog[:2]) == ["guest", "hog", "hog"]

    in_pool(run, max_queue=3)


def test_a_model_stopped_while_it_loads_goes_after_its_first_use() -> None:
    async def run(pool: Pool, loads: Loads) -> None:
        loads.gate.clear()
        asked = asyncio.create_task(use(pool, A))
        await until(lambda: loads.names == ["a"])
        pool.unload(A)
        loads.gate.set()
        await asked
        await until(lambda: not pool.runners())
        assert loads.names == ["a"]

    in_pool(run)


def test_a_slot_is_one_requests_at_a_time() -> None:
    async def run(pool: Pool, _: Loads) -> None:
        most = now = 0

        async def ask() -> None:
            nonlocal most, now
            async with pool.lease(A, SLOTS, FOREVER):
                now += 1
                most = max(most, now)
                await asyncio.sleep(0.001)
                now -= 1

        await asyncio.gather(*(ask() for _ in range(30)))
        assert (most, now) == (2, 0)
        assert pool.runners()[0].free == 2

    in_pool(run)


def test_who_only_wants_it_loaded_waits_for_no_slot() -> None:
    async def run(pool: Pool, _: Loads) -> None:
        async with using(pool, A) as runner, pool.lease(A, SMALL, 77, takes_slot=False) as same:
            assert same is runner
            assert runner.keep_alive == 77

    in_pool(run)


def test_clients_take_turns() -> None:
    async def run(pool: Pool, _: Loads) -> None:
        order: list[str] = []

        async def ask(client: str) -> None:
            async with pool.lease(A, SMALL, FOREVER, client=client):
                order.append(client)

        async with using(pool, A):
            asked = [asyncio.create_task(ask(client)) for client in "xxxxxyyz"]
            await settle()
        await asyncio.gather(*asked)
        assert "".join(order) == "xyzxyxxx"

    in_pool(run)


def test_two_hundred_requests_on_four_slots_all_end_in_fair_order() -> None:
    async def run(pool: Pool, _: Loads) -> None:
        order: list[int] = []

        async def ask(client: int) -> None:
            async with pool.lease(A, Wanted(options=LoadOptions(num_ctx=64, slots=4)), FOREVER, client=str(client)):
                order.append(client)
                await asyncio.sleep(0)

        await asyncio.gather(*(ask(client) for client in range(10) for _ in range(20)))
        assert len(order) == 200
        for served in range(10, 200, 10):
            counts = [order[:served].count(client) for client in range(10)]
            assert max(counts) - min(counts) <= 2

    in_pool(run)


@pytest.mark.parametrize("has_slot", [True, False])
def test_error_all_who_wait_are_counted(has_slot: bool) -> None:  # noqa: FBT001 - a parameter of the test
    async def run(pool: Pool, _: Loads) -> None:
        async with using(pool, A):
            waiting = [asyncio.create_task(use(pool, A if has_slot else B)) for _ in range(3)]
            await settle()
            with pytest.raises(BusyError):
                await use(pool, A)
            waiting[0].cancel()
            await settle()
            waiting[0] = asyncio.create_task(use(pool, A))
            await settle()
            assert not waiting[0].done()
        await asyncio.gather(*waiting)

    in_pool(run, max_queue=3, max_loaded=1)


def test_the_model_that_would_go_first_makes_room() -> None:
    async def run(pool: Pool, _: Loads) -> None:
        await use(pool, A, keep_alive=500)
        await use(pool, B, keep_alive=900)
        await use(pool, C)
        assert names(pool) == {"b", "c"}

    in_pool(run, max_loaded=2)


def test_error_a_model_that_is_too_large_fails_all_who_wait_for_it() -> None:
    async def run(pool: Pool, loads: Loads) -> None:
        kept = await use(pool, A)
        ends = await asyncio.gather(*(use(pool, B, options=HUGE) for _ in range(3)), return_exceptions=True)
        assert {type(end) for end in ends} == {TooLargeError}
        assert "model 'b' needs" in str(ends[0])
        assert loads.names == ["a"]
        assert not kept.worker.is_dead  # its going would not have been enough

    in_pool(run)


def test_error_what_cannot_be_loaded_otherwise_leaves_the_model_as_it_is() -> None:
    async def run(pool: Pool, loads: Loads) -> None:
        kept = await use(pool, A)
        with pytest.raises(TooLargeError):
            await use(pool, A, options=HUGE)
        assert await use(pool, A) is kept
        assert loads.names == ["a"]

    in_pool(run)


def test_idle_models_go_when_memory_is_short() -> None:
    async def run(pool: Pool, loads: Loads) -> None:
        for which in (A, B, C):
            await use(pool, which, options=MIDDLING)
        assert loads.names == ["a", "b", "c"]
        assert names(pool) == {"b", "c"}

    in_pool(run, memory=Memory(2))


def test_while_busy_models_hold_the_memory_a_context_is_shorter() -> None:
    memory = Memory(1.7)

    async def run(pool: Pool, _: Loads) -> None:
        async with using(pool, A, MIDDLING):
            elastic = replace(MIDDLING, is_elastic=True)
            async with pool.lease(B, elastic, FOREVER) as short:
                assert short.options.num_ctx == 2048
                assert short.worker.loaded.num_ctx == 2048
            assert await use(pool, B, options=elastic) is short
            asked = await use(pool, B, options=MIDDLING)  # it is tried again for who asks for more
            assert asked.options.num_ctx == 2048
            assert await use(pool, B, options=MIDDLING) is asked
        assert names(pool) == {"a", "b"}

    in_pool(run, memory=memory)


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


async def ask(pool: Pool, which: ModelKey, client: str, options: Wanted = SMALL) -> None:
    async with pool.lease(which, options, FOREVER, client=client):
        pass


def test_error_nothing_is_loaded_for_who_is_refused() -> None:
    async def run(pool: Pool, loads: Loads) -> None:
        async with using(pool, C):
            hog = asyncio.create_task(ask(pool, C, "hog"))
            await settle()
            loads.gate.clear()
            refused = asyncio.create_task(ask(pool, A, "hog"))
            await until(lambda: loads.names == ["c", "a"])
            guest = asyncio.create_task(ask(pool, C, "guest"))
            with pytest.raises(BusyError):
                await refused
            loads.gate.set()
        await asyncio.gather(hog, guest, use(pool, B))
        assert names(pool) == {"b", "c"}

    in_pool(run, max_queue=2)


def test_who_waits_already_goes_on_when_who_wanted_room_is_refused() -> None:
    async def run(pool: Pool, _: Loads) -> None:
        async with using(pool, C), using(pool, A, options=SLOTS) as loaded:
            hog = asyncio.create_task(ask(pool, C, "hog"))
            await settle()
            refused = asyncio.create_task(ask(pool, A, "hog", LARGE))
            await until(lambda: loaded.turn == 0)
            waiting = asyncio.create_task(ask(pool, A, "guest", SLOTS))
            await settle()
            assert not waiting.done()
            other = asyncio.create_task(ask(pool, C, "other"))
            with pytest.raises(BusyError):
                await refused
            await waiting  # beside the first, which still runs
        await asyncio.gather(hog, other)

    in_pool(run, max_queue=3)


def test_a_queue_of_no_length_is_the_default_one() -> None:
    async def run(pool: Pool, _: Loads) -> None:
        assert await asyncio.gather(*(use(pool, which) for which in (A, B, C)))

    in_pool(run, max_queue=0)
