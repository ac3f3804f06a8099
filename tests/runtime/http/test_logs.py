"""A line for each request, and the id by which it is found again."""

from __future__ import annotations

import json
import logging
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from corral.runtime.http import logs
from corral.runtime.http.logs import JsonLines, annotate
from corral.store.keys import Keys
from starlette.responses import JSONResponse

from tests.runtime.conftest import FakeServer, eventually
from tests.runtime.http.running import Running, fake_app, running

GENERATE = {"model": "tiny", "prompt": "say:precious;", "stream": False}


class Lines(logging.Handler):
    """What is written, as JSON."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(JsonLines())
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(self.format(record))

    @property
    def entries(self) -> list[dict[str, Any]]:
        return [json.loads(text) for text in self.texts]


@pytest.fixture
def lines() -> Generator[Lines]:
    handler = Lines()
    level = logs.log.level
    logs.log.addHandler(handler)
    logs.log.setLevel(logging.INFO)
    yield handler
    logs.log.removeHandler(handler)
    logs.log.setLevel(level)


@pytest.fixture
def logging_server(fake_models: Path, lines: Lines) -> Generator[Running]:
    assert lines.texts == []
    with running(fake_app(fake_models)) as run:
        yield run


def one(lines: Lines) -> dict[str, Any]:
    """The only entry; it is written after the reply."""
    eventually(lambda: len(lines.texts) == 1)
    return lines.entries.pop()


def test_a_line_says_who_asked_what_and_what_came_of_it(logging_server: Running, lines: Lines) -> None:
    reply = logging_server.fake.post("/api/generate", GENERATE)
    entry = one(lines)
    assert entry["request_id"] == reply.headers["X-Request-Id"]
    assert (entry["method"], entry["route"], entry["status"]) == ("POST", "/api/generate", 200)
    assert (entry["client"], entry["level"], entry["logger"]) == ("127.0.0.1", "info", "corral.access")
    assert 0 < entry["seconds"] < 60
    assert entry["time"].endswith("+00:00")


@pytest.mark.parametrize(
    ("path", "status", "route"),
    [
        ("/v1/models/tiny", 200, "/v1/models/{model:path}"),
        ("/v1/models/precious", 404, "/v1/models/{model:path}"),
        ("/precious", 404, None),
        ("/api/chat", 405, "/api/chat"),
        ("/api/version?key=precious", 200, "/api/version"),
    ],
)
def test_of_the_path_only_the_route_is_said(
    logging_server: Running, lines: Lines, path: str, status: int, route: str | None
) -> None:
    logging_server.fake.ask("GET", path)
    entry = one(lines)
    assert (entry["status"], entry["route"]) == (status, route)
    assert "precious" not in lines.texts[0]


def test_refusals_have_a_line_too(logging_server: Running, lines: Lines) -> None:
    refused = logging_server.fake.ask("GET", "/api/tags", Host="evil.example")
    assert one(lines)["status"] == refused.status_code == 403
    assert refused.headers["X-Request-Id"]


@pytest.mark.parametrize("given", ["a", "req-1:2.3_4", "0" * 128, "01J9Z3-K"])
def test_an_id_that_the_client_gives_is_kept(fake: FakeServer, given: str) -> None:
    assert fake.ask("GET", "/api/version", **{"X-Request-Id": given}).headers["X-Request-Id"] == given


@pytest.mark.parametrize("given", ["", "a b", "-x", "x" * 129, '{"a":1}', "é", "a\tb", "a%0ab"])
def test_error_an_id_that_is_none_is_made_anew(fake: FakeServer, given: str) -> None:
    made = [fake.ask("GET", "/api/version", **{"X-Request-Id": given}).headers["X-Request-Id"] for _ in range(2)]
    assert made[0] != made[1]
    assert all(len(text) == 24 and text.isalnum() for text in made)


def test_prompts_answers_and_keys_are_never_logged(fake_models: Path, lines: Lines, tmp_path: Path) -> None:
    keys = Keys(tmp_path / "keys.json")
    secret = keys.add("laptop", ["infer"])
    with running(fake_app(fake_models, keys=keys)) as run:
        for headers in (
            {"Authorization": f"Bearer {secret}"},
            {"x-api-key": secret},
            {"Authorization": "Bearer wrong"},
        ):
            run.fake.ask("POST", "/api/generate", GENERATE, **headers)
        eventually(lambda: len(lines.texts) == 3)
    assert [entry.get("key") for entry in lines.entries] == ["laptop", "laptop", None]
    for text in lines.texts:
        assert not [word for word in (secret, "wrong", "precious") if word in text]


def test_what_is_learned_on_the_way_is_in_the_line_of_its_request_alone(lines: Lines, fake_models: Path) -> None:
    app = fake_app(fake_models)
    metrics = app.state.metrics
    annotate(model="nobody's")  # outside of any request
    with running(app) as run:

        async def told(_: Any) -> Any:
            metrics.asked("tiny:latest")
            metrics.answered("tiny:latest", prompt_tokens=3, cached=1, tokens=2, seconds_to_first=0.1)
            return JSONResponse({})

        app.router.add_route("/told", told)
        run.fake.get("/told")
        run.fake.get("/api/version")
        eventually(lambda: len(lines.texts) == 2)
    first, second = lines.entries
    assert (first["model"], first["prompt_tokens"], first["cached_tokens"], first["tokens"]) == ("tiny:latest", 3, 1, 2)
    assert not second.keys() & {"model", "tokens"}


def test_a_client_that_leaves_is_a_499(fake_models: Path, lines: Lines) -> None:
    with running(fake_app(fake_models, seconds=0.2, slots=1)) as run:
        run.fake.post("/api/generate", {"model": "tiny"})
        body = json.dumps({"model": "tiny", "prompt": "endless", "stream": False}).encode()
        with run.connection() as connection:
            connection.sendall(
                b"POST /api/generate HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
            )
            eventually(lambda: bool(run.server.server_state.tasks))
        eventually(lambda: len(lines.texts) == 2)
    assert lines.entries[-1]["status"] == 499


def test_error_a_bug_is_a_500_with_its_id(fake_models: Path, lines: Lines) -> None:
    app = fake_app(fake_models)

    async def wrong(_: Any) -> Any:
        raise ZeroDivisionError

    said = "internal error: ZeroDivisionError"
    bodies: dict[str, dict[str, Any]] = {
        "/wrong": {"error": said, "kind": "bug"},
        "/v1/wrong": {"error": {"message": said, "type": "api_error", "param": None, "code": None}},
        "/v1/messages/wrong": {"type": "error", "error": {"type": "api_error", "message": said}},
    }
    for path in bodies:
        app.router.add_route(path, wrong)
    with running(app) as run:
        replies = {path: run.fake.ask("GET", path) for path in bodies}
    for path, entry in zip(bodies, lines.entries, strict=True):
        reply = replies[path]
        assert reply.status_code == entry["status"] == 500
        assert reply.json().items() >= bodies[path].items()
        assert entry["request_id"] == reply.headers["X-Request-Id"]


def test_other_records_are_json_too() -> None:
    record = logging.LogRecord("corral.x", logging.WARNING, "x.py", 1, 'line\n"%s"', ("é",), None)
    entry = json.loads(JsonLines().format(record))
    assert (entry["level"], entry["logger"], entry["message"]) == ("warning", "corral.x", 'line\n"é"')
    assert "\n" not in JsonLines().format(record)
    try:
        raise ZeroDivisionError
    except ZeroDivisionError as error:
        record.exc_info = (type(error), error, error.__traceback__)
    assert "ZeroDivisionError" in json.loads(JsonLines().format(record))["exception"]
