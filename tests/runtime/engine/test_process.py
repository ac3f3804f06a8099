"""Worker processes: started, asked, left, killed. Most run the FakeDecoder, a few the real model."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from contextlib import aclosing
from pathlib import Path

import msgspec
import psutil
import pytest
from corral.runtime.engine.process import (
    ModelLoadError,
    RequestRefusedError,
    StoppingError,
    UnreadRequestError,
    Worker,
    WorkerDiedError,
)
from corral.runtime.engine.protocol import (
    Beat,
    Chunk,
    Frames,
    Load,
    Loaded,
    LoadOptions,
    decode_reply,
    frame,
)
from corral.store.errors import FileError

from tests.runtime.conftest import PATIENCE, freeze, kill
from tests.runtime.engine.conftest import SMALL, answer, ask, asking, in_loop, loaded, pretend


def test_a_worker_answers_several_at_once() -> None:
    async def run() -> None:
        async with loaded() as worker:
            assert worker.loaded.num_ctx == 256
            answers = await asyncio.gather(*(answer(worker, f"say:{number};") for number in range(8)))
            assert answers == [str(number) for number in range(8)]

    in_loop(run)


def test_leaving_an_answer_early_frees_its_slot() -> None:
    async def run() -> None:
        async with loaded("fake:0.01", LoadOptions(num_ctx=100_000, slots=1)) as worker:
            async with aclosing(asking(worker, "endless")) as endless:
                assert isinstance(await anext(endless), Chunk)
            assert await answer(worker, "say:free;") == "free"

    in_loop(run)


def test_error_a_killed_worker_fails_its_own_requests_only() -> None:
    async def run() -> None:
        async with loaded("fake:0.01") as worker, loaded("fake:0.01") as neighbour:
            dying = [asking(worker, "endless"), asking(worker, "endless too")]
            others = asyncio.create_task(answer(neighbour, "say:alive and well;"))
            for stream in dying:
                await anext(stream)
            kill(worker.pid)
            for stream in dying:
                with pytest.raises(WorkerDiedError, match=r"model 'tiny': .* unexpectedly stopped: signal: SIGKILL"):
                    async for _ in stream:
                        pass
            assert worker.is_dead
            with pytest.raises(WorkerDiedError, match="SIGKILL"):
                await answer(worker, "say:too late;")
            assert await others == "alive and well"

    in_loop(run)


def test_error_a_killed_real_model_is_reported_and_can_be_loaded_again(smollm2: Path) -> None:
    async def run() -> None:
        async with loaded(str(smollm2)) as worker:
            stream = asking(worker, "Once upon a time")
            await anext(stream)
            kill(worker.pid)
            with pytest.raises(WorkerDiedError, match="SIGKILL"):
                async for _ in stream:
                    pass
        async with loaded(str(smollm2)) as again:
            assert await answer(again, "Once upon a time", num_predict=4)

    in_loop(run)


def test_deterministic_answers_do_not_depend_on_company(smollm2: Path) -> None:
    async def run() -> None:
        options = LoadOptions(num_ctx=256, slots=3, num_thread=1, deterministic=True)
        async with loaded(str(smollm2), options) as worker:
            prompts = ["Once upon a time", "The three largest cities are", "def main():"]
            alone = [await answer(worker, prompt, num_predict=16) for prompt in prompts]
            together = await asyncio.gather(*(answer(worker, prompt, num_predict=16) for prompt in prompts))
            assert together == alone

    in_loop(run)


def test_loading_reports_its_progress(smollm2: Path) -> None:
    seen: list[float] = []

    async def run() -> None:
        worker = await Worker.start("smol", str(smollm2), SMALL, seen.append)
        await worker.close()

    in_loop(run)
    assert seen
    assert seen == sorted(seen)
    assert 0 < seen[-1] <= 1


@pytest.mark.parametrize("damage", ["empty", "not a model", "cut short", "no tensors"])
def test_error_what_is_no_model_is_refused_with_the_reason(
    damage: str, tmp_path: Path, tiny_gguf: Path, smollm2: Path
) -> None:
    broken = tmp_path / "broken.gguf"
    with smollm2.open("rb") as model:
        content = {
            "empty": b"",
            "not a model": b"This is not a model.\n" * 100,
            "cut short": model.read(4 << 20),
            "no tensors": tiny_gguf.read_bytes(),
        }[damage]
    broken.write_bytes(content)

    async def run() -> None:
        with pytest.raises(ModelLoadError, match=r"model 'tiny' cannot be loaded: .*error") as caught:
            await Worker.start("tiny", str(broken), SMALL)
        assert "\n" not in str(caught.value)
        assert str(tmp_path) not in str(caught.value)

    in_loop(run)


def test_error_a_missing_file_is_refused(tmp_path: Path) -> None:
    async def run() -> None:
        with pytest.raises(ModelLoadError, match="model 'tiny' cannot be loaded"):
            await Worker.start("tiny", str(tmp_path / "none.gguf"), SMALL)

    in_loop(run)


def test_error_a_worker_that_dies_while_loading_is_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pretend(monkeypatch, tmp_path, "echo the machine is on fire >&2; kill -SEGV $$")

    async def run() -> None:
        with pytest.raises(WorkerDiedError, match=r"SIGSEGV \(the machine is on fire\)"):
            await Worker.start("tiny", "fake:0", SMALL)

    in_loop(run)


@pytest.mark.parametrize("size", [1 << 16, 200_000, 3_000_000])
def test_error_a_line_of_any_length_on_stderr_is_cut(
    size: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pretend(monkeypatch, tmp_path, f"echo first >&2; head -c {size} /dev/zero | tr '\\0' a >&2; exit 3")

    async def run() -> None:
        with pytest.raises(WorkerDiedError, match=r"exit status 3 \(a{500}\)$"):
            await Worker.start("tiny", "fake:0", SMALL)

    in_loop(run)


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("/tmp/a b/src/llama-context.cpp:123: GGML_ASSERT(n) failed", "llama-context.cpp:123: GGML_ASSERT(n) failed"),
        ("/tmp/x.cpp:1: not /usr/y.cpp:2: this", "x.cpp:1: not /usr/y.cpp:2: this"),
        ("cannot open /dev/null", "cannot open /dev/null"),
    ],
)
def test_error_where_the_engine_was_built_is_not_told(
    said: str, shown: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pretend(monkeypatch, tmp_path, f"echo '{said}' >&2; echo >&2; exit 3")

    async def run() -> None:
        with pytest.raises(WorkerDiedError) as caught:
            await Worker.start("tiny", "fake:0", SMALL)
        assert str(caught.value).endswith(f"exit status 3 ({shown})")

    in_loop(run)


def test_error_without_the_engine_the_reason_and_the_cure_are_given(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tiny_gguf: Path
) -> None:
    (tmp_path / "llama_cpp.py").write_text("raise ModuleNotFoundError(\"No module named 'llama_cpp'\")\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    async def run() -> None:
        with pytest.raises(
            ModelLoadError, match="model 'tiny' cannot be loaded: the engine is not installed"
        ) as caught:
            await Worker.start("tiny", str(tiny_gguf), SMALL)
        assert "pip install 'corral[llama]'" in str(caught.value.hint)

    in_loop(run)


def test_error_a_request_that_a_dying_worker_has_not_read_is_told_apart() -> None:
    async def run() -> None:
        async with loaded() as worker:
            freeze(worker.pid)
            asked = asyncio.create_task(answer(worker, "say:a;"))
            await asyncio.sleep(0)
            kill(worker.pid)
            with pytest.raises(UnreadRequestError, match=r"model 'tiny': .* SIGKILL"):
                await asked
            with pytest.raises(UnreadRequestError):
                await answer(worker, "say:a;")

    in_loop(run)


def test_error_closing_a_worker_ends_its_requests() -> None:
    async def run() -> None:
        async with loaded("fake:0.01") as worker:
            stream = asking(worker, "endless")
            await anext(stream)
            await worker.close()
            with pytest.raises(StoppingError, match="server is shutting down"):
                async for _ in stream:
                    pass

    in_loop(run)


@pytest.mark.parametrize("garbage", [r"\377\377\377\377", r"\000\000\000\003abc", r"\000\000\000\000"])
def test_error_a_worker_that_sends_garbage_is_ended(
    garbage: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pretend(monkeypatch, tmp_path, f"printf '{garbage}' >&$3; exec sleep {PATIENCE}")

    async def run() -> None:
        with pytest.raises(WorkerDiedError, match=r"signal: SIGKILL \(.*frame of"):
            await Worker.start("tiny", "fake:0", SMALL)

    in_loop(run)


def test_error_a_worker_that_sends_half_a_frame_and_ends_is_reported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pretend(monkeypatch, tmp_path, r"printf '\000\000\000\377half' >&$3; exit 3")

    async def run() -> None:
        with pytest.raises(WorkerDiedError, match="exit status 3"):
            await Worker.start("tiny", "fake:0", SMALL)

    in_loop(run)


def test_error_without_a_python_to_start_the_reason_is_given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))

    async def run() -> None:
        with pytest.raises(FileError, match="cannot start a model runner: No such file"):
            await Worker.start("tiny", "fake:0", SMALL)

    in_loop(run)


def test_error_a_prompt_the_engine_refuses_fails_alone(smollm2: Path) -> None:
    async def run() -> None:
        async with loaded(str(smollm2)) as worker:
            with pytest.raises(RequestRefusedError, match="model 'tiny': the prompt has no tokens"):
                await answer(worker, "")
            assert await answer(worker, "Once upon a time", num_predict=2)

    in_loop(run)


@pytest.mark.parametrize("name", ["SIGSEGV", "SIGABRT", "SIGBUS", "SIGILL", "SIGKILL"])
def test_error_whatever_kills_a_worker_its_requests_get_one_error_and_the_next_is_served(name: str) -> None:
    async def run() -> None:
        async with loaded("fake:0.01") as worker:
            streams = [asking(worker, "endless"), asking(worker, "endless too")]
            for stream in streams:
                await anext(stream)
            os.kill(worker.pid, signal.Signals[name])
            for stream in streams:
                with pytest.raises(WorkerDiedError, match=f"signal: {name}") as caught:
                    async for _ in stream:
                        pass
                assert ("memory may have run out" in str(caught.value)) == (name == "SIGKILL")
                assert "loaded anew" in str(caught.value.hint)
        async with loaded() as again:
            assert await answer(again, "say:here again;") == "here again"

    in_loop(run)


def test_error_a_signal_without_a_name_is_given_by_its_number() -> None:
    async def run() -> None:
        async with loaded() as worker:
            asked = asyncio.create_task(answer(worker, "endless"))
            await asyncio.sleep(0)
            os.kill(worker.pid, signal.SIGRTMIN + 3)
            with pytest.raises(WorkerDiedError, match=f"signal: {signal.SIGRTMIN + 3}"):
                await asked

    in_loop(run)


def test_the_end_of_the_server_ends_a_worker_that_is_loading(tmp_path: Path) -> None:
    pipe = tmp_path / "model"
    os.mkfifo(pipe)  # whoever opens it waits for somebody to write
    (tmp_path / "numpy.py").write_text(f"open({str(pipe)!r}).read()\n")
    ours, process = _worker("fake:0", PYTHONPATH=str(tmp_path))
    with process:
        with ours:
            assert Frames().feed(ours.recv(1 << 16))  # a first beat: it has begun
        assert process.wait(PATIENCE) == 0


def test_a_worker_offers_itself_when_memory_runs_out_and_leaves_no_core() -> None:
    async def run() -> None:
        async with loaded() as worker:
            process = Path(f"/proc/{worker.pid}")
            assert process.joinpath("oom_score_adj").read_text().strip() == "1000"
            assert psutil.Process(worker.pid).rlimit(psutil.RLIMIT_CORE) == (0, 0)
            assert os.getsid(worker.pid) == os.getpgid(worker.pid) == worker.pid

    in_loop(run)


def test_what_the_user_sets_for_the_engine_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GGML_NO_BACKTRACE", "0")

    async def run() -> None:
        async with loaded() as worker:
            variables = psutil.Process(worker.pid).environ()
            assert variables["GGML_NO_BACKTRACE"] == "0"
            assert variables["PYTHONUNBUFFERED"] == "1"

    in_loop(run)


def test_a_worker_lives_audibly_however_long_an_evaluation_takes() -> None:
    ours, process = _worker(f"fake:{PATIENCE * 10}")
    with process, ours:
        heard, frames = [0], Frames()
        ours.sendall(frame(ask(1, "never answered")))
        while heard[-1] < 3:
            replies = [decode_reply(body) for body in frames.feed(ours.recv(1 << 16))]
            assert all(isinstance(reply, Beat | Loaded) for reply in replies)
            heard.append(heard[-1] + sum(isinstance(reply, Beat) for reply in replies))


def test_closing_a_worker_twice_does_no_harm() -> None:
    async def run() -> None:
        async with loaded() as worker:
            await worker.close()
            assert worker.is_dead

    in_loop(run)


def _worker(path: str, **variables: str) -> tuple[socket.socket, subprocess.Popen[bytes]]:
    """A worker process, and its socket."""
    ours, theirs = socket.socketpair()
    ours.settimeout(PATIENCE)
    load = msgspec.json.encode(Load(path, SMALL)).decode()
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", "corral.runtime.engine.worker", str(theirs.fileno()), load],
            pass_fds=[theirs.fileno()],
            env={**os.environ, **variables},
        )
    return ours, process
