"""Pool: the loaded models. It loads on demand, one at a time, keeps a model while it is used and a while longer, and
makes room by unloading what has been idle longest.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from ...store.digest import Digest
from ...store.errors import MachineError
from ..engine.process import StoppingError, Worker
from ..engine.protocol import LoadOptions
from .policy import serves, victim

_DEFAULT_QUEUE = 512


class BusyError(MachineError):
    """Too many requests wait for a model to be loaded."""

    def __init__(self) -> None:
        super().__init__("server busy, please try again.  maximum pending requests exceeded")


@dataclass(frozen=True, slots=True)
class ModelKey:
    """What is loaded: names that share weights share a worker."""

    name: str
    """The name to show."""
    digest: Digest | None
    """Of the manifest it was first asked by; None where there is none."""
    path: Path
    """The weights."""


Starter: TypeAlias = Callable[[str, str, LoadOptions], Awaitable[Worker]]


@dataclass(slots=True, eq=False)
class Runner:
    """A loaded model."""

    key: ModelKey
    options: LoadOptions
    worker: Worker
    keep_alive: float
    """Seconds it stays after its last request."""
    users: int = 0
    last_used: float = field(default_factory=time.monotonic)
    expiry: asyncio.TimerHandle | None = None
    asked: dict[str, ModelKey] = field(default_factory=dict[str, ModelKey])
    """Every name it was used by."""

    @property
    def expires_in(self) -> float:
        """Seconds until it goes if nothing more is asked of it."""
        since = 0.0 if self.users else time.monotonic() - self.last_used
        return math.inf if math.isinf(self.keep_alive) else max(0.0, self.keep_alive - since)


class Pool:
    """See the module. For use in one event loop."""

    def __init__(self, *, max_loaded: int = 3, max_queue: int = _DEFAULT_QUEUE, start: Starter = Worker.start) -> None:
        self._max_loaded = max_loaded
        self._max_queue = max_queue or _DEFAULT_QUEUE
        self._start = start
        self._runners: dict[Path, Runner] = {}
        self._loading = asyncio.Lock()
        self._changed = asyncio.Condition()
        self._queued = 0
        self._closing: set[asyncio.Task[None]] = set()
        self._starting: asyncio.Future[Worker] | None = None
        self._is_closed = False

    @asynccontextmanager
    async def lease(self, key: ModelKey, options: LoadOptions, keep_alive: float) -> AsyncGenerator[Runner]:
        """The loaded model, loading it first if need be; it stays at least until the block ends.

        Raises BusyError, StoppingError, ModelLoadError, WorkerDiedError.
        """
        runner = self._usable(key, options) or await self._load_in_turn(key, options, keep_alive)
        runner.users += 1
        runner.asked[key.name] = key
        runner.keep_alive = keep_alive
        if runner.expiry:
            runner.expiry.cancel()
        try:
            yield runner
        finally:
            runner.users -= 1
            runner.last_used = time.monotonic()
            self._after_use(runner)

    def unload(self, path: Path) -> None:
        """Let the model go as soon as its running requests are done."""
        runner = self._runners.get(path)
        if runner:
            runner.keep_alive = 0
            self._after_use(runner)

    def runners(self) -> list[Runner]:
        """The loaded models, those that stay longest first."""
        alive = [runner for runner in self._runners.values() if not runner.worker.is_dead]
        return sorted(alive, key=lambda runner: -runner.expires_in)

    async def close(self) -> None:
        """End all workers, and the requests that use or wait for one with a StoppingError."""
        self._is_closed = True
        if starting := self._starting:
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
        for runner in list(self._runners.values()):
            self._drop(runner)
        await self._notify()
        await asyncio.gather(*self._closing, return_exceptions=True)

    def _usable(self, key: ModelKey, options: LoadOptions) -> Runner | None:
        runner = self._runners.get(key.path)
        return runner if runner and not runner.worker.is_dead and serves(runner.options, options) else None

    async def _load_in_turn(self, key: ModelKey, options: LoadOptions, keep_alive: float) -> Runner:
        if self._queued >= self._max_queue:
            raise BusyError
        self._queued += 1
        try:
            async with self._loading:
                while (runner := self._usable(key, options)) is None and not await self._make_room(key):
                    async with self._changed:
                        await self._changed.wait()
                if runner is None:
                    worker = await self._started(key, options)
                    runner = self._runners[key.path] = Runner(key, options, worker, keep_alive)
                return runner
        finally:
            self._queued -= 1

    async def _started(self, key: ModelKey, options: LoadOptions) -> Worker:
        if self._is_closed:
            raise StoppingError
        self._starting = asyncio.ensure_future(self._start(key.name, str(key.path), options))
        try:
            worker = await self._starting
        except asyncio.CancelledError:
            if self._is_closed:
                raise StoppingError from None
            raise
        finally:
            self._starting = None
        if self._is_closed:  # while it was being handed over
            await worker.close()
            raise StoppingError
        return worker

    async def _make_room(self, key: ModelKey) -> bool:
        """Unload what is in the way of loading `key`; False when that is in use."""
        for runner in [runner for runner in self._runners.values() if runner.worker.is_dead]:
            self._drop(runner)
        same = self._runners.get(key.path)
        if same is None and len(self._runners) < self._max_loaded:
            return True
        goes = same if same and not same.users else None if same else victim(self._runners.values())
        if goes is None:
            return False
        self._drop(goes)
        await asyncio.gather(*self._closing, return_exceptions=True)
        return True

    def _after_use(self, runner: Runner) -> None:
        if not runner.users and self._runners.get(runner.key.path) is runner:
            if runner.expiry:
                runner.expiry.cancel()
            if runner.worker.is_dead or runner.keep_alive <= 0:
                self._drop(runner)
            elif not math.isinf(runner.keep_alive):
                runner.expiry = asyncio.get_running_loop().call_later(runner.keep_alive, self._expire, runner)
        task = asyncio.get_running_loop().create_task(self._notify())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def _expire(self, runner: Runner) -> None:
        if not runner.users and self._runners.get(runner.key.path) is runner:
            self._drop(runner)

    def _drop(self, runner: Runner) -> None:
        if runner.expiry:
            runner.expiry.cancel()
        with contextlib.suppress(KeyError):
            del self._runners[runner.key.path]
        task = asyncio.get_running_loop().create_task(runner.worker.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()
