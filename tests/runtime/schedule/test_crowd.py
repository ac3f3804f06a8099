"""A crowd at the pool: clients who come, wait, give up, and use models whose workers die. Nothing may be left over."""

from __future__ import annotations

import asyncio
import os
import random
from pathlib import Path

import pytest
from corral.runtime.engine.process import Worker
from corral.runtime.engine.protocol import Loaded, LoadOptions
from corral.runtime.schedule.policy import Wanted
from corral.runtime.schedule.pool import BusyError, Pool
from corral.runtime.schedule.runner import ModelKey

from tests.runtime.conftest import PATIENCE

SEEDS, SIZE = (range(100), 1500) if os.environ.get("CORRAL_SOAK") else (range(4), 300)


class Idle(Worker):
    """A worker without a process."""

    def __init__(self) -> None:
        self.is_dead = False
        self.loaded = Loaded(num_ctx=64, train_ctx=64, bos="", eos="", memory=1)

    async def close(self) -> None:
        """Takes a while, as with a process."""
        self.is_dead = True
        await asyncio.sleep(0.001)


class Crowd:
    """So many requests of three clients for four models; a third of them are given up at some time."""

    def __init__(self, seed: int, size: int) -> None:
        self._chance = random.Random(seed)
        self._size = size
        self.served = self.refused = 0

    async def run(self) -> None:
        chance = self._chance
        pool = Pool(max_loaded=chance.choice((1, 2, 3)), max_queue=100, start=self.start)
        requests: list[asyncio.Task[None]] = []
        for _ in range(self._size):
            requests.append(asyncio.create_task(self._ask(pool)))
            if chance.random() < 0.3:
                asyncio.get_running_loop().call_later(chance.random() * 0.05, requests[-1].cancel)
            if chance.random() < 0.5:
                await asyncio.sleep(chance.random() * 0.004)
        ends = await asyncio.wait_for(asyncio.gather(*requests, return_exceptions=True), PATIENCE)
        assert {type(end) for end in ends} <= {type(None), asyncio.CancelledError}
        assert pool.waiting == 0
        for runner in pool.runners():
            assert (runner.users, runner.free) == (0, 2)
        assert not await asyncio.wait_for(self._is_stuck(pool), PATIENCE)
        await pool.close()

    async def _is_stuck(self, pool: Pool) -> bool:
        before = self.served
        await self._ask(pool)
        return self.served == before

    async def start(self, name: str, path: str, options: LoadOptions) -> Worker:
        """The pool's way to a worker."""
        del name, path, options
        await asyncio.sleep(self._chance.random() * 0.01)
        return Idle()

    async def _ask(self, pool: Pool) -> None:
        chance = self._chance
        options = LoadOptions(
            num_ctx=chance.choice((64, 64, 64, 128)), slots=2, num_thread=chance.choice((1, 1, 1, 1, 2))
        )
        name = chance.choice("abcd")
        keep_alive, client = chance.choice((0, 0.01, 300)), chance.choice("xyz")
        takes_slot = chance.random() < 0.9
        lease = pool.lease(
            ModelKey(name, None, Path(name)), Wanted(options=options), keep_alive, client=client, takes_slot=takes_slot
        )
        try:
            async with lease as runner:
                assert runner.key.name == name
                assert runner.free >= 0
                if chance.random() < 0.02:
                    runner.worker.is_dead = True
                await asyncio.sleep(chance.random() * 0.01)
            self.served += 1
        except BusyError:
            self.refused += 1


@pytest.mark.soak
@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_is_left_of_a_crowd(seed: int) -> None:
    crowd = Crowd(seed, SIZE)
    asyncio.run(crowd.run())
    assert crowd.served


def test_a_load_given_up_before_it_begins_holds_up_nobody() -> None:
    async def run() -> None:
        pool = Pool(max_queue=1, start=Crowd(0, 0).start)
        wanted = Wanted(options=LoadOptions(num_ctx=64, slots=1))

        async def use(name: str) -> None:
            async with pool.lease(ModelKey(name, None, Path(name)), wanted, 300):
                pass

        async with pool.lease(ModelKey("a", None, Path("a")), wanted, 300):
            waiting = asyncio.create_task(use("a"))
            await asyncio.sleep(0)
            with pytest.raises(BusyError):
                await use("b")
        await waiting
        await asyncio.wait_for(use("b"), PATIENCE)
        await pool.close()

    asyncio.run(run())
