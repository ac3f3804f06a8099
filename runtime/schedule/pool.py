"""Pool: the loaded models, and all requests that wait for one of them. It loads on demand, one at a time, keeps a model
while it is used and a while longer, and makes room by unloading others. Who is next is `policy`'s to say.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeAlias

from ...store.errors import MachineError
from ..engine.process import StoppingError, Worker
from ..engine.protocol import LoadOptions
from .placing import Placement, Placer, Shortage, taken, too_large
from .policy import TURN, Line, Wanted, last_of_longest, victim
from .runner import ModelKey, Place, Runner, Ticket

_DEFAULT_QUEUE = 512
RETRY_AFTER = 5
"""Seconds after which who was refused may ask again."""
_PER_GPU = 3
"""Models loaded at once, by default; as many on a machine without one."""


class BusyError(MachineError):
    """Too many requests wait."""

    def __init__(self) -> None:
        super().__init__("server busy, please try again.  maximum pending requests exceeded")


Starter: TypeAlias = Callable[[str, str, LoadOptions], Awaitable[Worker]]


class Pool:
    """See the module. For use in one event loop."""

    def __init__(
        self,
        *,
        max_loaded: int = 0,
        max_queue: int = _DEFAULT_QUEUE,
        start: Starter = Worker.start,
        placer: Placer | None = None,
    ) -> None:
        self._max_loaded = max_loaded
        """0: by the number of GPUs."""
        self._max_queue = max_queue or _DEFAULT_QUEUE
        self._start = start
        self.placer = placer or Placer()
        self._runners: dict[Place, Runner] = {}
        self._lines: dict[Place, Line[Ticket]] = {}
        self._numbers = itertools.count()
        self._loader: asyncio.Task[None] | None = None
        self._loading: Ticket | None = None
        """For whom a model is being loaded."""
        self._makes_room = False
        """A model that has been asked for its place may still be needed to give it."""
        self._freed = asyncio.Event()
        """A model may have become idle since this was last cleared."""
        self._closing: set[asyncio.Task[None]] = set()
        self._is_closed = False

    @asynccontextmanager
    async def lease(
        self, key: ModelKey, wanted: Wanted, keep_alive: float, *, client: str = "", takes_slot: bool = True
    ) -> AsyncGenerator[Runner]:
        """The loaded model and one of its slots, when it is this request's turn; both are held until the block ends.

        Without `takes_slot` it is only kept loaded, for which nobody waits once it is.
        Raises BusyError, StoppingError, TooLargeError, ModelLoadError, WorkerDiedError.
        """
        if self._is_closed:
            raise StoppingError
        granted: asyncio.Future[Runner] = asyncio.get_running_loop().create_future()
        ticket = Ticket(next(self._numbers), key, wanted, keep_alive, client, takes_slot, granted)
        runner = await self._waited(ticket)
        try:
            yield runner
        finally:
            self._release(runner, ticket)

    async def _waited(self, ticket: Ticket) -> Runner:
        self._lines.setdefault(ticket.place, Line()).add(ticket.client, ticket)
        self._advance()
        if not ticket.granted.done() and self.waiting > self._max_queue:
            self._refuse(last_of_longest([other for line in self._lines.values() for other in line]))
        try:
            return await ticket.granted
        except asyncio.CancelledError:
            if ticket.granted.done() and not ticket.granted.cancelled() and not ticket.granted.exception():
                self._release(ticket.granted.result(), ticket)
            else:
                self._forget(ticket)
            raise

    def unload(self, key: ModelKey) -> None:
        """Let the model go as soon as its running requests are done, and those that wait for it to be loaded."""
        loading = self._loading
        if loading and loading.place == (key.path, key.adapters):
            for ticket in [loading, *self._lines.get(loading.place, ())]:
                ticket.keep_alive = 0
        if runner := self._runners.get((key.path, key.adapters)):
            runner.keep_alive = 0
            self._after_use(runner)

    @property
    def waiting(self) -> int:
        """How many requests wait, for a slot or for a load."""
        return sum(map(len, list(self._lines.values())))

    def runners(self) -> list[Runner]:
        """The loaded models, those that stay longest first."""
        alive = [runner for runner in self._runners.values() if not runner.worker.is_dead]
        return sorted(alive, key=lambda runner: -runner.expires_in)

    async def close(self) -> None:
        """End all workers, and the requests that use or wait for one with a StoppingError."""
        self._is_closed = True
        loader = self._loader
        self._fail(StoppingError(), [ticket for line in self._lines.values() for ticket in line])
        if loader:
            loader.cancel()
            await asyncio.gather(loader, return_exceptions=True)
        for runner in list(self._runners.values()):
            self._drop(runner)
        await asyncio.gather(*self._closing, return_exceptions=True)

    def _advance(self) -> None:
        """Do everything that can be done now. Called after each change."""
        for runner in list(self._runners.values()):
            if runner.worker.is_dead:
                self._drop(runner)
            elif not self._makes_room and self._unsuited(runner.place) is None:
                runner.turn = None
        for place, line in list(self._lines.items()):
            if runner := self._runners.get(place):
                self._serve(runner, line)
            if not line:
                del self._lines[place]
        if self._loader is None and not self._is_closed and (ticket := self._next_load()):
            self._loading = ticket
            self._loader = asyncio.get_running_loop().create_task(self._load(ticket))
            # Not at the end of the task itself: one that is cancelled at once never begins.
            self._loader.add_done_callback(lambda _: self._after_load(ticket))

    def _serve(self, runner: Runner, line: Line[Ticket]) -> None:
        """Grant what the model can be granted now."""
        for ticket in list(line):
            if ticket.takes_slot and (not runner.free or runner.turn == 0):
                continue
            if ticket.granted.done() or not runner.suits(ticket):  # done: its client has just gone
                continue
            if ticket.takes_slot:
                runner.free -= 1
                runner.turn = None if runner.turn is None else runner.turn - 1
            line.take(ticket.client, ticket)
            runner.users += 1
            runner.asked[ticket.key.name] = ticket.key
            runner.keep_alive = ticket.keep_alive
            if runner.expiry:
                runner.expiry.cancel()
            ticket.granted.set_result(runner)

    def _next_load(self) -> Ticket | None:
        """Who has waited longest for a model that has to be loaded. Who waits until the same model, loaded otherwise, is
        free does not hold up the others.
        """
        needy = [ticket for place in self._lines if (ticket := self._unsuited(place))]
        for ticket in sorted(needy, key=lambda ticket: ticket.number):
            runner = self._runners.get(ticket.place)
            if runner is None or not runner.users:
                return ticket
            self._ask_for_room(runner)
        return None

    def _unsuited(self, place: Place) -> Ticket | None:
        """Who has waited longest for a model that is not loaded, or otherwise."""
        runner = self._runners.get(place)
        waiting = (ticket for ticket in self._lines.get(place, ()) if runner is None or not runner.suits(ticket))
        return min(waiting, key=lambda ticket: ticket.number, default=None)

    def _ask_for_room(self, runner: Runner) -> None:
        if runner.turn is None:
            line = self._lines.get(runner.place, ())
            there = sum(1 for ticket in line if ticket.takes_slot and runner.suits(ticket))
            runner.turn = min(there, TURN * runner.options.slots)

    async def _load(self, ticket: Ticket) -> None:
        """Load a model for a ticket and whoever else waits for the same."""
        try:
            self._makes_room = True
            options = await self._room_for(ticket)
            self._makes_room = False
            self._advance()
            worker = await self._start(ticket.key.name, str(ticket.key.path), options)
        except Exception as error:  # noqa: BLE001 - whatever it is, those who wait have to be told
            line = self._lines.get(ticket.place, ())
            self._fail(error, [other for other in line if other.wanted == ticket.wanted])
        else:
            runner = Runner(ticket.key, ticket.wanted, options, worker, ticket.keep_alive, free=options.slots)
            self._runners[ticket.place] = runner
            if self._is_closed:
                self._drop(runner)

    def _after_load(self, ticket: Ticket) -> None:
        self._loader = self._loading = None
        self._makes_room = False
        self._advance()
        if loaded := self._runners.get(ticket.place):
            self._after_use(loaded)

    async def _room_for(self, ticket: Ticket) -> LoadOptions:
        """How to load it, when there is room for it. Raises TooLargeError."""
        while True:
            self._freed.clear()
            # What has gone must be gone from memory too.
            await asyncio.gather(*self._closing, return_exceptions=True)
            found = await self._found(ticket)
            if isinstance(found, LoadOptions):
                return found
            if not found.users:
                self._drop(found)
            else:
                self._ask_for_room(found)
                await self._freed.wait()

    async def _found(self, ticket: Ticket) -> LoadOptions | Runner:
        """How it can be loaded now, or else what has to go first. Raises TooLargeError."""
        if same := self._runners.get(ticket.place):
            await self._check_possible(ticket)
            return same
        most = self._max_loaded or _PER_GPU * max(1, await asyncio.to_thread(self.placer.gpus))
        if len(self._runners) >= most and (goes := victim(self._runners.values())):
            return goes
        placed = await self._placed(ticket, may_shrink=False)
        if isinstance(placed, Shortage):
            await self._check_possible(ticket)
        idle = [other for other in self._runners.values() if not other.users]
        if isinstance(placed, Placement):
            # Layers that could be on a GPU are worth more than a model that nobody uses.
            if not placed.is_whole and (goes := victim(other for other in idle if other.worker.loaded.vram)):
                return goes
        elif goes := victim(idle):
            return goes
        if isinstance(placed, Shortage) or not placed.is_whole:
            placed = await self._placed(ticket, may_shrink=True)
        if isinstance(placed, Placement):
            return placed.options
        if goes := victim(self._runners.values()):
            return goes
        raise too_large(ticket.key.name, placed, ticket.wanted.options.slots)

    async def _check_possible(self, ticket: Ticket) -> None:
        """Raises TooLargeError where it would not fit either if all others went: then none of them has to."""
        placed = await self._placed(ticket, may_shrink=True)
        freed = sum(taken(other.wanted, other.options, other.worker.loaded) for other in self._runners.values())
        if isinstance(placed, Shortage) and placed.needs > placed.room.available + freed:
            raise too_large(ticket.key.name, placed, ticket.wanted.options.slots)

    async def _placed(self, ticket: Ticket, *, may_shrink: bool) -> Placement | Shortage:
        held = {other.key.path: other.worker.loaded.mapped for other in self._runners.values()}
        held.pop(ticket.key.path, None)  # the same pages
        place = self.placer.place
        return await asyncio.to_thread(
            place, ticket.wanted, sum(held.values()), name=ticket.key.name, may_shrink=may_shrink
        )

    def _fail(self, error: BaseException, tickets: list[Ticket]) -> None:
        for ticket in tickets:
            if not ticket.granted.done():
                self._lines[ticket.place].discard(ticket.client, ticket)
                ticket.granted.set_exception(error)

    def _refuse(self, ticket: Ticket) -> None:
        if not ticket.granted.done():  # done: its client has just gone
            ticket.granted.set_exception(BusyError())
            self._forget(ticket)

    def _forget(self, ticket: Ticket) -> None:
        """Its client has gone, or it is refused; what is loaded for nobody any more is not loaded to the end."""
        line = self._lines.get(ticket.place)
        if line is None or ticket not in line:
            return
        line.discard(ticket.client, ticket)
        loading = self._loading
        is_wanted = loading and any(other.wanted == loading.wanted for other in line)
        if self._loader and loading and loading.place == ticket.place and not is_wanted:
            self._loader.cancel()
        self._advance()  # it may have been what others made room for

    def _release(self, runner: Runner, ticket: Ticket) -> None:
        runner.users -= 1
        runner.free += ticket.takes_slot
        runner.last_used = time.monotonic()
        self._advance()
        self._after_use(runner)

    def _after_use(self, runner: Runner) -> None:
        """What becomes of a model that nobody uses at the moment."""
        if runner.users or self._runners.get(runner.place) is not runner:
            return
        self._freed.set()
        if runner.expiry:
            runner.expiry.cancel()
        if runner.keep_alive <= 0:
            self._drop(runner)
        elif not math.isinf(runner.keep_alive):
            runner.expiry = asyncio.get_running_loop().call_later(runner.keep_alive, self._expire, runner)

    def _expire(self, runner: Runner) -> None:
        if not runner.users:
            self._drop(runner)

    def _drop(self, runner: Runner) -> None:
        """End its process; whoever waits for it waits for a load."""
        if runner.expiry:
            runner.expiry.cancel()
        if self._runners.get(runner.place) is runner:
            del self._runners[runner.place]
            self._freed.set()
            task = asyncio.get_running_loop().create_task(runner.worker.close())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
