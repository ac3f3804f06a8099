"""How slowly, how much and how often one may talk to the server."""

from __future__ import annotations

import asyncio
import json
import resource
import socket
import time
from collections.abc import AsyncIterator, Generator
from contextlib import ExitStack

import pytest
from corral.runtime.http import limits, stream
from corral.runtime.http.limits import Limits, StalledBodyError, most_connections, stalled
from corral.runtime.http.types import MAX_BODY
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.runtime.conftest import PATIENCE, FakeServer, eventually
from tests.runtime.http.running import Running, received, running

SOON = 0.5
"""Seconds that stand for the ten and the sixty."""


async def swallow(request: Request) -> Response:
    """Says how much came."""
    return JSONResponse({"bytes": len(await request.body())})


async def refuse(_: Request) -> Response:
    """Answers without a look at the body."""
    return JSONResponse({"error": "no"}, 400)


async def drip(_: Request) -> Response:
    """An answer that takes longer than anybody may be slow."""

    async def parts() -> AsyncIterator[str]:
        for number in range(8):
            yield f"{number}\n"
            await asyncio.sleep(SOON / 3)

    return StreamingResponse(parts())


@pytest.fixture
def impatient() -> Generator[Running]:
    """A server that waits for nobody long, and for three at most."""
    app = Starlette(
        routes=[
            Route("/swallow", swallow, methods=["POST"]),
            Route("/v1/swallow", swallow, methods=["POST"]),
            Route("/refuse", refuse, methods=["POST"]),
            Route("/drip", drip),
        ],
        middleware=[Middleware(Limits, body_seconds=SOON)],
        exception_handlers={StalledBodyError: stalled},
    )
    with running(app, head_seconds=SOON, connections=3) as run:
        yield run


