"""Chat templates that never end, or grow: the request fails soon, and the server answers others meanwhile."""

from __future__ import annotations

import itertools
import time
from collections.abc import Generator
from pathlib import Path
from threading import Thread

import pytest

from tests.conftest import Cli
from tests.runtime.conftest import FakeServer, Serve
from tests.runtime.weights import create
from tests.weights import chat_template

HOSTILE = {
    "loops": "{% for i in range(10**18) %}{% endfor %}",
    "nested": "{% for i in range(9999) %}" * 3 + "{% endfor %}" * 3,
    "grows": "{% set ns = namespace(s='aaaaaaaa') %}{% for i in range(60) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
    "wide": "{{ 'a' * 500000000 }}",
    "calls": "{% macro f() %}{{ f() }}{{ f() }}{% endmacro %}{{ f() }}",
    "climbs": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
}
BODY = {"messages": [{"role": "user", "content": "Hi."}], "stream": False}
SOON = 20.0  # seconds for one that is refused, on a busy machine


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with one model for each."""
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "work").mkdir()
    cli = Cli(folder / "models", folder / "work")
    for name, text in HOSTILE.items():
        create(cli, name, chat_template(text))
    create(cli, "sound", chat_template("{% for m in messages %}{{ m.content }}{% endfor %}"))
    return cli.models


@pytest.fixture(scope="module")
def server(serve: Serve, models: Path) -> Generator[FakeServer]:
    with serve(models=models) as running:
        yield running


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_template_fails_soon_and_alone(server: FakeServer, name: str) -> None:
    replies: list[tuple[int, str]] = []

    def ask() -> None:
        reply = server.post("/api/chat", {"model": name, **BODY})
        replies.append((reply.status_code, reply.text))

    started = time.perf_counter()
    asking = Thread(target=ask)
    asking.start()
    for _ in itertools.count():
        assert server.get("/api/version")["version"]
        if not asking.is_alive():
            break
    asking.join()
    assert time.perf_counter() - started < SOON
    ((status, text),) = replies
    assert status in (400, 500)
    assert "template" in text
    said = server.post("/api/chat", {"model": "sound", **BODY, "options": {"num_predict": 2}})
    assert said.status_code == 200


@pytest.mark.parametrize(
    "template",
    [
        "{{ range 1000000000 }}{{ range 1000000000 }}{{ end }}{{ end }}",
        "{{ range 1000000000 }}{{ printf `%999999d` 1 }}{{ end }}",
    ],
)
def test_a_hostile_template_of_a_request_fails_soon(server: FakeServer, template: str) -> None:
    started = time.perf_counter()
    reply = server.post("/api/generate", {"model": "sound", "prompt": "Hi.", "template": template, "stream": False})
    assert reply.status_code == 400
    assert time.perf_counter() - started < SOON
