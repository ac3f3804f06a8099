"""Long work in a thread: what its client is told, however much or little the work says, and how many there may be."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import requests
from corral.runtime.http.server import Server, bind
from corral.runtime.http.statuses import Operations
from corral.store.errors import CorralError
from corral.store.progress import Progress, Report
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.runtime.conftest import PATIENCE, eventually


@contextmanager
def doing(work: Callable[[Report], object], most: int = 8) -> Generator[str]:
    """A server whose one route does a work, of which it bears so many at once; its URL."""

    async def do(request: Request) -> Response:
        try:
            return await operations.respond(request, work, streams=request.url.path == "/stream")
        except CorralError as error:
            return Response(str(error), 500)

    operations = Operations(most=most)
    ready = threading.Event()
    listener = bind("127.0.0.1", 0)
    app = Starlette(routes=[Route("/{how}", do, methods=["POST"])])
    server = Server(app, listener, on_ready=ready.set, server_name="test")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        assert ready.wait(PATIENCE)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(PATIENCE)
        listener.close()


def lines(reply: requests.Response) -> list[dict[str, Any]]:
    assert reply.headers["Content-Type"] == "application/x-ndjson"
    return [json.loads(line) for line in reply.text.splitlines()]


def post(url: str) -> requests.Response:
    return requests.post(url, timeout=PATIENCE)


def test_a_work_that_says_nothing() -> None:
    with doing(lambda _: None) as url:
        assert post(f"{url}/still").json() == {"status": "success"}
        assert lines(post(f"{url}/stream")) == [{"status": "success"}]


def test_a_work_that_says_much() -> None:
    def much(report: Report) -> None:
        for done in range(10_001):
            report(Progress("moving", None, 10_000, done))
        for number in range(500):
            report(Progress(f"step {number}"))

    with doing(much) as url:
        said = lines(post(f"{url}/stream"))
    assert [step["status"] for step in said][-500:] == [f"step {number}" for number in range(500)]
    assert 1 <= len(said) - 500 < 100
    assert said[-501]["completed"] == 10_000


def test_error_a_bug_in_a_work_is_told_without_its_words() -> None:
    def broken(report: Report) -> None:
        report(Progress("begun"))
        raise KeyError("a secret")

    with doing(broken) as url:
        assert lines(post(f"{url}/stream"))[-1] == {"error": "internal error: KeyError", "kind": "bug"}
        assert post(f"{url}/still").text == "internal error: KeyError"


def test_error_too_many_works_at_once() -> None:
    begun, ends = threading.Semaphore(0), threading.Event()

    def long(_: Report) -> None:
        begun.release()
        ends.wait(PATIENCE)

    with doing(long, most=2) as url, ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(post, f"{url}/still") for _ in range(2)]
        assert all(begun.acquire(timeout=PATIENCE) for _ in waiting)
        refused = post(f"{url}/still")
        assert (refused.status_code, "maximum pending requests exceeded" in refused.text) == (500, True)
        ends.set()
        assert [reply.result().status_code for reply in waiting] == [200, 200]
        eventually(lambda: post(f"{url}/still").status_code == 200)
