"""Pages in a real browser: those of allowed origins can use the server, all others get nothing and change nothing."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import pytest
from playwright.sync_api import Page

from tests.browser.conftest import Site
from tests.conftest import Cli, serving
from tests.runtime.conftest import FakeServer, Serve, eventually

FETCH = """async ([url, method, headers, body]) => {
    const chunks = [];
    try {
        const reply = await fetch(url, {method, headers, body});
        const decoder = new TextDecoder();
        for (const reader = reply.body.getReader(); ; ) {
            const {done, value} = await reader.read();
            if (done) return {error: "", status: reply.status, id: reply.headers.get("X-Request-Id"), chunks};
            chunks.push(decoder.decode(value, {stream: true}));
        }
    } catch (error) {
        return {error: error.name, status: 0, id: null, chunks};
    }
}"""
UNASKED = {
    "fetch": "([url, body]) => { fetch(url, {method: 'POST', mode: 'no-cors', body}).catch(() => {}); }",
    "beacon": "([url, body]) => { navigator.sendBeacon(url, body); }",
    "form": """([url, body]) => {
        const [form, field, frame] = ["form", "input", "iframe"].map((name) => document.createElement(name));
        frame.name = `answer${window.length}`;
        Object.assign(form, {method: "POST", enctype: "text/plain", action: url, target: frame.name});
        // it sends NAME=VALUE, which is to be JSON
        Object.assign(field, {type: "hidden", name: body.replace(/}$/, ', "more": "'), value: '"}'});
        form.append(field);
        document.body.append(frame, form);
        form.submit();
    }""",
}
"""How a page sends a POST that the browser asks nobody about: as text/plain, without a preflight."""
STREAM = """async ([url, body]) => {
    window.leaving = new AbortController();
    const reply = await fetch(url, {method: "POST", body, signal: window.leaving.signal});
    await reply.body.getReader().read();
}"""
LEAVES: dict[str, Callable[[Page], object]] = {
    "navigates": lambda page: page.goto("about:blank"),
    "reloads": lambda page: page.reload(),
    "closes": lambda page: page.close(),
    "aborts": lambda page: page.evaluate("window.leaving.abort()"),
}
COPY = {"source": "tiny", "destination": "copied"}
CHANGES: list[tuple[str, dict[str, str]]] = [
    ("/api/copy", COPY),
    ("/api/create", {"model": "copied", "from": "tiny"}),
    ("/api/delete", {"model": "tiny"}),
    ("/api/pull", {"model": "absent"}),
    ("/api/push", {"model": "tiny"}),
]
STORED = {"smol:latest", "tiny:latest"}
CHAT = {"messages": [{"role": "user", "content": "Tell me a story."}], "model": "smol", "options": {"num_predict": 100}}
COMPLETION = {"messages": [{"role": "user", "content": "What is the capital of France?"}], "model": "smol"}

NAMED = "https://none.example, http://app.example:PORT"
MAY = pytest.mark.parametrize(
    ("host", "origins"),
    [("127.0.0.1", ""), ("localhost", ""), ("app.example", NAMED)],
    ids=["127.0.0.1", "localhost", "named"],
)
MAY_NOT = pytest.mark.parametrize(
    ("host", "path", "origins"),
    [
        ("app.example", "/", ""),
        ("other.example", "/", NAMED),
        ("other.example", "/unreferred", NAMED),
        ("app.example", "/opaque", NAMED),
    ],
    ids=["unset", "other", "unreferred", "opaque"],
)
SETTINGS: list[tuple[str, list[str], list[str]]] = [
    ("", ["127.0.0.1", "localhost"], ["app.example", "localhost.example", "127.0.0.2"]),
    (NAMED, ["app.example", "localhost"], ["none.example", "sub.app.example", "app.example.other.example"]),
    ("http://app.example", ["localhost"], ["app.example"]),
    ("https://app.example:PORT", ["localhost"], ["app.example"]),
    ("http://app.example:*", ["app.example"], ["other.example"]),
    ("http://*.app.example:PORT", ["a.app.example", "b.a.app.example"], ["app.example", "my-app.example"]),
    ("http://*:PORT", ["app.example", "other.example"], []),
    ("*", ["app.example", "localhost"], []),
]
"""OLLAMA_ORIGINS, the hosts whose pages may then talk to the server, and those whose pages may not."""

Serving: TypeAlias = Callable[[str], FakeServer]


@dataclass(frozen=True)
class Answer:
    """What a script got of its fetch."""

    error: str
    status: int
    id: str | None
    chunks: list[str]

    @property
    def text(self) -> str:
        return "".join(self.chunks)


NOTHING = Answer("TypeError", 0, None, [])
"""What it gets of one that the browser does not let it see."""


def fetch(page: Page, url: str, method: str = "GET", body: object = None, **headers: str) -> Answer:
    """Have the page's script fetch something; a body is sent as JSON."""
    if body is not None:
        headers["Content-Type"] = "application/json"
    return Answer(**page.evaluate(FETCH, [url, method, headers, None if body is None else json.dumps(body)]))


