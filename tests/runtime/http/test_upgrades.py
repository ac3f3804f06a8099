"""Clients that would rather speak another protocol are served in this one."""

from __future__ import annotations

import json
from collections.abc import Generator

import pytest
from corral.runtime.http.limits import MAX_HEADERS, Limits
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.runtime.http.running import Running, received, running

BODY = b'{"model":"a"}'
LENGTH = b"Content-Length: %d\r\n\r\n%s" % (len(BODY), BODY)
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n4\r\n%s\r\n9\r\n%s\r\n0\r\n\r\n" % (BODY[:4], BODY[4:])
OFFERS = {
    "java": "Connection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAEAAEAAAAIAAAAB\r\nUpgrade: h2c\r\n",
    "curl": "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n",
    "browser": "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
    "shouting": "CONNECTION: UPGRADE\r\nUPGRADE: TLS/1.0, H2C\r\n",
}


async def echo(request: Request) -> Response:
    """Says what came."""
    body = await request.body()
    return JSONResponse(
        {"path": request.url.path + "?" + request.url.query, "body": body.decode(), "x": request.headers["x"]}
    )


@pytest.fixture(scope="module")
def server() -> Generator[Running]:
    routes = [Route("/{rest:path}", echo, methods=["GET", "POST", "PUT"])]
    with running(Starlette(routes=routes, middleware=[Middleware(Limits)])) as run:
        yield run


def head(offer: str, *, path: str = "/a?b=c", version: str = "1.1") -> bytes:
    return f"POST {path} HTTP/{version}\r\nHost: localhost\r\nX: é\r\n{offer}".encode("latin-1")


def answers(said: bytes) -> list[object]:
    """The bodies of answers that all went well, one on each line of what was said."""
    assert said.count(b"HTTP/1.1 ") == said.count(b"HTTP/1.1 200 OK\r\n")
    return [json.loads(line.partition(b"HTTP/1.1")[0]) for line in said.splitlines() if line.startswith(b"{")]


ECHO = {"path": "/a?b=c", "body": BODY.decode(), "x": "é"}
LAST = b"GET /last HTTP/1.1\r\nHost: localhost\r\nX: y\r\nConnection: close\r\n\r\n"
AFTER = {"path": "/last?", "body": "", "x": "y"}


@pytest.mark.parametrize("pieces", [1, 2, 3, 1000], ids=lambda pieces: f"in {pieces}")
@pytest.mark.parametrize("body", [LENGTH, CHUNKED], ids=["length", "chunked"])
@pytest.mark.parametrize("offer", OFFERS.values(), ids=OFFERS)
def test_the_body_of_a_request_with_an_offer_arrives(server: Running, offer: str, body: bytes, pieces: int) -> None:
    wire = (head(offer) + body) * 2 + LAST
    size = -(-len(wire) // pieces)
    with server.connection() as connection:
        for start in range(0, len(wire), size):
            connection.sendall(wire[start : start + size])
        assert answers(received(connection)) == [ECHO, ECHO, AFTER]


def test_an_offer_on_the_last_request_of_a_connection(server: Running) -> None:
    for version, more in (("1.1", "Connection: Upgrade, close\r\nUpgrade: h2c\r\n"), ("1.0", OFFERS["java"])):
        with server.connection() as connection:
            connection.sendall(head(more, version=version) + LENGTH)
            assert answers(received(connection)) == [ECHO]


def test_many_offers_at_once(server: Running) -> None:
    wire = head(OFFERS["java"]) + LENGTH
    with server.connection() as connection:
        connection.sendall(wire * 200 + LAST)
        assert answers(received(connection)) == [ECHO] * 200 + [AFTER]


@pytest.mark.parametrize(
    "wire",
    [
        head(OFFERS["java"]) + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        head(OFFERS["java"]) + b"Transfer-Encoding: chunked\r\n\r\nZZ\r\n",
        head(OFFERS["java"]) + b"Content-Length: 3\r\n\r\nabcGARBAGE\r\n\r\n",
        head(OFFERS["java"]) + b"Y: z\r\n" * MAX_HEADERS + b"Content-Length: %d\r\n\r\n%s" % (len(LAST), LAST),
        b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ],
    ids=["smuggling", "chunks", "garbage", "headers", "connect"],
)
def test_error_an_offer_makes_nothing_good(server: Running, wire: bytes) -> None:
    with server.connection() as connection:
        connection.sendall(wire)
        said = received(connection)
    assert said.startswith(b"HTTP/1.1 400 ")
    assert said.count(b"HTTP/1.1 ") == 1
