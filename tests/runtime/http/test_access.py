"""Which hosts and origins may talk to the server."""

from __future__ import annotations

import asyncio
import socket
from contextlib import closing
from typing import Any

import psutil
import pytest
from corral.runtime.http.access import Access, is_local_address, is_local_name
from starlette.responses import PlainTextResponse
from starlette.types import Message

from tests.runtime.conftest import PATIENCE, FakeServer

NAMES = [
    "",
    "localhost",
    "LOCALHOST:11434",
    "localhost:",
    "foo.local",
    "host.docker.internal:11434",
    "a.localhost",
    socket.gethostname(),
]
ADDRESSES = [
    "127.0.0.1",
    "127.8.8.8:80",
    "[::1]:11434",
    "[::1]",
    "[::ffff:127.0.0.1]:1",
    "0.0.0.0:1",
    "192.168.1.7:11434",
    "172.31.255.255",
    "10.0.0.1",
    "[fd00::1]:1",
    "[::]",
]
BAD_HOSTS = [
    "evil.example",
    "evil.example:11434",
    "8.8.8.8",
    "169.254.169.254",
    "100.64.0.1",
    "172.32.0.1:80",
    "localhost.evil.example",
    "localhost.",
    "foo.local.",
    "127.0.0.1.evil.example",
    "evil.example:80:127.0.0.1",
    "local",
    "notlocalhost",
    "[2001:4860:4860::8888]:80",
    "127.0.0.1@evil.example",
    "evil.example#.local:x",
    "evil.example#.local",
    "evil.example/.local",
    "2130706433",
    "0x7f.1",
]
GOOD_ORIGINS = [
    "http://localhost",
    "https://localhost:3000",
    "http://127.0.0.1:8080",
    "http://0.0.0.0:1",
    "app://obsidian.md",
    "file://x",
    "vscode-webview://abc",
    "vscode-file://vscode-app",
    "tauri://localhost",
    "http://ui.example",
    "https://a.sub.example",
    "http://[fd00::1]:3000",
    "chrome-extension://listed",
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
    "moz-extension://abc",
    "http://ui.example.evil.example",
    "http://uiXexample",
    "https://sub.example",
    "server.example:11434",
    "http://evil.example?http://localhost",
    "https://" + "a" * 2000 + ".sub.example",
]
ORIGINS = ["http://ui.example", "https://*.sub.example", "http://[fd00::1]:*", "chrome-extension://listed"]


async def ask(access: Access, headers: list[tuple[str, str]], method: str) -> tuple[int, dict[str, str]]:
    """Status and headers of a reply."""
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b""}

    async def send(message: Message) -> None:
        sent.append(message)

    raw = [(name.encode(), value.encode()) for name, value in headers]
    scope = {"type": "http", "http_version": "1.0", "method": method, "path": "/", "query_string": b"", "headers": raw}
    await access(scope, receive, send)
    return sent[0]["status"], {name.decode(): value.decode() for name, value in sent[0]["headers"]}


def reply(*, host: str | None = "localhost", origin: str | None = None, loopback: bool = True, method: str = "GET"):
    """Status and headers of the reply of a server with some more origins."""
    access = Access(PlainTextResponse("in"), origins=ORIGINS, loopback=loopback)
    given = [(name, value) for name, value in (("host", host), ("origin", origin)) if value is not None]
    return asyncio.run(ask(access, given, method))


@pytest.mark.parametrize("host", [*NAMES, *ADDRESSES])
def test_hosts_of_this_machine_may(host: str) -> None:
    assert reply(host=host)[0] == 200


@pytest.mark.parametrize("host", BAD_HOSTS)
def test_error_other_hosts_may_not_while_only_this_machine_listens(host: str) -> None:
    assert reply(host=host)[0] == 403
    assert reply(host=host, method="OPTIONS")[0] == 403
    assert reply(host=host, loopback=False)[0] == 200


def test_every_address_that_this_machine_has_is_its_own() -> None:
    found = [entry for entries in psutil.net_if_addrs().values() for entry in entries]
    addresses = [entry.address for entry in found if entry.family in (socket.AF_INET, socket.AF_INET6)]
    assert addresses
    assert all(is_local_address(address) for address in addresses)
    assert not is_local_address("")
    assert not is_local_name("evil.example")


def test_no_host_at_all_may_before_http_1_1() -> None:
    assert reply(host=None)[0] == 200


@pytest.mark.parametrize("lines", ["", "Host: localhost\r\nHost: evil.example\r\n"])
def test_error_an_http_1_1_request_has_one_host(fake: FakeServer, lines: str) -> None:
    host, _, port = fake.url.removeprefix("http://").partition(":")
    with closing(socket.create_connection((host, int(port)), timeout=PATIENCE)) as connection:
        connection.sendall(f"GET /api/version HTTP/1.1\r\n{lines}Connection: close\r\n\r\n".encode())
        said = b"".join(iter(lambda: connection.recv(4096), b""))
    assert said.startswith(b"HTTP/1.1 400 ")
    assert said.endswith(b'{"error":"an HTTP/1.1 request has one Host header"}')