def answered(server: FakeServer) -> Counter[tuple[str, int]]:
    """How many requests the server has answered, by method and status."""
    line = r'^corral_requests_total{route="([^"]*)",method="(\w+)",status="(\d+)"} (\d+)'
    counts: Counter[tuple[str, int]] = Counter()
    for route, method, status, count in re.findall(line, server.ask("GET", "/metrics").text, re.MULTILINE):
        if route != "/metrics":
            counts[method, int(status)] += int(count)
    return counts


def running(server: FakeServer) -> int:
    """How many requests have a model."""
    found = re.search(r"^corral_requests_running (\d+)", server.ask("GET", "/metrics").text, re.MULTILINE)
    assert found
    return int(found[1])


def names(tags: dict[str, list[dict[str, str]]]) -> set[str]:
    """The models in a list of them."""
    return {model["name"] for model in tags["models"]}


@pytest.fixture(scope="module")
def cli(smollm2: Path, tiny_gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> Cli:
    """A store with the models `smol` and `tiny`."""
    folder = tmp_path_factory.mktemp("browser")
    cli = Cli(folder / "models", folder)
    cli.ok("create", "smol", "-f", "-", stdin=f"FROM {smollm2}\nPARAMETER temperature 0\n")
    cli.ok("create", "tiny", "-f", "-", stdin=f"FROM {tiny_gguf}\n")
    return cli


@pytest.fixture(scope="module")
def corral(cli: Cli, site: Site) -> Generator[Serving]:
    """The server with such an OLLAMA_ORIGINS, in which PORT is that of the pages."""
    servers: dict[str, FakeServer] = {}
    with ExitStack() as stack:

        def serve_with(origins: str) -> FakeServer:
            if origins not in servers:
                setting = origins.replace("PORT", str(site.port))
                servers[origins] = FakeServer(stack.enter_context(serving(cli, OLLAMA_ORIGINS=setting)))
            return servers[origins]

        yield serve_with


@pytest.fixture(scope="module")
def slow(serve: Serve) -> Generator[FakeServer]:
    """A server with one slot, on which an answer without end outlasts a test's patience."""
    with serve(seconds=0.3, slots=1) as server:
        yield server


@MAY
def test_an_allowed_page_reads_a_chat_while_it_is_written(
    page: Page, site: Site, corral: Serving, host: str, origins: str
) -> None:
    page.goto(site.url(host))
    answer = fetch(page, corral(origins).url + "/api/chat", "POST", CHAT)
    assert (answer.error, answer.status) == ("", 200)
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert [line["done"] for line in lines] == [False] * (len(lines) - 1) + [True]
    assert len(answer.chunks) > 3


@MAY
def test_an_allowed_page_sends_a_key_and_json(page: Page, site: Site, corral: Serving, host: str, origins: str) -> None:
    server = corral(origins)
    before = answered(server)
    page.goto(site.url(host))
    answer = fetch(page, server.url + "/v1/chat/completions", "POST", COMPLETION, Authorization="Bearer any")
    assert "Paris" in json.loads(answer.text)["choices"][0]["message"]["content"]
    assert answer.id
    eventually(lambda: answered(server) - before == Counter({("OPTIONS", 204): 1, ("POST", 200): 1}))


@MAY
def test_an_allowed_page_lists_copies_and_deletes(
    page: Page, site: Site, corral: Serving, host: str, origins: str
) -> None:
    url = corral(origins).url
    page.goto(site.url(host))
    assert fetch(page, url + "/api/copy", "POST", COPY).status == 200
    assert names(json.loads(fetch(page, url + "/api/tags").text)) == STORED | {"copied:latest"}
    assert fetch(page, url + "/api/delete", "DELETE", {"model": "copied"}).status == 200
    assert names(json.loads(fetch(page, url + "/api/tags").text)) == STORED
    missing = fetch(page, url + "/api/delete", "DELETE", {"model": "copied"})
    assert (missing.status, json.loads(missing.text)) == (404, {"error": "model 'copied' not found"})


@MAY_NOT
def test_error_another_page_reads_and_changes_nothing(
    page: Page, site: Site, corral: Serving, host: str, path: str, origins: str
) -> None:
    server = corral(origins)
    before = answered(server)
    page.goto(site.url(host, path))
    assert fetch(page, server.url + "/api/tags") == NOTHING
    assert fetch(page, server.url + "/api/chat", "POST", CHAT) == NOTHING
    assert fetch(page, server.url + "/v1/chat/completions", "POST", COMPLETION, Authorization="Bearer any") == NOTHING
    assert fetch(page, server.url + "/api/delete", "DELETE", {"model": "tiny"}) == NOTHING
    # of what needs a preflight nothing but that was sent
    eventually(lambda: answered(server) - before == Counter({("GET", 403): 1, ("OPTIONS", 403): 3}))
    assert names(server.get("/api/tags")) == STORED


@pytest.mark.parametrize(("origins", "may", "may_not"), SETTINGS, ids=[origins or "unset" for origins, *_ in SETTINGS])
def test_the_setting_decides_whose_pages_may(
    page: Page, site: Site, corral: Serving, origins: str, may: list[str], may_not: list[str]
) -> None:
    url = corral(origins).url + "/api/version"
    for host in may + may_not:
        page.goto(site.url(host))
        assert (fetch(page, url) == NOTHING) == (host in may_not), host


@pytest.mark.parametrize("way", UNASKED)
@MAY_NOT
def test_error_a_request_that_needs_no_preflight_changes_nothing(
    page: Page, site: Site, corral: Serving, cli: Cli, host: str, path: str, origins: str, way: str
) -> None:
    server = corral(origins)
    before, files = answered(server), cli.files()
    page.goto(site.url(host, path))
    for change, body in CHANGES:
        page.evaluate(UNASKED[way], [server.url + change, json.dumps(body)])
    eventually(lambda: answered(server) - before == Counter({("POST", 403): len(CHANGES)}))
    assert cli.files() == files


@pytest.mark.parametrize("way", UNASKED)
def test_an_allowed_page_needs_no_preflight_to_change_something(
    page: Page, site: Site, corral: Serving, way: str
) -> None:
    server = corral("")
    page.goto(site.url("localhost"))
    page.evaluate(UNASKED[way], [server.url + "/api/copy", json.dumps(COPY)])
    eventually(lambda: names(server.get("/api/tags")) == STORED | {"copied:latest"})
    assert server.ask("DELETE", "/api/delete", {"model": "copied"}).status_code == 200


def test_error_a_form_shows_why_it_is_refused(page: Page, site: Site, corral: Serving) -> None:
    page.goto(site.url("other.example"))
    page.evaluate(UNASKED["form"], [corral("").url + "/api/copy", json.dumps(COPY)])
    reason = f'origin "{site.url("other.example", "")}" is not allowed; add it to OLLAMA_ORIGINS'
    assert json.loads(page.frame_locator("iframe").locator("pre").inner_text()) == {"error": reason}


@pytest.mark.parametrize("origins", ["", "*"], ids=["unset", "all"])
def test_error_a_page_whose_name_was_led_here_later_is_refused(page: Page, corral: Serving, origins: str) -> None:
    server = corral(origins)
    rebound = server.url.replace("127.0.0.1", "rebind.example")
    opened = page.goto(rebound)
    assert opened
    assert opened.status == 403
    # to the browser all is of one origin, so that the script may read what it is told
    told = [
        fetch(page, rebound + "/api/tags"),
        fetch(page, rebound + "/api/chat", "POST", CHAT),
        fetch(page, rebound + "/api/delete", "DELETE", {"model": "tiny"}),
    ]
    host = rebound.removeprefix("http://")
    reason = f'host "{host}" is not allowed; bind OLLAMA_HOST to another address to be reached by it'
    assert [(answer.status, json.loads(answer.text)) for answer in told] == [(403, {"error": reason})] * 3
    assert names(server.get("/api/tags")) == STORED


def test_a_name_that_cannot_be_led_elsewhere_is_served(page: Page, corral: Serving) -> None:
    url = corral("").url.replace("127.0.0.1", "corral.localhost")
    page.goto(url)
    assert names(json.loads(fetch(page, url + "/api/tags").text)) == STORED


@pytest.mark.parametrize("path", ["/api/chat", "/v1/chat/completions"])
@pytest.mark.parametrize("way", LEAVES)
def test_a_page_that_leaves_a_stream_frees_its_slot(
    page: Page, site: Site, slow: FakeServer, way: str, path: str
) -> None:
    page.goto(site.url("localhost"))
    body = {"model": "tiny", "messages": [{"role": "user", "content": "Go on."}], "stream": True}
    page.evaluate(STREAM, [slow.url + path, json.dumps(body)])
    assert running(slow) == 1
    LEAVES[way](page)
    eventually(lambda: running(slow) == 0)
    assert slow.post("/api/generate", {"model": "tiny", "prompt": "say:y;", "stream": False}).json()["response"] == "y"