def head(path: str, length: int, *more: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", f"Content-Length: {length}", *more]
    return "\r\n".join([*lines, "", ""]).encode()


def ends(connection: socket.socket, within: float) -> bytes:
    """What is said before the other end closes, which it does before so many seconds."""
    began = time.monotonic()
    said = received(connection)
    assert time.monotonic() - began < within
    return said


PATIENT = 10.0
"""Of these tests with a server that is not."""


@pytest.mark.parametrize("sent", [b"", b"G", b"POST /swallow HTTP/1.1\r\nHost: localhost\r\nX-Slow: "])
def test_error_a_head_that_does_not_come(impatient: Running, sent: bytes) -> None:
    with impatient.connection() as connection:
        connection.sendall(sent)
        assert ends(connection, PATIENT) == b""


def test_error_a_head_that_comes_letter_by_letter(impatient: Running) -> None:
    with impatient.connection() as connection:
        began = time.monotonic()
        with pytest.raises(OSError):  # noqa: PT012 - which of them fails is the server's to say
            for letter in (head("/swallow", 0) + b"x" * 1000).replace(b"\r\n\r\n", b"\r\nX: "):
                connection.sendall(bytes([letter]))
                time.sleep(SOON / 20)
        assert SOON / 2 < time.monotonic() - began < PATIENT


def test_error_a_second_head_that_does_not_come(impatient: Running) -> None:
    with impatient.connection() as connection:
        connection.sendall(head("/swallow", 2) + b"ab")
        assert b'{"bytes":2}' in connection.recv(4096)
        connection.sendall(b"POST /swal")
        assert ends(connection, PATIENT) == b""


def test_error_a_body_that_stops(impatient: Running) -> None:
    for path, shape in (("/swallow", ["error"]), ("/v1/swallow", ["error"])):
        with impatient.connection() as connection:
            connection.sendall(head(path, 10) + b"abc")
            said = ends(connection, PATIENT)
        assert said.startswith(b"HTTP/1.1 408 ")
        assert list(json.loads(said.partition(b"\r\n\r\n")[2])) == shape


def test_error_a_body_that_trickles(impatient: Running) -> None:
    with impatient.connection() as connection:
        connection.sendall(head("/swallow", 1000))
        connection.settimeout(SOON / 10)
        began = time.monotonic()
        said = b""
        while not said and time.monotonic() - began < PATIENT:
            connection.sendall(b"x")
            try:
                said = connection.recv(4096)
            except TimeoutError:
                continue
        assert said.startswith(b"HTTP/1.1 408 ")


def test_error_much_at_once_buys_no_long_silence(impatient: Running) -> None:
    with impatient.connection() as connection:
        connection.sendall(head("/swallow", 10**6) + b"x" * 100_000)
        assert ends(connection, PATIENT).startswith(b"HTTP/1.1 408 ")


def test_a_body_that_gets_on_may_take_longer(impatient: Running) -> None:
    piece = b"x" * 4096  # four seconds' worth
    with impatient.connection() as connection:
        connection.sendall(head("/swallow", 6 * len(piece)))
        for _ in range(6):
            connection.sendall(piece)
            time.sleep(SOON / 3)
        assert b'{"bytes":24576}' in connection.recv(4096)


def test_an_answer_may_take_as_long_as_it_likes(impatient: Running) -> None:
    with impatient.connection() as connection:
        connection.sendall(b"GET /drip HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        time.sleep(SOON / 3)
        connection.sendall(b"\r\n")  # of a request that is none
        assert b"\r\n7\n\r\n0\r\n" in received(connection)


def test_who_is_answered_early_is_not_listened_to_for_ever(impatient: Running) -> None:
    with impatient.connection() as connection:
        connection.sendall(head("/refuse", 10**9) + b"x" * 10)
        assert connection.recv(4096).startswith(b"HTTP/1.1 400 ")
        began = time.monotonic()
        with pytest.raises(OSError):  # noqa: PT012 - as above
            while time.monotonic() - began < PATIENT:
                connection.sendall(b"x")
                time.sleep(SOON / 20)


def test_after_an_early_answer_the_connection_can_be_used_once_the_body_is_in(impatient: Running) -> None:
    with impatient.connection() as connection:
        connection.sendall(head("/refuse", 6) + b"abc")
        assert connection.recv(4096).startswith(b"HTTP/1.1 400 ")
        connection.sendall(b"def" + head("/swallow", 1) + b"x")
        assert b'{"bytes":1}' in connection.recv(4096)


def test_who_ends_the_body_after_the_answer_and_says_no_more_is_not_waited_for(impatient: Running) -> None:
    with impatient.connection() as connection:
        connection.settimeout(PATIENT)
        connection.sendall(head("/refuse", 10) + b"abcde")
        assert connection.recv(4096).startswith(b"HTTP/1.1 400 ")
        connection.sendall(b"fghij")
        assert ends(connection, PATIENT) == b""


def test_a_body_that_was_begun_before_the_last_answer_ended_may_take_its_time(impatient: Running) -> None:
    piece = b"x" * 4096
    with impatient.connection() as connection:
        connection.sendall(b"GET /drip HTTP/1.1\r\nHost: localhost\r\n\r\n")
        connection.sendall(head("/swallow", 6 * len(piece), "Connection: close") + b"x" * 5)
        said = b""
        while not said.endswith(b"\r\n0\r\n\r\n"):
            said += connection.recv(4096)
        for part in (piece[5:], *[piece] * 5):
            time.sleep(SOON / 3)
            connection.sendall(part)
        assert b'{"bytes":24576}' in received(connection)


def test_error_more_connections_than_may_be(impatient: Running) -> None:
    with ExitStack() as held:
        for _ in range(3):
            connection = held.enter_context(impatient.connection())
            connection.sendall(head("/swallow", 2) + b"a")
        eventually(lambda: len(impatient.server.server_state.connections) == 3)
        for path, shape in (("/swallow", str), ("/v1/swallow", dict)):
            with impatient.connection() as surplus:
                surplus.sendall(head(path, 0))
                said, _, body = ends(surplus, PATIENT).partition(b"\r\n\r\n")
                assert said.startswith(b"HTTP/1.1 503 ")
                assert b"\r\nretry-after: 5\r\n" in said.lower()
                assert isinstance(json.loads(body)["error"], shape)
    eventually(lambda: not impatient.server.server_state.connections)
    with impatient.connection() as connection:
        connection.sendall(head("/swallow", 0, "Connection: close"))
        assert b'{"bytes":0}' in received(connection)


def test_a_flood_of_connections_is_not_even_read(impatient: Running) -> None:
    with ExitStack() as held:
        flood = [held.enter_context(impatient.connection()) for _ in range(limits._REFUSED_AT_ONCE + 20)]
        most = 3 + limits._REFUSED_AT_ONCE
        eventually(lambda: sum(map(is_closed, flood)) >= 17)
        assert len(impatient.server.server_state.connections) <= most


def is_closed(connection: socket.socket) -> bool:
    connection.settimeout(0)
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


@pytest.mark.parametrize("size", [70_000, 200_000])
def test_error_a_head_that_is_too_large(fake: FakeServer, size: int) -> None:
    for path, shape in (("/api/chat", str), ("/v1/chat/completions", dict)):
        reply = fake.ask("POST", path, {}, **{"X-Large": "x" * size})
        assert reply.status_code == 431
        assert isinstance(reply.json()["error"], shape)
    assert fake.ask("GET", "/api/version?" + "x" * size).status_code == 400  # the parser's own limit
    assert fake.ask("GET", "/api/version?" + "x" * 40_000, **{"X-Large": "x" * 40_000}).status_code == 431
    assert fake.ask("GET", "/api/version", **{"X-Large": "x" * 60_000}).status_code == 200


@pytest.mark.parametrize(("headers", "status"), [(200, 200), (300, 431), (20_000, 431)])
def test_error_more_headers_than_anybody_needs(fake: FakeServer, headers: int, status: int) -> None:
    host, _, port = fake.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as connection:
        lines = b"GET /api/version HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" + b"X: y\r\n" * headers
        connection.sendall(lines + b"\r\n")
        assert received(connection).startswith(b"HTTP/1.1 %d " % status)


def test_error_a_head_without_end(fake: FakeServer) -> None:
    host, _, port = fake.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n")
        with pytest.raises(OSError):  # noqa: PT012 - as above
            for number in range(10_000):
                connection.sendall(b"X-%d: %s\r\n" % (number, b"x" * 1000))
                time.sleep(0.001)


CHUNKED = b"POST /swallow HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize("beside", [b"0\r\nX: ", b"0\r\n", b"1;"], ids=["trailer", "trailers", "chunk"])
def test_error_what_comes_with_a_body_without_end(fake: FakeServer, beside: bytes) -> None:
    more = b"X: y\r\n" * 10_000 if beside == b"0\r\n" else b"x" * 60_000
    host, _, port = fake.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as connection:
        connection.sendall(CHUNKED.replace(b"/swallow", b"/api/chat") + beside)
        with pytest.raises(OSError):  # noqa: PT012 - as above
            for _ in range(400):
                connection.sendall(more)


def test_a_body_may_come_in_very_many_or_very_large_pieces(impatient: Running) -> None:
    for body, size in (
        (b"1;x=y\r\nz\r\n" * 100_000, 100_000),
        (b"%x\r\n%s\r\n" % (16 << 20, b"x" * (16 << 20)), 16 << 20),
    ):
        with impatient.connection() as connection:
            connection.sendall(CHUNKED + body + b"0\r\nX-Trailer: x\r\n\r\n" + head("/swallow", 0, "Connection: close"))
            said = received(connection)
            assert b'{"bytes":%d}' % size in said
            assert b'{"bytes":0}' in said


def test_error_a_body_that_says_it_is_too_large_is_not_waited_for(fake: FakeServer) -> None:
    host, _, port = fake.url.removeprefix("http://").partition(":")
    for path in ("/api/chat", "/api/pull", "/v1/chat/completions", "/v1/messages"):
        with socket.create_connection((host, int(port)), timeout=PATIENT) as connection:
            connection.sendall(head(path, MAX_BODY + 1))
            assert connection.recv(4096).startswith(b"HTTP/1.1 413 ")


def test_error_bodies_that_are_too_large_together(fake: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    room = 1 << 20
    shared = stream.Room(room)
    monkeypatch.setattr(stream, "_ROOM", shared)
    host, _, port = fake.url.removeprefix("http://").partition(":")
    blanks = b" " * room + b"{}"
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as first:
        first.sendall(head("/api/chat", 2 * room) + blanks)
        eventually(lambda: shared.free < room // 2)
        for path, shape in (("/api/chat", str), ("/v1/chat/completions", dict)):
            reply = fake.ask("POST", path, blanks)
            assert (reply.status_code, reply.headers["Retry-After"]) == (503, "5")
            assert isinstance(reply.json()["error"], shape)
            assert fake.ask("POST", path, blanks[-(200 << 10) :]).status_code == 400
    eventually(lambda: shared.free == room)
    assert [fake.ask("POST", "/api/chat", blanks).status_code for _ in range(3)] == [400] * 3


def test_as_many_connections_as_there_may_be_files() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (512, before[1]))
        assert most_connections() == min(limits.MAX_CONNECTIONS, max(16, before[1] - 384))
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 512
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_websockets_are_not_spoken(fake: FakeServer) -> None:
    headers = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Key": "x", "Sec-WebSocket-Version": "13"}
    assert fake.ask("GET", "/api/version", **headers).status_code == 200