@pytest.mark.parametrize("origin", GOOD_ORIGINS)
def test_known_origins_may_and_are_named_in_the_reply(origin: str) -> None:
    status, headers = reply(origin=origin, host="server.example:11434", loopback=False)
    assert status == 200
    assert headers["access-control-allow-origin"] == origin
    assert "X-Request-Id" in headers["access-control-expose-headers"].split(",")
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


@pytest.mark.parametrize(
    ("host", "origin", "loopback", "status"),
    [
        # a preflight: whatever the host, since the request itself is looked at then
        ("localhost", "http://localhost:3000", True, 204),
        ("127.0.0.1:11434", "http://localhost:3000", True, 204),
        ("evil.example", "http://localhost:3000", True, 204),
        ("server.example", "http://ui.example", False, 204),
        # no preflight: only for an allowed name
        ("localhost", None, True, 204),
        ("foo.local", None, True, 204),
        ("localhost:1", "http://localhost:1", True, 204),
        ("127.0.0.1:11434", None, True, 200),
        ("[::1]:1", "http://[::1]:1", True, 200),
        ("server.example", None, False, 200),
        ("evil.example", None, True, 403),
        ("evil.example", "http://evil.example", True, 403),
        ("localhost", "null", True, 403),
    ],
)
def test_options(host: str, origin: str | None, *, loopback: bool, status: int) -> None:
    assert reply(host=host, origin=origin, loopback=loopback, method="OPTIONS")[0] == status


def test_a_preflight_is_answered_on_any_path(fake: FakeServer) -> None:
    asked = {"Origin": "http://localhost:5173", "Access-Control-Request-Headers": "content-type,x-stainless-os"}
    for path in ("/api/chat", "/nowhere"):
        found = fake.ask("OPTIONS", path, **asked, **{"Access-Control-Request-Method": "POST"})
        assert (found.status_code, found.content) == (204, b"")
        assert found.headers["Access-Control-Allow-Origin"] == "http://localhost:5173"
        methods = found.headers["Access-Control-Allow-Methods"].split(",")
        assert set(methods) == {"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"}
        assert found.headers["Access-Control-Max-Age"] == "43200"
    assert fake.ask("OPTIONS", "/api/chat").status_code == 405  # the host is an address, and it is no preflight


@pytest.mark.parametrize(
    "name",
    [
        "authorization",
        "content-type",
        "user-agent",
        "accept",
        "x-requested-with",
        "openai-beta",
        *(
            f"x-stainless-{name}"
            for name in (
                "arch",
                "async",
                "custom-poll-interval",
                "helper-method",
                "lang",
                "os",
                "package-version",
                "poll-helper",
                "retry-count",
                "runtime",
                "runtime-version",
                "timeout",
            )
        ),
        "x-api-key",
        "anthropic-version",
        "anthropic-beta",
        "anthropic-dangerous-direct-browser-access",
    ],
)
def test_a_page_may_send_what_clients_send(name: str) -> None:
    _, headers = reply(origin="http://localhost:3000", method="OPTIONS")
    assert name in headers["access-control-allow-headers"].lower().split(",")


def reason(body: dict[str, Any]) -> str:
    """What an error of any dialect says."""
    return body["error"] if isinstance(body["error"], str) else body["error"]["message"]


@pytest.mark.parametrize("path", ["/api/tags", "/v1/models", "/v1/messages"])
def test_error_a_refusal_says_why_in_json(fake: FakeServer, path: str) -> None:
    for header, cure in (("Host", "OLLAMA_HOST"), ("Origin", "OLLAMA_ORIGINS")):
        refused = fake.ask("GET", path, **{header: "http://evil.example"})
        assert refused.status_code == 403
        assert refused.headers["Content-Type"] == "application/json"
        assert cure in reason(refused.json())
    assert fake.ask("GET", "/api/tags", Host="foo.local").status_code == 200


def test_a_web_page_may_read_what_headers_say(fake: FakeServer) -> None:
    body = {"model": "tiny", "prompt": "x" * 100_000 + "say:a;", "options": {"num_ctx": 64}}
    headers = fake.ask("POST", "/api/generate", body, Origin="http://localhost:3000").headers
    ours = {name.lower() for name in headers if name.lower().startswith("x-corral-")}
    assert ours == {"x-corral-num-ctx", "x-corral-truncated"}
    assert ours <= set(headers["Access-Control-Expose-Headers"].lower().split(","))


def test_errors_are_readable_for_a_web_page_too(fake: FakeServer) -> None:
    missing = fake.ask("POST", "/api/chat", {"model": "nope"}, Origin="http://localhost:3000")
    assert missing.status_code == 404
    assert missing.headers["Access-Control-Allow-Origin"] == "http://localhost:3000"


@pytest.mark.parametrize("pattern", ["*", "http://*"])
def test_a_wildcard_allows_what_it_says(pattern: str) -> None:
    access = Access(PlainTextResponse("in"), origins=[pattern], loopback=False)
    assert asyncio.run(ask(access, [("host", "x"), ("origin", "http://evil.example")], "GET"))[0] == 200
