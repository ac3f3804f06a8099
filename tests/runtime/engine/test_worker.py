"""What stands between the socket and the loop, and workers that give embeddings."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from typing import Any

import numpy as np
import pytest
from corral.runtime.engine import worker
from corral.runtime.engine.fake import FakeDecoder
from corral.runtime.engine.process import RequestFailedError, RequestRefusedError, WorkerDiedError
from corral.runtime.engine.protocol import Cancel, Count, Counted, Generate, LoadOptions, Reply
from corral.runtime.engine.worker import Intake

from tests.runtime.conftest import PATIENCE, kill
from tests.runtime.engine.conftest import SMALL, ask, in_loop, loaded

EMBEDS = LoadOptions(num_ctx=64, slots=4, num_thread=1, embeds=True)


class SlowModel(FakeDecoder):
    """Takes its time with texts."""

    def __init__(self) -> None:
        super().__init__(SMALL)
        self.began, self.may_end = threading.Event(), threading.Event()

    def tokenize(self, text: str) -> list[int]:
        self.began.set()
        assert self.may_end.wait(PATIENCE)
        return super().tokenize(text)


class Requests:
    """A loop that only takes down what it is given; its prompts are tokenised in the caller's thread, as they must be."""

    def __init__(self, model: SlowModel) -> None:
        self._model = model
        self.taken: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def submit(self, request: Any) -> None:
        if isinstance(request, Generate):
            self._model.tokenize(request.prompt)
        self.taken.put(request)

    def run(self) -> None:
        """Never called."""


@pytest.fixture
def sent() -> queue.SimpleQueue[list[Reply]]:
    return queue.SimpleQueue()


@pytest.mark.parametrize("long", [ask(1, "long"), Count(1, "long")], ids=["prompt", "count"])
def test_a_long_text_holds_up_no_cancel(long: Generate | Count, sent: queue.SimpleQueue[list[Reply]]) -> None:
    model = SlowModel()
    loop, intake = Requests(model), Intake(sent.put)
    threading.Thread(target=intake.run, args=(model, loop), daemon=True).start()
    intake.put(long)
    assert model.began.wait(PATIENCE)
    intake.put(Cancel(7))
    assert loop.taken.get(timeout=PATIENCE) == Cancel(7)
    assert loop.taken.empty()
    assert sent.empty()
    model.may_end.set()
    if isinstance(long, Count):
        assert sent.get(timeout=PATIENCE) == [Counted(1, 5)]
    else:
        assert loop.taken.get(timeout=PATIENCE) is long


def test_a_text_that_is_never_done_makes_a_worker_silent(
    sent: queue.SimpleQueue[list[Reply]], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, intake = SlowModel(), Intake(sent.put)
    threading.Thread(target=intake.run, args=(model, Requests(model)), daemon=True).start()
    intake.put(Count(1, "text"))
    assert model.began.wait(PATIENCE)
    assert not intake.is_stuck
    monkeypatch.setattr(worker, "_LONGEST", 0.0)
    assert intake.is_stuck
    model.may_end.set()
    assert sent.get(timeout=PATIENCE) == [Counted(1, 5)]
    intake.put(Count(2, "more"))
    assert sent.get(timeout=PATIENCE) == [Counted(2, 5)]
    waited = time.monotonic() + PATIENCE
    while intake.is_stuck and time.monotonic() < waited:
        time.sleep(0.01)
    assert not intake.is_stuck


def test_what_comes_before_the_model_is_there_is_kept_in_order(sent: queue.SimpleQueue[list[Reply]]) -> None:
    model = SlowModel()
    model.may_end.set()
    loop, intake = Requests(model), Intake(sent.put)
    requests = [ask(1, "a"), Cancel(1), ask(2, "b")]
    for request in requests:
        intake.put(request)
    threading.Thread(target=intake.run, args=(model, loop), daemon=True).start()
    assert [loop.taken.get(timeout=PATIENCE) for _ in requests] == requests


def test_a_worker_gives_embeddings() -> None:
    async def run() -> None:
        async with loaded("fake:0", EMBEDS) as worker:
            assert worker.loaded.embedding_length == 8
            assert await worker.count("abc") == 5
            reply = await worker.embed(["abc", "", "abc"])
            first, empty, again = (np.frombuffer(vector, "<f4") for vector in reply.vectors)
            assert first.tolist() == again.tolist() != empty.tolist()
            assert abs(float(np.linalg.norm(first)) - 1) < 1e-5
            assert reply.tokens == 5 + 2 + 5
            assert (await worker.embed([])).vectors == []

    in_loop(run)


def test_any_number_of_texts_keep_their_order() -> None:
    async def run() -> None:
        async with loaded("fake:0", EMBEDS) as worker:
            texts = [chr(ord("a") + number % 26) * (1 + number % 9) for number in range(700)]
            alone = {text: (await worker.embed([text])).vectors[0] for text in set(texts)}
            reply = await worker.embed(texts)
            assert reply.vectors == [alone[text] for text in texts]
            assert reply.tokens == sum(len(text) + 2 for text in texts)

    in_loop(run)


def test_error_a_text_that_cannot_be_embedded_fails_alone() -> None:
    async def run() -> None:
        async with loaded("fake:0", EMBEDS) as worker:
            with pytest.raises(RequestRefusedError, match="model 'mine': the input length exceeds the context length"):
                await worker.embed(["a" * 100], truncates=False, name="mine")
            with pytest.raises(RequestFailedError, match="model 'tiny': "):
                await worker.embed(["fail;"])
            assert len((await worker.embed(["a" * 100])).vectors) == 1

    in_loop(run)


def test_error_a_killed_worker_fails_its_embeddings() -> None:
    async def run() -> None:
        async with loaded(f"fake:{PATIENCE * 10}", EMBEDS) as worker:
            asked = asyncio.create_task(worker.embed(["a"]))
            await worker.count("it has read what was sent before")
            kill(worker.pid)
            with pytest.raises(WorkerDiedError, match="SIGKILL"):
                await asked

    in_loop(run)
