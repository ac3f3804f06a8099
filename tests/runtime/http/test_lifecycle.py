"""Clients that go away, models that die, servers that stop: what happens to everybody else."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import psutil
import pytest
import requests

from tests.runtime.conftest import PATIENCE, FakeServer, Serve, eventually, freeze, kill

ENDLESS: dict[str, dict[str, Any]] = {
    "/api/generate": {"model": "tiny", "prompt": "endless"},
    "/api/chat": {"model": "tiny", "messages": [{"role": "user", "content": "endless"}]},
    "/v1/chat/completions": {"model": "tiny", "messages": [{"role": "user", "content": "endless"}], "stream": True},
}
ALL = pytest.mark.parametrize("path", list(ENDLESS))
NEXT = {"model": "tiny", "prompt": "say:n;", "stream": False}
SLOW = 0.3
"""Seconds a token takes; an answer that fills the context outlasts PATIENCE, so waiting for its end fails."""


def next_is_served(server: FakeServer) -> bool:
    return server.post("/api/generate", NEXT).json()["response"] == "n"


def is_asked(server: FakeServer) -> bool:
    """Whether the first worker has something to answer."""
    return bool(server.workers[0]._waiting)


@contextmanager
def unanswered(server: FakeServer, path: str, body: dict[str, Any]) -> Generator[socket.socket]:
    """A connection that has sent its request; closed at the end, whatever has come."""
    host, _, port = server.url.removeprefix("http://").partition(":")
    data = json.dumps(body).encode()
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as connection:
        connection.sendall(
            b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s" % (path.encode(), len(data), data)
        )
        yield connection


@ALL
def test_a_client_that_leaves_a_stream_frees_its_slot(serve: Serve, path: str) -> None:
    with serve(seconds=SLOW, slots=1) as server:
        with server.stream(path, ENDLESS[path]) as reply:
            assert next(reply.iter_content(1))
        assert next_is_served(server)
        assert len(server.get("/api/ps")["models"]) == 1
        assert server.starts == ["tiny:latest"]


@ALL
def test_a_client_that_leaves_before_the_answer_frees_its_slot(serve: Serve, path: str) -> None:
    with serve(seconds=SLOW, slots=1) as server:
        server.post("/api/generate", {"model": "tiny"})
        with unanswered(server, path, ENDLESS[path] | {"stream": False}):
            eventually(lambda: is_asked(server))
        assert next_is_served(server)


def test_a_client_that_leaves_while_it_waits_for_a_slot_is_forgotten(serve: Serve) -> None:
    with serve(seconds=SLOW, slots=1) as server, server.stream("/api/generate", ENDLESS["/api/generate"]) as first:
        assert next(first.iter_content(1))
        for _ in range(5):
            with unanswered(server, "/api/generate", ENDLESS["/api/generate"]):
                pass
        first.close()
        assert next_is_served(server)


def test_a_client_that_leaves_while_the_model_loads_ends_the_load(serve: Serve) -> None:
    with serve(slots=1) as server:
        with unanswered(server, "/api/generate", ENDLESS["/api/generate"]):
            eventually(lambda: server.starts == ["tiny:latest"])
        assert next_is_served(server)


def test_many_clients_come_and_go_and_nothing_is_left_of_them(serve: Serve) -> None:
    with serve(seconds=0.005, slots=2) as server:

        def come_and_go(number: int) -> None:
            path = list(ENDLESS)[number % 3]
            with server.stream(path, ENDLESS[path]) as reply:
                lines = reply.iter_lines()
                for _ in range(number % 4):
                    next(lines)

        threads = [threading.Thread(target=come_and_go, args=(number,)) for number in range(24)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        assert next_is_served(server)
        server.post("/api/generate", {"model": "tiny", "keep_alive": 0})
        eventually(server.is_idle)


def test_other_routes_answer_while_a_model_is_busy(serve: Serve) -> None:
    with serve(seconds=SLOW, slots=1) as server, server.stream("/api/generate", ENDLESS["/api/generate"]) as reply:
        assert next(reply.iter_content(1))
        assert server.ask("HEAD", "/").status_code == 200
        assert len(server.get("/api/tags")["models"]) == 3
        assert len(server.get("/api/ps")["models"]) == 1


def test_two_streams_share_a_model(serve: Serve) -> None:
    with serve(seconds=0.02) as server:
        with (
            server.stream("/api/generate", ENDLESS["/api/generate"]) as one,
            server.stream("/api/chat", ENDLESS["/api/chat"]) as two,
        ):
            assert next(one.iter_lines())
            assert next(two.iter_lines())
        assert server.starts == ["tiny:latest"]


@pytest.mark.parametrize("path", ["/api/generate", "/api/chat"])
def test_error_a_model_that_dies_ends_its_streams_with_an_error_line(serve: Serve, path: str) -> None:
    with serve(seconds=0.02) as server:
        with (
            server.stream(path, ENDLESS[path]) as reply,
            server.stream(path, ENDLESS[path] | {"model": "other"}) as other,
        ):
            lines = reply.iter_lines()
            assert "error" not in json.loads(next(lines))
            others = other.iter_lines()
            next(others)
            kill(server.workers[server.starts.index("tiny:latest")].pid)
            *_, last = lines
            assert list(json.loads(last)) == ["error", "kind", "hint"]
            assert json.loads(last)["kind"] == "machine"
            assert "unexpectedly stopped: signal: SIGKILL" in json.loads(last)["error"]
            assert "error" not in json.loads(next(others))
        assert next_is_served(server)


def test_error_a_model_that_dies_before_the_first_word_is_a_500(serve: Serve) -> None:
    with serve(seconds=PATIENCE) as server:
        server.post("/api/generate", {"model": "tiny"})
        replies: list[requests.Response] = []
        asking = threading.Thread(target=lambda: replies.append(server.post("/api/generate", ENDLESS["/api/generate"])))
        asking.start()
        eventually(lambda: is_asked(server))
        # A worker reads requests in their order, so it has read that one too.
        count = {"model": "tiny", "messages": [{"role": "user", "content": "x"}]}
        assert server.post("/v1/messages/count_tokens", count).status_code == 200
        kill(server.workers[0].pid)
        asking.join(PATIENCE)
        assert replies[0].status_code == 500
        assert "SIGKILL" in replies[0].json()["error"]


def test_a_request_that_meets_a_dying_worker_is_given_to_a_new_one(serve: Serve) -> None:
    with serve() as server:
        assert next_is_served(server)
        freeze(server.workers[0].pid)
        replies: list[requests.Response] = []
        asking = threading.Thread(target=lambda: replies.append(server.post("/api/generate", NEXT)))
        asking.start()
        eventually(lambda: is_asked(server))
        kill(server.workers[0].pid)
        asking.join(PATIENCE)
        assert replies[0].json()["response"] == "n"
        assert len(server.starts) == 2


def test_error_the_death_of_a_shared_worker_names_the_model_that_was_asked(serve: Serve) -> None:
    with serve(seconds=0.05) as server:
        server.post("/api/generate", {"model": "tiny"})
        body = {"model": "twin", "prompt": "endless", "options": {"num_predict": -1}}
        with server.stream("/api/generate", body) as reply:
            lines = reply.iter_lines()
            next(lines)
            kill(server.workers[0].pid)
            *_, last = lines
        assert json.loads(last)["error"].startswith("model 'twin:latest': ")


def test_a_model_that_died_idle_is_loaded_anew(serve: Serve) -> None:
    with serve() as server:
        assert next_is_served(server)
        kill(server.workers[0].pid)
        eventually(lambda: server.get("/api/ps") == {"models": []})
        assert next_is_served(server)
        assert len(server.starts) == 2


def test_a_model_idle_longer_than_its_keep_alive_goes(serve: Serve) -> None:
    with serve(keep_alive=0.05) as server:
        assert next_is_served(server)
        eventually(server.is_idle)


def test_no_more_models_than_allowed_are_loaded(serve: Serve) -> None:
    with serve(max_loaded=1) as server:
        for model in ("tiny", "other", "tiny"):
            server.post("/api/generate", {"model": model})
            assert [entry["name"] for entry in server.get("/api/ps")["models"]] == [f"{model}:latest"]
        assert len(server.starts) == 3


def test_a_server_stops_while_answers_are_given(serve: Serve) -> None:
    with serve(seconds=0.05) as server:
        streams = [server.stream(path, body) for path, body in ENDLESS.items()]
        begun = [reply.iter_lines() for reply in streams]
        assert all(next(lines) for lines in begun)
    lasts = [[line for line in lines if line][-1].removeprefix(b"data: ") for lines in begun]
    errors = [json.loads(last)["error"] for last in lasts]
    assert [error if isinstance(error, str) else error["message"] for error in errors] == [
        "server is shutting down"
    ] * 3
    assert not psutil.pid_exists(server.workers[0].pid)


def test_error_a_whole_answer_that_a_stop_cuts_off_is_a_503(serve: Serve) -> None:
    with serve(seconds=SLOW) as server, ThreadPoolExecutor(1) as client:
        server.post("/api/generate", {"model": "tiny"})
        asked = client.submit(server.post, "/api/generate", ENDLESS["/api/generate"] | {"stream": False})
        eventually(lambda: is_asked(server))
        server.stop()
        assert asked.result().status_code == 503
        assert asked.result().json() == {"error": "server is shutting down", "kind": "machine"}
