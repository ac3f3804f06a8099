"""Models meant to do harm: each is one clear error or an answer, and the server serves everybody else as before.

The header is read strictly before an engine sees a file; what that lets pass, and what would come if it did not, ends at
most the worker's own process.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
from collections.abc import AsyncGenerator, Generator
from contextlib import aclosing, asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import psutil
import pytest
from corral.runtime.engine.llama.specimen import specimen
from corral.runtime.engine.process import ModelLoadError, RequestFailedError, Worker, WorkerDiedError
from corral.runtime.engine.protocol import Finished, LoadOptions
from corral.store import gguf
from corral.store.errors import InvalidGGUFError

from tests.conftest import Cli
from tests.runtime.conftest import PATIENCE, FakeServer, Serve
from tests.runtime.engine import hostile
from tests.runtime.engine.conftest import answer, asking, in_loop

IS_SOAK = bool(os.environ.get("CORRAL_SOAK"))
SEED = 7
ABORTING = (
    "block_count 0",
    "block_count 2147483648",
    "expert_count 1",
    "expert_count 2147483648",
    "epsilon NaN",
    "a vocabulary of one text",
    "a vocabulary without bytes",
)
"""Kinds the engine ends its process over."""


class Shelf:
    """A store in which a model's weights may be anything."""

    def __init__(self, cli: Cli) -> None:
        self.models = cli.models
        (cli.folder / "sound.gguf").write_bytes(specimen())
        cli.ok("create", "sound", "-f", "-", stdin="FROM ./sound.gguf\nPARAMETER num_ctx 256\n")

    def blob(self, data: bytes) -> Path:
        """Where a blob with these bytes is."""
        return self.models / "blobs" / f"sha256-{sha256(data).hexdigest()}"

    def put(self, name: str, data: bytes) -> Path:
        """Give a name to a model of these bytes, unchecked; its blob."""
        folder = self.models / "manifests" / "registry.ollama.ai" / "library"
        manifest = json.loads((folder / "sound" / "latest").read_bytes())
        (layer,) = (layer for layer in manifest["layers"] if layer["mediaType"].endswith(".model"))
        layer |= {"digest": f"sha256:{sha256(data).hexdigest()}", "size": len(data)}
        self.blob(data).write_bytes(data)
        (folder / name).mkdir(exist_ok=True)
        (folder / name / "latest").write_text(json.dumps(manifest))
        return self.blob(data)


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    folder = tmp_path_factory.mktemp("hostile")
    return Shelf(Cli(folder / "models", folder))


@pytest.fixture(scope="module")
def real(serve: Serve, shelf: Shelf) -> Generator[FakeServer]:
    with serve(models=shelf.models, is_real=True, num_thread=1, slots=2) as server:
        yield server


def request(model: str, **more: object) -> dict[str, object]:
    return {"model": model, "prompt": "Hello there.", "stream": False, "options": {"num_predict": 4, "seed": 1}, **more}


def check(real: FakeServer, model: str) -> str:
    """One answer or one error, and the sound model is served; the error."""
    reply = real.post("/api/generate", request(model))
    body = reply.json()
    assert reply.status_code in (200, 400, 500)
    if reply.status_code == 200:
        assert body["done"]
        assert 1 <= body["eval_count"] <= 4
    else:
        assert body["error"]
        assert body["error"].isprintable()
        assert "Traceback" not in body["error"]
    assert real.post("/api/generate", request("sound")).json()["eval_count"] >= 1
    return "" if reply.status_code == 200 else body["error"]


@pytest.mark.parametrize("kind", hostile.KINDS)
def test_error_whatever_is_wrong_with_a_model_the_server_answers(real: FakeServer, shelf: Shelf, kind: str) -> None:
    data = hostile.KINDS[kind]()
    blob = shelf.put("bad", data)
    error = check(real, "bad")
    try:
        gguf.read(blob)
    except InvalidGGUFError:
        assert "invalid GGUF" in error
    else:
        assert "invalid GGUF" not in error
        assert not error or error.startswith(("model 'bad:latest'", "template: "))


def test_error_a_vocabulary_that_a_text_could_not_get_past_is_refused(real: FakeServer, shelf: Shelf) -> None:
    shelf.put("circles", hostile.KINDS["an RWKV vocabulary without bytes"]())
    assert "its RWKV vocabulary lacks bytes that its tokens begin with" in check(real, "circles")


@pytest.mark.parametrize("options", [{}, {"temperature": 0}, {"temperature": 0, "top_k": 1, "repeat_penalty": 2}])
def test_error_weights_that_are_no_numbers_are_told_not_answered_with_nothing(
    real: FakeServer, shelf: Shelf, options: dict[str, object]
) -> None:
    shelf.put("nan", hostile.KINDS["weights of NaN"]())
    reply = real.post("/api/generate", request("nan", options={"num_predict": 4, **options}))
    assert reply.status_code == 500
    assert "output is not a number: its weights are damaged" in reply.json()["error"]


def _check_flipped(real: FakeServer, shelf: Shelf, seed: int, count: int) -> None:
    for data in hostile.flipped(seed, count):
        shelf.put("flipped", data)
        check(real, "flipped")


def test_error_flipped_bits_are_an_error_or_an_answer(real: FakeServer, shelf: Shelf) -> None:
    _check_flipped(real, shelf, SEED, 8)


@pytest.mark.soak
def test_error_many_flipped_bits_are_errors_or_answers(real: FakeServer, shelf: Shelf) -> None:
    _check_flipped(real, shelf, random.randrange(1 << 32) if IS_SOAK else SEED + 1, 400 if IS_SOAK else 4)


