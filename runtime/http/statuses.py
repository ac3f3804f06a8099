"""Statuses: long work in a thread of its own, and what it says of itself to its client: a line of NDJSON for each step.

Each line is written by itself, and of a blob's progress there are about ten a second. The work ends at its next step when
its client goes away, and when the server stops.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from typing import TypeAlias

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ...store.errors import BugError, CorralError
from ...store.progress import Progress, Report
from ..engine.process import StoppingError
from ..pacing import Paced
from ..schedule.pool import BusyError
from .errors import managing_body
from .stream import line, respond, while_connected

Work: TypeAlias = Callable[[Report], object]
"""Blocking work, which says what it is at. What it reports to may raise, to end it."""

_MOST = 64
"""Works at once; each has several threads."""
_EVERY = 0.1
"""Seconds between two lines about one blob."""
_LOG = logging.getLogger(__name__)


class Operations:
    """The long work of all clients. For use in one event loop."""

    def __init__(self, *, most: int = _MOST) -> None:
        self._most = most
        self._running: set[_Operation] = set()

    async def respond(self, request: Request, work: Work, *, streams: bool) -> Response:
        """Do the work; the reply has its steps as they come or, if the client does not stream, the last one.

        Raises BusyError, ClientDisconnect, and what the work raises: all of it if it does not stream, else what comes before
        the first step.
        """
        if len(self._running) >= self._most:
            raise BusyError
        operation = _Operation(work)
        self._running.add(operation)
        operation.start(self._running.discard)
        if not streams:
            return JSONResponse((await while_connected(request, operation.last())).to_json())
        return await respond(
            request,
            operation.steps(),
            media_type="application/x-ndjson",
            said=lambda _: {},
            encode=lambda step: [line({**step.to_json()})],
            encode_error=lambda error: line(managing_body(error)),
        )

    def close(self) -> None:
        """End all of it, each with an error to its client."""
        for operation in self._running:
            operation.end(StoppingError())


class _AbandonedError(Exception):
    """Nobody waits for the work any more. Ends it from within its report."""


class _Operation:
    """One work: the thread that does it puts its steps in, the event loop takes them out."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()
        self._guard = threading.Lock()
        self._steps: dict[object, Progress] = {}
        """Those that nobody took yet; of a blob the newest alone, however slowly its client reads."""
        self._numbers = itertools.count()
        self._error: Exception | None = None
        self._is_over = False
        self._is_abandoned = False
        self._paced = Paced(self._put, every=_EVERY)

    def start(self, on_end: Callable[[_Operation], None]) -> None:
        """Begin; `on_end` is called in the loop."""
        threading.Thread(target=self._run, args=(on_end,), daemon=True).start()

    async def steps(self) -> AsyncGenerator[Progress]:
        """The steps, at least one. Raises what ended the work; that ends with this."""
        try:
            step = await self._next() or Progress("success")
            while step:
                yield step
                step = await self._next()
        finally:
            self._is_abandoned = True

    async def last(self) -> Progress:
        """The last step. Raises what ended the work; that ends with this."""
        newest = Progress("success")
        async with aclosing(self.steps()) as steps:
            async for step in steps:
                newest = step
        return newest

    def end(self, error: Exception | None) -> None:
        """Let this be the end of it for the client; from any thread."""
        with self._guard:
            if not self._is_over:
                self._is_over, self._error = True, error
        self._is_abandoned = True
        self._tell()

    async def _next(self) -> Progress | None:
        while True:
            with self._guard:
                if self._steps:
                    return self._steps.pop(next(iter(self._steps)))
                if self._error:
                    raise self._error
                if self._is_over:
                    return None
                self._news.clear()
            await self._news.wait()

    def _run(self, on_end: Callable[[_Operation], None]) -> None:
        error: Exception | None = None
        try:
            self._work(self._report)
        except _AbandonedError:
            _LOG.debug("nobody waits for the work any more")
        except CorralError as cause:
            error = cause
        except Exception as cause:  # noqa: BLE001 - its client is told, and the log
            _LOG.exception("a bug")
            error = BugError(f"internal error: {type(cause).__name__}")
        self.end(error)
        with suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(on_end, self)

    def _report(self, step: Progress) -> None:
        if self._is_abandoned:
            raise _AbandonedError
        self._paced.report(step)

    def _put(self, step: Progress) -> None:
        key = next(self._numbers) if step.total is None else step.status
        with self._guard:
            self._steps[key] = step
        self._tell()

    def _tell(self) -> None:
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._news.set)
