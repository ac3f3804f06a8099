"""Worker processes that hang, say nothing, or load for ever."""

from __future__ import annotations

import asyncio
from pathlib import Path

import psutil
import pytest
from corral.runtime.engine.process import (
    ModelLoadError,
    Worker,
    WorkerDiedError,
)
from corral.runtime.engine.protocol import (
    Beat,
    Loaded,
    LoadProgress,
    frame,
)

from tests.runtime.conftest import PATIENCE, freeze
from tests.runtime.engine.conftest import SMALL, answer, in_loop, pretend


def test_error_a_worker_that_hangs_is_killed_and_its_requests_get_one_error_each() -> None:
    async def run() -> None:
        worker = await Worker.start("tiny", "fake:0", SMALL, silence=5)
        freeze(worker.pid)
        asked = [answer(worker, "say:a;"), worker.count("a"), worker.embed(["a"])]
        for error in await asyncio.gather(*asked, return_exceptions=True):
            assert type(error) is WorkerDiedError
            assert str(error).endswith("stopped: signal: SIGKILL (nothing was heard of it for 5 seconds)")
        assert worker.is_dead
        await worker.close()
        assert not psutil.pid_exists(worker.pid)

    in_loop(run)


def test_an_idle_worker_may_be_silent() -> None:
    async def run() -> None:
        worker = await Worker.start("tiny", "fake:0", SMALL)
        try:
            freeze(worker.pid)
            await asyncio.sleep(0.5)
            assert not worker.is_dead
        finally:
            await worker.close()

    in_loop(run)


def test_error_a_load_that_does_not_go_on_is_ended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    beat = "".join(f"\\{byte:03o}" for byte in frame(Beat()))
    pretend(
        monkeypatch, tmp_path, f"echo $$ > {tmp_path}/pid; while :; do printf '{beat}' >&$3 || exit; sleep 0.02; done"
    )

    async def run() -> None:
        with pytest.raises(
            ModelLoadError, match=r"model 'tiny' cannot be loaded: no progress for 0\.5 seconds"
        ) as caught:
            await Worker.start("tiny", "fake:0", SMALL, load_timeout=0.5)
        assert "OLLAMA_LOAD_TIMEOUT" in str(caught.value.hint)
        assert not psutil.pid_exists(int((tmp_path / "pid").read_text()))

    in_loop(run)


@pytest.mark.parametrize("limit", [0.0, -1.0, 1.0])
def test_a_load_that_goes_on_may_take_any_time(limit: float, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    messages = [
        *(LoadProgress(step / 8) for step in range(8)),
        Loaded(num_ctx=7, train_ctx=7, bos="", eos="", memory=1),
    ]
    sent = "; sleep 0.2; ".join("printf '" + "".join(f"\\{b:03o}" for b in frame(m)) + "' >&$3" for m in messages)
    pretend(monkeypatch, tmp_path, f"{sent}; exec sleep {PATIENCE}")

    async def run() -> None:
        worker = await Worker.start("tiny", "fake:0", SMALL, load_timeout=limit)
        await worker.close()
        assert worker.loaded.num_ctx == 7

    in_loop(run)


def test_error_a_worker_that_says_nothing_while_loading_is_ended(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pretend(monkeypatch, tmp_path, f"exec sleep {PATIENCE}")

    async def run() -> None:
        with pytest.raises(WorkerDiedError, match=r"nothing was heard of it for 0\.2 seconds"):
            await Worker.start("tiny", "fake:0", SMALL, silence=0.2)

    in_loop(run)


def test_a_load_that_nobody_waits_for_leaves_no_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pretend(monkeypatch, tmp_path, f"echo $$ > {tmp_path}/pid; exec sleep {PATIENCE}")

    async def run() -> None:
        loading = asyncio.create_task(Worker.start("tiny", "fake:0", SMALL))
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
            await asyncio.sleep(0.01)
        loading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await loading
        assert not psutil.pid_exists(int((tmp_path / "pid").read_text()))

    in_loop(run)


def test_a_load_given_up_at_any_moment_leaves_no_process() -> None:
    others = set(psutil.Process().children())

    async def run() -> None:
        for turns in range(0, 40, 4):
            loading = asyncio.create_task(Worker.start("tiny", "fake:0", SMALL))
            for _ in range(turns):
                await asyncio.sleep(0)
            loading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await loading
        left = set(psutil.Process().children()) - others
        assert not [child for child in left if "corral.runtime.engine.worker" in child.cmdline()]

    in_loop(run)
