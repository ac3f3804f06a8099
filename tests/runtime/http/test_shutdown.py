"""How a server ends: answers that are being given are finished, as far as its grace goes."""

from __future__ import annotations

import json
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from tests.runtime.conftest import PATIENCE, eventually
from tests.runtime.http.running import Running, fake_app, last_line, running

SLOW = 0.02
"""Seconds a token takes."""
SOME: dict[str, Any] = {"model": "tiny", "prompt": "endless", "options": {"num_predict": 50}}
ENDLESS: dict[str, Any] = {"model": "tiny", "prompt": "endless", "options": {"num_predict": 100_000}}
STREAMS = {
    "/api/generate": SOME,
    "/api/chat": SOME | {"messages": [{"role": "user", "content": "endless"}]},
    "/v1/chat/completions": {
        "model": "tiny",
        "messages": [{"role": "user", "content": "endless"}],
        "max_tokens": 50,
        "stream": True,
    },
}


def stop(run: Running, number: signal.Signals = signal.SIGTERM) -> None:
    """What uvicorn does at a signal; it cannot be sent to a thread."""
    run.server.handle_exit(number, None)


def seconds_to_end(run: Running) -> float:
    began = time.monotonic()
    run.thread.join(PATIENCE)
    assert not run.thread.is_alive()
    return time.monotonic() - began


def test_streams_are_finished(fake_models: Path) -> None:
    with running(fake_app(fake_models, seconds=SLOW), grace=PATIENCE) as run:
        replies = [run.fake.stream(path, body) for path, body in STREAMS.items()]
        begun = [reply.iter_lines() for reply in replies]
        assert all(next(lines) for lines in begun)
        stop(run)
        *ollamas, openais = [[line for line in lines if line] for lines in begun]
        for lines in ollamas:
            done = json.loads(lines[-1])
            assert (done["done"], done["done_reason"], done["eval_count"]) == (True, "length", 50)
        assert openais[-1] == b"data: [DONE]"
        assert seconds_to_end(run) < PATIENCE / 2
    assert run.events == ["ready", "stopping"]


def test_whole_answers_and_those_that_wait_are_finished(fake_models: Path) -> None:
    with running(fake_app(fake_models, seconds=SLOW, slots=1), grace=PATIENCE) as run, ThreadPoolExecutor(3) as clients:
        run.fake.post("/api/generate", {"model": "tiny"})
        asked = [clients.submit(run.fake.post, "/api/generate", SOME | {"stream": False}) for _ in range(3)]
        eventually(lambda: run.fake.get("/api/ps")["models"] != [] and len(run.server.server_state.tasks) >= 3)
        stop(run)
        assert [reply.result().json()["eval_count"] for reply in asked] == [50, 50, 50]


def test_nobody_is_let_in_meanwhile(fake_models: Path) -> None:
    with (
        running(fake_app(fake_models, seconds=SLOW), grace=PATIENCE) as run,
        run.connection() as idle,
        run.fake.stream("/api/generate", SOME) as reply,
    ):
        lines = reply.iter_lines()
        assert next(lines)
        idle.sendall(b"GET /api/version HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert idle.recv(4096).startswith(b"HTTP/1.1 200 ")
        stop(run)
        assert idle.recv(4096) == b""
        with pytest.raises(requests.ConnectionError):
            run.fake.get("/api/version")
        assert last_line(lines)["done"] is True


def test_a_grace_that_is_over_ends_streams_with_an_error(fake_models: Path) -> None:
    with running(fake_app(fake_models, seconds=SLOW), grace=0.5) as run:
        reply = run.fake.stream("/api/generate", ENDLESS)
        lines = reply.iter_lines()
        assert next(lines)
        stop(run)
        assert last_line(lines)["error"] == "server is shutting down"
        assert seconds_to_end(run) < PATIENCE / 2


@pytest.mark.parametrize(
    "signals",
    [
        [signal.SIGINT],
        [signal.SIGTERM, signal.SIGTERM],
        [signal.SIGTERM, signal.SIGINT],
    ],
    ids=lambda signals: " ".join(number.name for number in signals),
)
def test_an_interruption_or_a_second_signal_waits_for_nobody(fake_models: Path, signals: list[signal.Signals]) -> None:
    with running(fake_app(fake_models, seconds=SLOW), grace=PATIENCE) as run:
        reply = run.fake.stream("/api/generate", ENDLESS)
        lines = reply.iter_lines()
        assert next(lines)
        for number in signals:
            stop(run, number)
            time.sleep(0.3)
        assert last_line(lines)["error"] == "server is shutting down"
        assert seconds_to_end(run) < 10


def test_a_server_with_nothing_to_do_ends_at_once(fake_models: Path) -> None:
    others = set(psutil.Process().children(recursive=True))
    with running(fake_app(fake_models), grace=PATIENCE) as run, run.connection():
        run.fake.post("/api/generate", {"model": "tiny"})
        workers = set(psutil.Process().children(recursive=True)) - others
        assert workers
        stop(run)
        assert seconds_to_end(run) < 10
    assert not any(worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE for worker in workers)


def test_a_deaf_client_is_not_waited_for_longer_than_the_grace(fake_models: Path) -> None:
    with running(fake_app(fake_models), grace=0.5) as run, run.connection() as deaf:
        body = json.dumps(ENDLESS | {"options": {"num_predict": 100_000, "num_ctx": 100_000}}).encode()
        deaf.sendall(
            b"POST /api/generate HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
        )
        assert deaf.recv(1)
        stop(run)
        assert seconds_to_end(run) < 10
