"""More requests than slots, more models than places: all are served in fair order, or refused at once."""

from __future__ import annotations

import json
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psutil
import pytest

from tests.runtime.conftest import Serve, eventually

SLOW = 0.3
"""Seconds a token takes; an answer that fills the context outlasts PATIENCE, so waiting for its end fails."""
ENDLESS: dict[str, Any] = {"model": "tiny", "prompt": "endless"}
BUSY = "server busy, please try again.  maximum pending requests exceeded"


def asked(number: int, model: str = "tiny") -> dict[str, Any]:
    return {"model": model, "prompt": f"say:{number};", "stream": False}


def test_all_of_two_hundred_requests_on_four_slots_are_answered(serve: Serve) -> None:
    with serve(slots=4) as server, ThreadPoolExecutor(200) as clients:

        def ask(number: int) -> str:
            return server.post("/api/generate", asked(number)).json()["response"]

        assert list(clients.map(ask, range(200))) == [str(number) for number in range(200)]
        assert server.starts == ["tiny:latest"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/generate", ENDLESS),
        ("/api/chat", {"model": "tiny", "messages": [{"role": "user", "content": "x"}]}),
        ("/v1/chat/completions", {"model": "tiny", "messages": [{"role": "user", "content": "x"}]}),
        ("/api/generate", ENDLESS | {"model": "other"}),
    ],
)
def test_error_one_more_than_may_wait_is_refused_at_once(serve: Serve, path: str, body: dict[str, Any]) -> None:
    with serve(seconds=SLOW, slots=1, max_queue=2) as server, ThreadPoolExecutor(2) as clients:
        with server.stream("/api/generate", ENDLESS) as first:
            answer = first.iter_content(1)  # held: without it the connection is closed
            assert next(answer)
            waiting = [clients.submit(server.post, "/api/generate", asked(i)) for i in range(2)]
            eventually(lambda: server.waiting() == 2)
            refused = server.post(path, body)
            error = refused.json()["error"]
            assert (refused.status_code, error if isinstance(error, str) else error["message"]) == (503, BUSY)
            assert int(refused.headers["Retry-After"]) > 0
        assert {reply.result().json()["response"] for reply in waiting} == {"0", "1"}


def test_a_client_who_does_not_read_keeps_no_slot(serve: Serve) -> None:
    with serve(slots=1) as server, socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        host, _, port = server.url.removeprefix("http://").partition(":")
        deaf.connect((host, int(port)))
        body = json.dumps(ENDLESS | {"options": {"num_predict": 2500}}).encode()
        deaf.sendall(
            b"POST /api/generate HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
        )
        assert deaf.recv(1)
        assert server.post("/api/generate", asked(7)).json()["response"] == "7"


def test_two_models_in_one_place_take_turns(serve: Serve) -> None:
    with serve(seconds=0.01, slots=2, max_loaded=1) as server, ThreadPoolExecutor(6) as clients:

        def ask(client: int) -> list[str]:
            model = ("tiny", "other")[client % 2]
            return [server.post("/api/generate", asked(client, model)).json()["response"] for _ in range(4)]

        assert list(clients.map(ask, range(6))) == [[str(client)] * 4 for client in range(6)]
        assert len([worker for worker in server.workers if psutil.pid_exists(worker.pid)]) == 1


def test_a_model_that_somebody_waits_for_is_not_starved(serve: Serve) -> None:
    with serve(seconds=0.01, slots=1, max_loaded=1) as server, ThreadPoolExecutor(4) as clients:
        over = threading.Event()

        def press() -> int:
            served = 0
            while not over.is_set():
                served += server.post("/api/generate", asked(1)).json()["response"] == "1"
            return served

        pressing = [clients.submit(press) for _ in range(3)]
        eventually(lambda: server.waiting() > 0)
        assert server.post("/api/generate", asked(2, "other")).json()["response"] == "2"
        over.set()
        assert all(pressed.result() for pressed in pressing)


@pytest.mark.parametrize("keep_alive", [0, "0", "0s", 0.0])
def test_a_model_with_no_time_goes_after_its_answer(serve: Serve, keep_alive: object) -> None:
    with serve() as server:
        assert server.post("/api/generate", asked(1) | {"keep_alive": keep_alive}).json()["response"] == "1"
        eventually(server.is_idle)


@pytest.mark.parametrize("keep_alive", [300, "24h", "1.5", -1, "-1m", 1e9, "90"])
def test_a_request_changes_how_long_its_model_stays(serve: Serve, keep_alive: object) -> None:
    with serve(keep_alive=0) as server:
        server.post("/api/generate", asked(1) | {"keep_alive": keep_alive})
        assert len(server.get("/api/ps")["models"]) == 1
        server.post("/api/generate", asked(1) | {"keep_alive": 0})
        eventually(server.is_idle)


def test_a_fraction_of_a_second_is_enough(serve: Serve) -> None:
    with serve() as server:
        assert server.post("/api/generate", asked(1) | {"keep_alive": "0.05"}).ok
        eventually(server.is_idle)
        assert len(server.starts) == 1


def test_an_answer_goes_on_past_its_context_unless_told_otherwise(serve: Serve) -> None:
    with serve() as server:
        body = ENDLESS | {"stream": False, "options": {"num_ctx": 64}}
        whole = server.post("/api/generate", body).json()
        cut = server.post("/api/generate", body | {"shift": False}).json()
        assert whole["eval_count"] == 640
        assert cut["prompt_eval_count"] + cut["eval_count"] <= 65
        assert whole["done_reason"] == cut["done_reason"] == "length"


def test_a_load_waits_for_no_slot(serve: Serve) -> None:
    with serve(seconds=SLOW, slots=1) as server, server.stream("/api/generate", ENDLESS) as first:
        answer = first.iter_content(1)
        assert next(answer)
        assert server.post("/api/generate", {"model": "tiny"}).json()["done_reason"] == "load"
