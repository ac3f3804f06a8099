"""Limits: how slowly, how much and how often one may talk to the server, so that nobody holds what others need.

Of time: a request's head has to come soon, its body has to get on, what is left of a body after its answer is not waited for,
nor is who takes nothing of an answer. Of size: the head; the dialects bound the bodies. Of number: connections.
"""

from __future__ import annotations

import asyncio
import resource
import time
from functools import partial
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from .refusal import refusal
from .sendfile import EXTENSION, send_file
from .upgrades import DecliningParser, is_declined

HEAD_SECONDS = 10.0
"""From a connection, or the first byte of a further request, to the end of the request's head; from an answer that was given
early to the end of the request's body, and from that to the end of the next head."""
DEAF_SECONDS = 300.0
"""That one may take nothing of an answer."""
BODY_SECONDS = 60.0
"""That a body may be waited for at once; and in all, besides a second for each KiB of it."""
_BODY_PACE = 1024.0
MAX_HEAD = 64 << 10
"""Bytes."""
_MOST_BESIDE = 4 * MAX_HEAD
"""Bytes that are no body, one after the other: a head, what is said beside the sizes of chunks, trailers. A head that is not
larger is judged when it is whole, and gets an answer."""
MAX_HEADERS = 256
MAX_CONNECTIONS = 2048
_SPARE_FILES = 256
"""Descriptors that are kept for models, workers and logs."""
_REFUSED_AT_ONCE = 128
"""So many connections more than the most are told that there are too many; others are closed without a word."""
RETRY_AFTER = "5"


class StalledBodyError(ClientDisconnect):
    """A client that stopped sending its request's body."""


class Limits:
    """ASGI middleware: bounds the time a request's body may take, and the size of its head."""

    def __init__(self, app: ASGIApp, *, body_seconds: float = BODY_SECONDS) -> None:
        self._app = app
        self._body_seconds = body_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        head = sum(len(name) + len(value) for name, value in scope["headers"])
        if head + len(scope.get("raw_path", b"")) + len(scope["query_string"]) > MAX_HEAD:
            await refusal(scope, 431, f"the request's head has more than {MAX_HEAD} bytes")(scope, receive, send)
            return
        if len(scope["headers"]) > MAX_HEADERS:
            await refusal(scope, 431, f"the request has more than {MAX_HEADERS} headers")(scope, receive, send)
            return
        is_whole = False
        waited = received = 0.0

        async def receiving() -> Message:
            nonlocal is_whole, waited, received
            if is_whole:
                return await receive()
            started = time.monotonic()
            try:
                left = self._body_seconds + received / _BODY_PACE - waited
                async with asyncio.timeout(min(left, self._body_seconds)):  # much at once buys no long silence
                    message = await receive()
            except TimeoutError:
                raise StalledBodyError from None
            # Only the client's time counts: whoever takes the body in may be slower than he.
            waited += time.monotonic() - started
            received += len(message.get("body", b""))
            is_whole = not message.get("more_body", False)
            return message

        await self._app(scope, receiving, send)


async def stalled(request: Request, _: Exception) -> Response:
    """The reply to who stopped sending."""
    reason = "the request's body did not come in time"
    return refusal(request.scope, 408, reason, {"Connection": "close"})


async def _too_many(scope: Scope, _: Receive, send: Send) -> None:
    reason = "server busy, please try again.  too many connections"
    answer = refusal(scope, 503, reason, {"Retry-After": RETRY_AFTER, "Connection": "close"})
    await answer(scope, _, send)


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol, which by itself waits for ever for a request's head, of any size, on any number of connections."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        *,
        most: int,
        head_seconds: float,
    ) -> None:
        super().__init__(config, server_state, app_state)
        self.parser = DecliningParser(self, most_headers=MAX_HEADERS)
        self._most = most
        self._head_seconds = head_seconds
        self._running: RequestResponseCycle | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._deaf: asyncio.TimerHandle | None = None
        self._is_in_head = True
        self._is_in_body = False
        self._beside = 0
        """Bytes since there was last a body, or the end of a request."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """asyncio's hook."""
        super().connection_made(transport)
        self._set_deadline()
        if (surplus := len(self.connections) - self._most) > _REFUSED_AT_ONCE:
            transport.abort()
        elif surplus > 0:
            self.app = _too_many

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio's hook."""
        self._clear_deadline()
        self._hears()
        if self._running and not self._running.response_complete:
            self._running.disconnected = True
            self._running.message_event.set()
        super().connection_lost(exc)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        """uvicorn's hook. Of requests that are sent without waiting it remembers the last, not the one it is at."""
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def data_received(self, data: bytes) -> None:
        """asyncio's hook."""
        self._beside += len(data)
        if self._is_in_head and self._deadline is None:
            self._set_deadline()
        super().data_received(data)
        if self._beside > _MOST_BESIDE:
            self.transport.abort()

    def on_header(self, name: bytes, value: bytes) -> None:
        """The parser's hook."""
        if len(self.headers) <= MAX_HEADERS:  # one too many shows that there were
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The parser's hook."""
        if is_declined(self.parser):
            return
        self._is_in_head, self._is_in_body = False, True
        self._clear_deadline()
        super().on_headers_complete()
        if self.cycle and self.scheme == "http":
            self.scope["extensions"] = {EXTENSION: {"send": partial(send_file, self.cycle, DEAF_SECONDS)}}

    def on_body(self, body: bytes) -> None:
        """The parser's hook."""
        self._beside = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The parser's hook."""
        if is_declined(self.parser):
            return
        self._is_in_head, self._is_in_body = True, False
        self._beside = 0
        self._clear_deadline()
        super().on_message_complete()
        if self.cycle.response_complete:  # the end of this body has stopped uvicorn's clock
            self._set_deadline()

    def on_response_complete(self) -> None:
        """uvicorn's hook."""
        super().on_response_complete()
        if self._is_in_body and self.cycle.response_complete:  # else it is the next request's body
            self._set_deadline()

    def pause_writing(self) -> None:
        """asyncio's hook."""
        super().pause_writing()
        self._deaf = self.loop.call_later(DEAF_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """asyncio's hook."""
        self._hears()
        super().resume_writing()

    def _hears(self) -> None:
        if self._deaf:
            self._deaf.cancel()
            self._deaf = None

    def _set_deadline(self) -> None:
        self._clear_deadline()
        self._deadline = self.loop.call_later(self._head_seconds, self._give_up)

    def _clear_deadline(self) -> None:
        if self._deadline:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        self._deadline = None
        if self._is_in_head and self.cycle and not self.cycle.response_complete:
            self._set_deadline()  # a blank line too many, or the next request too early: no reason to cut off an answer
        else:
            self.transport.abort()


def most_connections() -> int:
    """How many connections are taken in at once. Lets this process have as many open files as that needs, and it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_CONNECTIONS + _REFUSED_AT_ONCE + _SPARE_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY:
        return MAX_CONNECTIONS
    return max(16, min(MAX_CONNECTIONS, soft - _REFUSED_AT_ONCE - _SPARE_FILES))