@asynccontextmanager
async def started(path: Path, slots: int = 2) -> AsyncGenerator[Worker]:
    worker = await Worker.start("specimen", str(path), LoadOptions(num_ctx=256, slots=slots, num_thread=1))
    try:
        yield worker
    finally:
        await worker.close()


async def _outcome(path: Path) -> str:
    """What comes of a model that nobody looked at before: an error or "" for an answer."""
    said = ""
    try:
        async with started(path) as worker:
            await answer(worker, "Hello there.", num_predict=4)
    except (ModelLoadError, RequestFailedError, WorkerDiedError) as error:
        said = str(error)
    assert said.isprintable() or not said
    assert str(path.parent) not in said
    return said


@pytest.mark.parametrize("kind", ABORTING)
def test_error_what_ends_the_engine_ends_its_own_process_only(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.gguf"
    path.write_bytes(hostile.KINDS[kind]())

    async def run() -> None:
        assert "unexpectedly stopped: signal: SIGABRT (" in await _outcome(path)

    in_loop(run)


@pytest.mark.soak
def test_error_no_file_harms_more_than_its_own_process(tmp_path: Path) -> None:
    path = tmp_path / "bad.gguf"
    every = list(hostile.KINDS.values())

    async def run() -> list[str]:
        outcomes: list[str] = []
        for make in every if IS_SOAK else random.Random(SEED).sample(every, 6):
            path.write_bytes(make())
            outcomes.append(await _outcome(path))
        return outcomes

    assert any(asyncio.run(asyncio.wait_for(run(), PATIENCE * 4)))  # most are errors, each of which was looked at


def test_error_a_model_cut_short_while_it_is_used_is_one_error(real: FakeServer, shelf: Shelf) -> None:
    data = hostile.MODEL.having(hostile.text("general.name", "cut")).joined()
    blob = shelf.put("cut", data)
    assert check(real, "cut") == ""
    os.truncate(blob, 0)
    reply = real.post("/api/generate", request("cut", options={"num_predict": 200}))
    assert reply.status_code == 500
    # The server sees it, or it is the worker's end.
    assert "expected" in reply.json()["error"] or "SIGBUS" in reply.json()["error"]
    blob.write_bytes(data)
    assert check(real, "cut") == ""


def test_error_a_file_cut_short_under_its_worker_ends_that_with_a_bus_error(tmp_path: Path) -> None:
    path = tmp_path / "cut.gguf"
    path.write_bytes(specimen())

    async def run() -> None:
        async with started(path) as worker:
            assert await answer(worker, "Hello there.", num_predict=4)
            os.truncate(path, 0)
            with pytest.raises(WorkerDiedError, match="signal: SIGBUS"):
                await answer(worker, "And now something else.", num_predict=100)
        path.write_bytes(specimen())
        async with started(path) as worker:
            assert await answer(worker, "Hello there.", num_predict=4)

    in_loop(run)


@pytest.mark.parametrize("name", ["SIGSEGV", "SIGABRT", "SIGBUS", "SIGKILL"])
def test_error_a_worker_that_is_killed_costs_its_requests_one_error_each(
    real: FakeServer, shelf: Shelf, name: str
) -> None:
    shelf.put("endless", hostile.endless())
    options = {"num_predict": 100_000, "num_ctx": 100_000}
    rest: list[dict[str, Any]] = [{}]
    while "error" not in rest[-1]:  # an answer at random may have ended before the signal came
        with real.stream("/api/generate", {"model": "endless", "prompt": "x", "options": options}) as reply:
            lines = reply.iter_lines()
            assert "error" not in json.loads(next(lines))
            for worker in real.workers:  # whichever of them answers this
                if not worker.is_dead:
                    os.kill(worker.pid, signal.Signals[name])
            rest = [json.loads(line) for line in lines]
    assert [line["error"] for line in rest if "error" in line] == [rest[-1]["error"]]
    assert rest[-1]["error"].startswith(
        "model 'endless:latest': the model runner has unexpectedly stopped: signal: " + name
    )
    assert check(real, "endless") == ""


@pytest.mark.soak
def test_cancelled_streams_leave_no_slot_taken_and_no_memory(tmp_path: Path) -> None:
    count = 1000 if IS_SOAK else 60
    choose = random.Random(SEED)
    path = tmp_path / "specimen.gguf"
    path.write_bytes(specimen())

    async def leave(worker: Worker, number: int) -> None:
        async with aclosing(asking(worker, f"{number} " * choose.randrange(1, 60))) as stream:
            for _ in range(choose.choice((0, 0, 1, 2, 9))):
                if isinstance(await anext(stream), Finished):
                    return

    async def run() -> None:
        async with started(path, slots=4) as worker:
            process = psutil.Process(worker.pid)

            async def several(numbers: range) -> None:
                for start in range(numbers.start, numbers.stop, 20):
                    await asyncio.gather(*(leave(worker, number) for number in range(start, start + 20)))
                await asyncio.gather(*(answer(worker, "all slots", num_predict=4) for _ in range(4)))

            await several(range(40))
            before = process.memory_info().rss
            await several(range(40, 40 + count))
            assert process.memory_info().rss - before < 24 << 20
            # Whoever left is not computed for any more: the last answers would else share their steps with others.
            assert await answer(worker, "alone", num_predict=4)

    asyncio.run(asyncio.wait_for(run(), PATIENCE * 4))
