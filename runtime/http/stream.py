"""Streams: from events to NDJSON or SSE, for clients that may go away at any time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator, Mapping
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse

from ...modelfile.template.conversation import ToolCall
from ...store.errors import CorralError, InputError
from ..dialogue.parts import Called, Content
from ..engine.protocol import TokenLogprobs
from ..request import Cut, Done, Event, Said, Started
from ..schedule.pool import BusyError
from .types import MAX_BODY

_T = TypeVar("_T")
_PIECE = 256 << 10
"""Bytes that are worth a change of threads."""
_SMALL = 256 << 10
"""Bytes of a body for which there is always room, so that those who send much keep nobody else out."""


class BodyTooLargeError(InputError):
    """A request body that this server does not take in."""


class Room:
    """Memory for bodies that are being read, of all requests together. For use in one event loop."""

    def __init__(self, size: int) -> None:
        self.free = size
        """Bytes that are left."""

    @contextmanager
    def share(self) -> Generator[Callable[[int], None]]:
        """To be told how long one of them is by now; it raises BusyError where that is too much. Ends with the block."""
        held = 0

        def grow(size: int) -> None:
            nonlocal held
            more = max(size - _SMALL, 0) - held
            if more > self.free:
                raise BusyError
            self.free -= more
            held += more

        try:
            yield grow
        finally:
            self.free += held


_ROOM = Room(1 << 30)  # bytes


def client_of(request: Request) -> str:
    """Who asks, for taking turns: the address of the other end."""
    return request.client.host if request.client else ""


def announced(request: Request) -> int | None:
    """How many bytes the client says its body has."""
    text = request.headers.get("content-length", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None


async def read_body(request: Request, most: int = MAX_BODY) -> bytes:
    """The whole body. Raises BodyTooLargeError above so many bytes, BusyError while others send too much."""
    body = bytearray()
    _check(announced(request) or 0, most)
    with _ROOM.share() as grow:
        async for chunk in request.stream():
            body += chunk
            _check(len(body), most)
            grow(len(body))
    return bytes(body)


def _check(size: int, most: int) -> None:
    if size > most:
        raise BodyTooLargeError(f"request body of more than {most} bytes")


async def pour(request: Request, write: Callable[[memoryview], object], check: Callable[[int], object]) -> int:
    """Write a body while more of it comes; how many bytes came. `check` is asked first whether so many may.

    Where the body does not come to its end, or `check` raises, what came before is written.
    """
    piece, came = bytearray(), 0
    writing = asyncio.ensure_future(asyncio.sleep(0))

    async def change_over() -> None:
        nonlocal piece, writing
        await asyncio.shield(writing)
        writing = asyncio.ensure_future(asyncio.to_thread(write, memoryview(piece)))
        piece = bytearray()

    try:
        async for chunk in request.stream():
            check(came + len(chunk))
            piece += chunk
            came += len(chunk)
            if len(piece) >= _PIECE:
                await change_over()
        await change_over()
        await asyncio.shield(writing)
    except (ClientDisconnect, CorralError):
        await change_over()
        raise
    finally:  # not before may its file be closed
        await asyncio.gather(writing, return_exceptions=True)
    return came


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


@dataclass(slots=True)
class Answer:
    """A whole answer."""

    started: Started
    done: Done
    content: str = ""
    thinking: str = ""
    calls: list[ToolCall] = field(default_factory=list[ToolCall])
    logprobs: list[TokenLogprobs] = field(default_factory=list[TokenLogprobs])


async def collect(request: Request, events: AsyncGenerator[Event]) -> Answer:
    """The whole answer, for clients that do not stream."""
    return await while_connected(request, collected(events))


async def collected(events: AsyncGenerator[Event]) -> Answer:
    """The whole answer."""
    answer = Answer(Started(num_ctx=0), Done(reason="", total=0, load=0))
    contents: list[str] = []
    thoughts: list[str] = []
    async with aclosing(events):
        async for event in events:
            match event:
                case Started():
                    answer.started = event
                case Done():
                    answer.done = event
                case Said(part, logprobs):
                    answer.logprobs += logprobs
                    if isinstance(part, Called):
                        answer.calls.append(part.call)
                    else:
                        (contents if isinstance(part, Content) else thoughts).append(part.text)
    answer.content, answer.thinking = "".join(contents), "".join(thoughts)
    return answer


def notes(started: Started) -> dict[str, Any]:
    """What was not done as it was asked for, to be said in the reply; nothing where all was."""
    said = cut_note(started.cut)
    if started.asked_ctx:
        said["num_ctx"] = {"asked": started.asked_ctx, "given": started.num_ctx}
    return said


def headers(started: Event) -> dict[str, str]:
    """The same for those who read headers only, and the context."""
    if not isinstance(started, Started):
        return {}
    return {"X-Corral-Num-Ctx": str(started.num_ctx)} | cut_header(started.cut)


def cut_note(cut: Cut | None) -> dict[str, Any]:
    """In a reply: what was left out."""
    return {"truncated": {"messages": cut.messages, "tokens": cut.tokens}} if cut else {}


def cut_header(cut: Cut | None) -> dict[str, str]:
    """The same before it."""
    return {"X-Corral-Truncated": f"messages={cut.messages}, tokens={cut.tokens}"} if cut else {}


async def respond(
    request: Request,
    events: AsyncGenerator[_T],
    *,
    media_type: str,
    said: Callable[[_T], Mapping[str, str]],
    encode: Callable[[_T], list[str]],
    encode_error: Callable[[CorralError], str],
) -> Response:
    """A streaming reply; what headers say depends on the first event. What fails before it is raised, so that it gets a
    status of its own.
    """
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

    return StreamingResponse(body(), media_type=media_type, headers={"X-Accel-Buffering": "no", **said(first)})


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
