"""Sendfile: a file's bytes from the disk to a connection by the kernel, past the ASGI server, which would copy them twice.

uvloop has no sendfile of its own. The connection's bytes are written here while its answer's are due, and nowhere else.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeAlias

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

EXTENSION = "corral.sendfile"
"""Under `extensions` in the scope of a request whose connection can do it; its `send` is a SendFile."""
_PIECE = 4 << 20

SendFile: TypeAlias = "Callable[[int, int, int], Awaitable[None]]"
"""Sends of an open file the bytes from the second to the third as the answer's body, all of it, after its start."""


async def send_file(cycle: RequestResponseCycle, patience: float, descriptor: int, start: int, stop: int) -> None:
    """A SendFile, of the request that this is the cycle of. The connection ends where the client is gone, or takes nothing
    for `patience` seconds.
    """
    transport = cycle.transport
    try:
        async with asyncio.timeout(patience):  # the answer's start, which the server has written itself
            while transport.get_write_buffer_size() and not transport.is_closing():
                await asyncio.sleep(0.001)
        socket = os.dup(transport.get_extra_info("socket").fileno())
        try:
            while start < stop and not (cycle.disconnected or transport.is_closing()):
                with suppress(BlockingIOError):
                    count = await asyncio.to_thread(os.sendfile, socket, descriptor, start, min(_PIECE, stop - start))
                    if not count:
                        raise EOFError  # it is shorter than it was: the client sees that not all came
                    start += count
                if start < stop:
                    async with asyncio.timeout(patience):
                        await _writable(socket)
        finally:
            os.close(socket)
    except (OSError, EOFError):
        pass
    if start < stop:
        transport.abort()
        while not cycle.disconnected:
            await asyncio.sleep(0)
    cycle.expected_content_length = 0


async def _writable(socket: int) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_writer(socket, lambda: ready.done() or ready.set_result(None))
    try:
        await ready
    finally:
        loop.remove_writer(socket)
