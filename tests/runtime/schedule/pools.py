"""A pool of loaded models for tests, with real worker processes that run the FakeDecoder."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
from corral.runtime.engine.process import ModelLoadError, Worker
from corral.runtime.engine.protocol import LoadOptions
from corral.runtime.schedule.machine import Room
from corral.runtime.schedule.memory import PROCESS, estimate
from corral.runtime.schedule.placing import Placer
from corral.runtime.schedule.policy import Wanted
from corral.runtime.schedule.pool import Pool
from corral.runtime.schedule.runner import ModelKey, Runner
from corral.store.header import GGUF

from corral import Digest
from tests.runtime.conftest import PATIENCE

SMALL = Wanted(options=LoadOptions(num_ctx=64, slots=1))
LARGE = Wanted(options=LoadOptions(num_ctx=128, slots=1))
SLOTS = Wanted(options=LoadOptions(num_ctx=64, slots=2))
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
MIDDLING = Wanted(options=LoadOptions(num_ctx=4096, slots=1), header=MODEL)
HUGE = replace(
    MIDDLING,
    header=replace(MODEL, metadata=MODEL.metadata | {"llama.block_count": 1024, "llama.embedding_length": 1 << 20}),
)
"""The shortest context is too much for any machine."""
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


class Memory:
    """A machine's memory that holds so many models like MIDDLING, and a bit."""

    def __init__(self, models: float) -> None:
        self.models = models
        self.pool: Pool | None = None

    def room(self) -> Room:
        """What those that are loaded leave."""
        assert self.pool
        need = estimate(MODEL, MIDDLING.options).total + PROCESS
        return Room(int(need * (self.models * 1.01 - len(self.pool.runners()))), "this machine")


def in_pool(
    test: Callable[[Pool, Loads], Coroutine[Any, Any, None]],
    *,
    max_loaded: int = 3,
    max_queue: int = 512,
    memory: Memory | None = None,
) -> None:
    """Run a test's coroutine with a pool; afterwards no worker may be left."""

    async def run() -> None:
        loads = Loads()
        placer = Placer(room=memory.room) if memory else None
        pool = Pool(max_loaded=max_loaded, max_queue=max_queue, start=loads.start, placer=placer)
        if memory:
            memory.pool = pool
        await test(pool, loads)
        await pool.close()
        assert not [worker for worker in loads.workers if psutil.pid_exists(worker.pid)]
        assert pool.runners() == []

    asyncio.run(asyncio.wait_for(run(), PATIENCE))


async def use(pool: Pool, which: ModelKey, *, options: Wanted = SMALL, keep_alive: float = FOREVER) -> Runner:
    """Use a model for a moment."""
    async with pool.lease(which, options, keep_alive) as runner:
        return runner


@asynccontextmanager
async def using(pool: Pool, which: ModelKey, options: Wanted = SMALL) -> AsyncGenerator[Runner]:
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
