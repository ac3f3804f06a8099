"""Relay: takes what a source gives as it comes, so that who reads slowly holds up nobody but himself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TypeVar

_T = TypeVar("_T")


async def relayed(source: AsyncGenerator[_T]) -> AsyncGenerator[_T]:
    """The source's items. It is read to its end at its own pace, and closed there; or when this iteration is left.

    Raises what the source raises, after the items before it.
    """
    items: asyncio.Queue[_T | None] = asyncio.Queue()

    async def read() -> None:
        try:
            async with aclosing(source):
                async for item in source:
                    items.put_nowait(item)
        finally:
            items.put_nowait(None)

    reading = asyncio.create_task(read())
    try:
        while (item := await items.get()) is not None:
            yield item
        await reading
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
