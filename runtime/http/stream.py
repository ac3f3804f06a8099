"""Streams: from events to NDJSON or SSE, for clients that may go away at any time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse

from ...store.errors import CorralError, InputError
from ..request import Done, Event
from .types import MAX_BODY

_T = TypeVar("_T")


class BodyTooLargeError(InputError):
    """A request body that this server does not take in."""


def client_of(request: Request) -> str:
    """Who asks, for taking turns: the address of the other end."""
    return request.client.host if request.client else ""


async def read_body(request: Request) -> bytes:
    """The whole body. Raises BodyTooLargeError above MAX_BODY bytes."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            raise BodyTooLargeError(f"request body of more than {MAX_BODY} bytes")
    return bytes(body)


async def while_connected(request: Request, work: Awaitable[_T]) -> _T:
    """The result of `work`, which is cancelled when the client goes away. Raises ClientDisconnect then."""
    working = asyncio.ensure_future(work)
    watching = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        for task in (working, watching):
            task.cancel()
        await asyncio.gather(working, watching, return_exceptions=True)


async def collect(request: Request, events: AsyncGenerator[Event]) -> tuple[str, Done]:
    """The whole answer, for clients that do not stream."""

    async def run() -> tuple[str, Done]:
        texts: list[str] = []
        async with aclosing(events):
            async for event in events:
                if isinstance(event, Done):
                    return "".join(texts), event
                texts.append(event.text)
        raise AssertionError("an answer ends with Done")

    return await while_connected(request, run())


async def respond(
    request: Request,
    events: AsyncGenerator[Event],
    *,
    media_type: str,
    encode: Callable[[Event], list[str]],
    encode_error: Callable[[CorralError], str],
) -> Response:
    """A streaming reply. What fails before the first event is raised, so that it gets a status of its own."""
    first = await while_connected(request, anext(events))

    async def body() -> AsyncIterator[str]:
        try:
            async with aclosing(events):
                for chunk in encode(first):
                    yield chunk
                async for event in events:
                    for chunk in encode(event):
                        yield chunk
        except CorralError as error:
            yield encode_error(error)

    return StreamingResponse(body(), media_type=media_type, headers={"X-Accel-Buffering": "no"})


def line(value: dict[str, Any]) -> str:
    """One NDJSON line."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n"


def server_sent(value: dict[str, Any] | str) -> str:
    """One server-sent event."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return f"data: {text}\n\n"


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
