"""Running the batching loop on a decoder, in one thread, so that every test repeats exactly; and whole worker processes."""

from __future__ import annotations

import asyncio
import sys
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
from corral.runtime.engine.batch import BatchLoop
from corral.runtime.engine.decoder import Decoder
from corral.runtime.engine.process import Worker
from corral.runtime.engine.protocol import (
    Cancel,
    Chunk,
    Failed,
    Finished,
    Generate,
    LoadOptions,
    Reply,
    Sampling,
    TokenLogprobs,
)

from tests.runtime.conftest import PATIENCE

GREEDY = Sampling(temperature=0)
SMALL = LoadOptions(num_ctx=256, slots=2, num_thread=1)


def ask(
    number: int,
    prompt: str,
    *,
    stop: Sequence[str] = (),
    num_predict: int = -1,
    num_ctx: int = 1 << 20,
    num_keep: int = 4,
    sampling: Sampling = GREEDY,
    shifts: bool = False,
    logprobs: int = -1,
    before: Sequence[int] = (),
    wants_tokens: bool = False,
    shown: Sequence[str] = (),
) -> Generate:
    """A request."""
    return Generate(
        number,
        prompt,
        sampling,
        list(stop),
        num_predict=num_predict,
        num_ctx=num_ctx,
        num_keep=num_keep,
        shifts=shifts,
        logprobs=logprobs,
        before=list(before),
        wants_tokens=wants_tokens,
        shown=list(shown),
    )


@dataclass
class Outcome:
    """What came of some requests, by their numbers."""

    texts: dict[int, str] = field(default_factory=lambda: defaultdict[int, str](str))
    logprobs: dict[int, list[TokenLogprobs]] = field(
        default_factory=lambda: defaultdict[int, list[TokenLogprobs]](list)
    )
    finished: dict[int, Finished] = field(default_factory=dict[int, Finished])
    failed: dict[int, str] = field(default_factory=dict[int, str])
    order: list[int] = field(default_factory=list[int])
    """Whose text came when."""


def run(
    decoder: Decoder,
    requests: Sequence[Generate],
    *,
    deterministic: bool = False,
    meanwhile: Callable[[Outcome], Sequence[Generate | Cancel]] = lambda _: (),
) -> Outcome:
    """Serve the requests until each is answered, has failed or was cancelled.

    `meanwhile` sees what has come so far after each step, and may send more.
    """
    outcome = Outcome()
    open_numbers = {request.id for request in requests}

    def send(replies: list[Reply]) -> None:
        for reply in replies:
            match reply:
                case Chunk():
                    outcome.texts[reply.id] += reply.text
                    outcome.logprobs[reply.id] += reply.logprobs
                    outcome.order.append(reply.id)
                case Finished():
                    outcome.finished[reply.id] = reply
                    open_numbers.remove(reply.id)
                case Failed():
                    outcome.failed[reply.id] = reply.error
                    open_numbers.remove(reply.id)
                case _:
                    raise AssertionError(reply)
        for more in meanwhile(outcome):
            open_numbers.add(more.id) if isinstance(more, Generate) else open_numbers.discard(more.id)
            loop.submit(more)
        if not open_numbers:
            loop.submit(None)

    loop = BatchLoop(decoder, send, deterministic=deterministic)
    for request in requests:
        loop.submit(request)
    loop.run()
    return outcome


def once(
    request: Generate | Cancel, when: Callable[[Outcome], bool]
) -> Callable[[Outcome], Sequence[Generate | Cancel]]:
    """Sends the request the first time that `when` holds."""
    sent: list[Generate | Cancel] = []

    def meanwhile(outcome: Outcome) -> Sequence[Generate | Cancel]:
        if sent or not when(outcome):
            return ()
        sent.append(request)
        return (request,)

    return meanwhile


def cancel(number: int, *, after: int) -> Callable[[Outcome], Sequence[Generate | Cancel]]:
    """Cancels a request when so many pieces of text have come, of any."""
    return once(Cancel(number), lambda outcome: len(outcome.order) >= after)


def in_loop(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a test's coroutine, but not for ever."""
    asyncio.run(asyncio.wait_for(test(), PATIENCE))


@asynccontextmanager
async def loaded(path: str = "fake:0", options: LoadOptions = SMALL) -> AsyncGenerator[Worker]:
    """A worker while the block runs."""
    worker = await Worker.start("tiny", path, options)
    try:
        yield worker
    finally:
        await worker.close()
    assert not psutil.pid_exists(worker.pid)


def asking(worker: Worker, prompt: str, *, num_predict: int = -1) -> AsyncGenerator[Chunk | Finished]:
    """The replies to a prompt."""
    return worker.generate(prompt, sampling=GREEDY, stop=[], num_predict=num_predict, num_ctx=256, num_keep=4)


async def answer(worker: Worker, prompt: str, *, num_predict: int = -1) -> str:
    """The whole answer."""
    replies = [reply async for reply in asking(worker, prompt, num_predict=num_predict)]
    assert isinstance(replies[-1], Finished)
    return "".join(reply.text for reply in replies if isinstance(reply, Chunk))


def pretend(monkeypatch: pytest.MonkeyPatch, folder: Path, commands: str) -> None:
    """Have a shell script in place of the worker; its third argument is the socket's number."""
    script = folder / "worker.sh"
    script.write_text(f"#!/bin/bash\n{commands}\n")
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))
