"""Counting tokens: beside the loop that answers, and as surely as anything else that is asked of a worker."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from contextlib import aclosing
from pathlib import Path

import msgspec
import pytest
from corral.runtime.engine.process import StoppingError, UnreadRequestError, Worker
from corral.runtime.engine.protocol import Chunk, Load

from tests.runtime.conftest import PATIENCE, freeze, kill
from tests.runtime.engine.conftest import SMALL, answer, asking, in_loop, loaded

TEXTS = ["", "a", "Wörter, 10 € und 😀", "<s>", "The quick brown fox. " * 500]


def test_a_worker_counts_what_a_prompt_takes() -> None:
    async def run() -> None:
        async with loaded() as worker:
            counted = await asyncio.gather(*map(worker.count, TEXTS))
            assert counted == [1 + len(text.encode()) for text in TEXTS]
            assert await answer(worker, "say:and answers;") == "and answers"

    in_loop(run)


def test_a_real_models_count_is_the_prompt_it_evaluates(smollm2: Path) -> None:
    async def prompt_tokens(worker: Worker, text: str) -> int:
        replies = [reply async for reply in asking(worker, text, num_predict=1)]
        last = replies[-1]
        assert not isinstance(last, Chunk)
        return last.prompt_tokens

    async def run() -> None:
        async with loaded(str(smollm2)) as worker:
            for text in ("a", "Wörter, 10 € und 😀", "<|im_start|>user\nHi.<|im_end|>\n"):
                assert await worker.count(text) == await prompt_tokens(worker, text)

    in_loop(run)


def test_counting_does_not_wait_for_who_is_being_answered() -> None:
    async def run() -> None:
        async with loaded(f"fake:{PATIENCE * 10}") as worker:  # its first step takes longer than the test may
            asked = asyncio.create_task(answer(worker, "never answered"))
            await asyncio.sleep(0)  # it is sent, before what follows
            for size in (1, 100_000):
                assert await worker.count("x" * size) == size + 1
            asked.cancel()

    in_loop(run)


def test_error_a_count_that_a_dying_worker_has_not_read_is_told_apart() -> None:
    async def run() -> None:
        async with loaded() as worker:
            freeze(worker.pid)
            asked = asyncio.create_task(worker.count("how long?", name="mine"))
            await asyncio.sleep(0)
            kill(worker.pid)
            with pytest.raises(UnreadRequestError, match=r"model 'mine': .* SIGKILL"):
                await asked
            with pytest.raises(UnreadRequestError, match="model 'tiny'"):
                await worker.count("and now?")

    in_loop(run)


def test_error_closing_a_worker_ends_its_counts() -> None:
    async def run() -> None:
        async with loaded() as worker:
            freeze(worker.pid)
            asked = asyncio.create_task(worker.count("how long?"))
            await asyncio.sleep(0)
            await worker.close()
            with pytest.raises(StoppingError):
                await asked

    in_loop(run)


def test_a_count_nobody_waits_for_leaves_the_worker_as_it_was() -> None:
    async def run() -> None:
        async with loaded("fake:0.01") as worker, aclosing(asking(worker, "endless")) as endless:
            assert isinstance(await anext(endless), Chunk)
            for text in TEXTS:
                asked = asyncio.create_task(worker.count(text))
                await asyncio.sleep(0)
                asked.cancel()
            assert await worker.count("a") == 2
            assert isinstance(await anext(endless), Chunk)

    in_loop(run)


def test_error_a_worker_that_cannot_read_its_requests_ends_and_says_why() -> None:
    ours, theirs = socket.socketpair()
    load = msgspec.json.encode(Load("fake:0", SMALL)).decode()
    with ours, theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", "corral.runtime.engine.worker", str(theirs.fileno()), load],
            pass_fds=[theirs.fileno()],
            stderr=subprocess.PIPE,
            text=True,
        )
        ours.sendall(b"\0\0\0\3abc")
        _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert "a frame of 3 bytes is no message" in said
