"""Which hosts and origins may talk to the server."""

from __future__ import annotations

import asyncio
import socket

import pytest
from corral.runtime.http.access import Access, is_local_host
from starlette.responses import PlainTextResponse
from starlette.types import Message

from tests.runtime.conftest import FakeServer

GOOD_HOSTS = [
    "",
    "localhost",
    "LOCALHOST:11434",
    "127.0.0.1",
    "127.8.8.8:80",
    "[::1]:11434",
    "[::1]",
    "0.0.0.0:1",
    "192.168.1.7:11434",
    "10.0.0.1",
    "foo.local",
    "host.docker.internal:11434",
    "a.localhost",
    socket.gethostname(),
]
BAD_HOSTS = [
    "evil.example",
    "evil.example:11434",
    "8.8.8.8",
    "localhost.evil.example",
    "localhost.",
    "127.0.0.1.evil.example",
    "evil.example:80:127.0.0.1",
    "local",
    "notlocalhost",
    "[2001:4860:4860::8888]:80",
    "127.0.0.1@evil.example",
    "evil.example#.local:x",
]
GOOD_ORIGINS = [
    "http://localhost",
    "https://localhost:3000",
    "http://127.0.0.1:8080",
    "http://0.0.0.0:1",
    "app://obsidian.md",
    "vscode-webview://abc",
    "tauri://localhost",
    "http://ui.example",
    "https://a.sub.example",
    "http://[fd00::1]:3000",
    "http://server.example:11434",
]
BAD_ORIGINS = [
    "null",
    "http://evil.example",
    "https://localhost.evil.example",
    "http://localhost@evil.example",
    "http://127.0.0.2",
    "http://[::1]:3000",
    "http://[",
    "chrome-extension://abc",
    "http://ui.example.evil.example",
    "http://uiXexample",
    "https://sub.example",
    "server.example:11434",
    "http://evil.example?http://localhost",
]


async def ask(
    access: Access, *, host: str | None, origin: str | None, method: str = "GET"
) -> tuple[int, dict[str, str]]:
    """Status and headers of a reply."""
    given = {"host": host, "origin": origin}
    headers = [(name.encode(), value.encode()) for name, value in given.items() if value is not None]
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b""}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": method, "path": "/", "query_string": b"", "headers": headers}
    await access(scope, receive, send)
    return sent[0]["status"], {name.decode(): value.decode() for name, value in sent[0]["headers"]}


def reply(*, host: str | None = "localhost", origin: str | None = None, loopback: bool = True, method: str = "GET"):
    """Status and headers of the reply of a server with some more origins."""
    origins = ["http://ui.example", "https://*.sub.example", "http://[fd00::1]:*"]
    access = Access(PlainTextResponse("in"), origins=origins, loopback=loopback)
    return asyncio.run(ask(access, host=host, origin=origin, method=method))


@pytest.mark.parametrize("host", GOOD_HOSTS)
def test_hosts_of_this_machine_may(host: str) -> None:
    assert is_local_host(host)
    assert reply(host=host)[0] == 200


@pytest.mark.parametrize("host", BAD_HOSTS)
def test_error_other_hosts_may_not_while_only_this_machine_listens(host: str) -> None:
    assert not is_local_host(host)
    assert reply(host=host)[0] == 403
    assert reply(host=host, method="OPTIONS")[0] == 403
    assert reply(host=host, loopback=False)[0] == 200


def test_no_host_at_all_may() -> None:
    assert reply(host=None)[0] == 200


@pytest.mark.parametrize("origin", GOOD_ORIGINS)
def test_known_origins_may_and_are_named_in_the_reply(origin: str) -> None:
    status, headers = reply(origin=origin, host="server.example:11434", loopback=False)
    assert status == 200
    assert headers["access-control-allow-origin"] == origin
    assert headers["vary"] == "Origin"


@pytest.mark.parametrize("origin", BAD_ORIGINS)
@pytest.mark.parametrize("method", ["GET", "OPTIONS", "POST"])
def test_error_other_origins_may_not(origin: str, method: str) -> None:
    for host in ("server.example:11434", "", None):
        status, headers = reply(origin=origin, host=host, loopback=False, method=method)
        assert status == 403
        assert "access-control-allow-origin" not in headers


def test_no_origin_gets_no_cors_headers() -> None:
    assert not [name for name in reply()[1] if name.startswith("access-control")]


def test_a_preflight_is_answered_on_any_path(fake: FakeServer) -> None:
    asked = {"Origin": "http://localhost:5173", "Access-Control-Request-Headers": "content-type,x-stainless-os"}
    found = fake.ask("OPTIONS", "/api/chat", **asked, **{"Access-Control-Request-Method": "POST"})
    assert (found.status_code, found.content) == (204, b"")
    assert found.headers["Access-Control-Allow-Origin"] == "http://localhost:5173"
    assert found.headers["Access-Control-Allow-Headers"] == "content-type,x-stainless-os"
    assert "DELETE" in found.headers["Access-Control-Allow-Methods"].split(",")
    assert found.headers["Access-Control-Max-Age"] == "43200"
    plain = fake.ask("OPTIONS", "/api/chat")
    assert plain.status_code == 204
    assert "Authorization" in plain.headers["Access-Control-Allow-Headers"]


def test_error_a_refusal_says_why_in_json(fake: FakeServer) -> None:
    refused = fake.ask("GET", "/api/tags", Host="evil.example")
    assert refused.status_code == 403
    assert refused.headers["Content-Type"] == "application/json"
    assert "OLLAMA_HOST" in refused.json()["error"]
    refused = fake.ask("GET", "/api/tags", Origin="http://evil.example")
    assert refused.status_code == 403
    assert "OLLAMA_ORIGINS" in refused.json()["error"]
    assert fake.ask("GET", "/api/tags", Host="foo.local").status_code == 200


def test_errors_are_readable_for_a_web_page_too(fake: FakeServer) -> None:
    missing = fake.ask("POST", "/api/chat", {"model": "nope"}, Origin="http://localhost:3000")
    assert missing.status_code == 404
    assert missing.headers["Access-Control-Allow-Origin"] == "http://localhost:3000"


@pytest.mark.parametrize("pattern", ["*", "http://*"])
def test_a_wildcard_allows_what_it_says(pattern: str) -> None:
    access = Access(PlainTextResponse("in"), origins=[pattern], loopback=False)
    assert asyncio.run(ask(access, host="x", origin="http://evil.example"))[0] == 200
