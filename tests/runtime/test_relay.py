"""A source that is read at its own pace."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest
from corral.runtime.relay import relayed


class Source:
    """Gives numbers, and says what became of it."""

    def __init__(self, count: int, *, fails: bool = False) -> None:
        self.given = 0
        self.is_closed = False
        self._count = count
        self._fails = fails

    async def items(self) -> AsyncGenerator[int]:
        try:
            while self.given < self._count:
                self.given += 1
                yield self.given
                await asyncio.sleep(0)
            if self._fails:
                raise ValueError("broken")
        finally:
            self.is_closed = True


def test_all_items_come_in_order() -> None:
    async def run() -> list[int]:
        return [item async for item in relayed(Source(50).items())]

    assert asyncio.run(run()) == list(range(1, 51))


def test_the_source_is_read_to_its_end_whoever_reads() -> None:
    async def run() -> None:
        source = Source(50)
        async with aclosing(relayed(source.items())) as items:
            assert await anext(items) == 1
            while not source.is_closed:
                await asyncio.sleep(0)
            assert source.given == 50
            assert [item async for item in items] == list(range(2, 51))

    asyncio.run(run())


def test_leaving_closes_the_source() -> None:
    async def run() -> None:
        source = Source(1 << 60)
        async with aclosing(relayed(source.items())) as items:
            assert await anext(items) == 1
        assert source.is_closed

    asyncio.run(run())


def test_error_it_comes_after_what_came_before() -> None:
    async def run() -> None:
        items = relayed(Source(3, fails=True).items())
        assert [await anext(items) for _ in range(3)] == [1, 2, 3]
        with pytest.raises(ValueError, match="broken"):
            await anext(items)

    asyncio.run(run())
