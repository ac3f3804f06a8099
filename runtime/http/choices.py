"""Choices: several answers to one request, as one stream of events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any, TypeAlias

from ..inference import Inference
from ..request import Event, InferenceRequest
from .stream import Answer, collected

Choice: TypeAlias = tuple[int, Event]
"""The number of an answer, from 0, and what happens to it."""


def requests_for(wanted: InferenceRequest, count: int) -> list[InferenceRequest]:
    """As many requests, of which each draws its own random numbers."""
    return [replace(wanted, number=number) for number in range(count)]


async def all_of(inference: Inference, requests: Sequence[InferenceRequest]) -> list[Answer]:
    """The whole answers. The first that fails ends them all, with its error."""
    running = [asyncio.create_task(collected(inference.answer(request))) for request in requests]
    try:
        return await asyncio.gather(*running)
    finally:
        await _end(running)


async def answers(inference: Inference, requests: Sequence[InferenceRequest]) -> AsyncGenerator[Choice]:
    """The events of all of them as they come. The first that fails ends it, with its error."""
    events: asyncio.Queue[Choice | BaseException | None] = asyncio.Queue()

    async def run(number: int, request: InferenceRequest) -> None:
        try:
            async with aclosing(inference.answer(request)) as stream:
                async for event in stream:
                    events.put_nowait((number, event))
            events.put_nowait(None)
        except BaseException as error:
            events.put_nowait(error)
            raise

    running = [asyncio.create_task(run(number, request)) for number, request in enumerate(requests)]
    left = len(running)
    try:
        while left:
            event = await events.get()
            if isinstance(event, BaseException):
                raise event
            if event is None:
                left -= 1
            else:
                yield event
    finally:
        await _end(running)


async def _end(running: Sequence[asyncio.Task[Any]]) -> None:
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
