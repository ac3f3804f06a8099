"""An HTTP server whose every reply can be spoilt, down to the byte: requests and replies as values, and faults in between.

A fault stands between a request and what its host would do: it may ask for the sound reply and change it, spoil the body
on its way in, or answer on its own.
"""

from __future__ import annotations

import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BufferedIOBase
from typing import TypeAlias
from urllib.parse import parse_qs, urlsplit

PIECE = 64 << 10
"""Bodies come and go in pieces of at most so many bytes."""

Data: TypeAlias = bytes | memoryview
Piece: TypeAlias = Data | float
"""Bytes; or how many seconds to wait before what comes next."""


class Dropped(Exception):  # noqa: N818 - it is no error here
    """The connection ends now; with `is_hard`, by a reset."""

    def __init__(self, *, is_hard: bool = False) -> None:
        self.is_hard = is_hard


@dataclass
class Request:
    """One that came. Its body is read when somebody asks for its pieces."""

    method: str
    url: str
    headers: dict[str, str]
    """By names in lower case."""
    stream: BufferedIOBase = field(repr=False)
    body: bytes = field(default=b"", repr=False)
    """What was read of its body, as far as it fits in a piece."""
    came: int = 0
    """How many bytes of its body were read."""
    on_the_way: Callable[[Iterator[bytes]], Iterator[bytes]] = iter
    """What happens to its body before the host gets it."""
    is_read: bool = False
    when: float = field(default_factory=time.monotonic)

    @property
    def path(self) -> str:
        return urlsplit(self.url).path

    @property
    def query(self) -> dict[str, str]:
        return {name: values[0] for name, values in parse_qs(urlsplit(self.url).query).items()}

    @property
    def length(self) -> int:
        """What it says of its body's; 0 where it does not."""
        return int(self.headers.get("content-length") or 0)

    def pieces(self) -> Iterator[bytes]:
        """The body, once. Raises Dropped when it ends too soon."""
        return self.on_the_way(self._pieces())

    def whole(self) -> bytes:
        """The body. Raises Dropped."""
        return b"".join(self.pieces())

    def _pieces(self) -> Iterator[bytes]:
        if self.is_read:
            return
        self.is_read = True
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            while size := int(self.stream.readline(100).partition(b";")[0] or b"0", 16):
                yield from self._exactly(size)
                self.stream.readline(100)
            self.stream.readline(100)
        yield from self._exactly(self.length)

    def _exactly(self, left: int) -> Iterator[bytes]:
        while left:
            piece = self.stream.read(min(PIECE, left))
            if not piece:
                raise Dropped
            left -= len(piece)
            self.came += len(piece)
            self.body += piece[: PIECE - len(self.body)]
            yield piece


@dataclass
class Reply:
    """What is to be sent."""

    status: int
    headers: dict[str, str] = field(default_factory=dict[str, str])
    body: Data = b""
    length: int | None = -1
    """The Content-Length, the body's own if -1; None to say none."""
    pieces: Iterable[Piece] | None = None
    """Sent in place of the body; the connection ends then."""
    head: Iterable[Piece] | None = None
    """Sent in place of all, from the status line on."""


Fault: TypeAlias = Callable[[Request, Callable[[], Reply]], Reply]


@dataclass
class Host:
    """Who answers."""

    host: str = ""
    """Its address, while it is served."""
    faults: list[Fault] = field(default_factory=list[Fault])
    """The first is the outermost."""
    rate: float = 0
    """How many bytes a second each connection gets at most; 0 for no limit."""
    seen: list[Request] = field(default_factory=list[Request])
    sent: dict[str, int] = field(default_factory=dict[str, int])
    """By path, how many bytes of bodies were sent."""
    broken: list[BaseException] = field(default_factory=list[BaseException])
    """What went wrong in the double itself."""
    stopped: threading.Event = field(default_factory=threading.Event)
    _counting: threading.Lock = field(default_factory=threading.Lock)

    def sound(self, request: Request) -> Reply:
        """What it replies where no fault is."""
        return Reply(404, {"X-Asked": request.method})

    def answer(self, request: Request) -> Reply:
        """What it replies, faults and all."""

        def act(depth: int) -> Reply:
            return (
                self.faults[depth](request, lambda: act(depth + 1)) if depth < len(self.faults) else self.sound(request)
            )

        return act(0)

    def asked(self, method: str, part: str) -> list[Request]:
        """The requests by this method whose address has this in it."""
        return [request for request in self.seen if request.method == method and part in request.url]

    def count(self, path: str, size: int) -> None:
        """Remember that so much was sent."""
        with self._counting:
            self.sent[path] = self.sent.get(path, 0) + size


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 60
    owner: Host

    def do_GET(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.command, self.path, headers, self.rfile)
        self.owner.seen.append(request)
        try:
            self._send(request, self.owner.answer(request))
            for _ in request.pieces():
                pass
        except Dropped as dropped:
            if dropped.is_hard:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True

    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Quiet."""

    def _send(self, request: Request, reply: Reply) -> None:
        if reply.head is not None:
            self.close_connection = True
            for piece in reply.head:
                self._put(piece)
            return
        lines = [f"HTTP/1.1 {reply.status} {HTTPStatus(reply.status).phrase}"]
        lines += [f"{name}: {value}" for name, value in reply.headers.items()]
        if reply.length is not None and reply.status != HTTPStatus.NO_CONTENT:
            lines.append(f"Content-Length: {len(reply.body) if reply.length == -1 else reply.length}")
        self.wfile.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
        if reply.length is None or reply.pieces is not None:
            self.close_connection = True
        if request.method == "HEAD":
            return
        body = memoryview(reply.body)
        pieces = (body[start : start + PIECE] for start in range(0, len(body), PIECE))
        for piece in pieces if reply.pieces is None else reply.pieces:
            self._put(piece)
            if isinstance(piece, (bytes, memoryview)):
                self.owner.count(request.path, len(piece))

    def _put(self, piece: Piece) -> None:
        if isinstance(piece, (bytes, memoryview)):
            self.wfile.write(piece)
            piece = len(piece) / self.owner.rate if self.owner.rate else 0.0
        if piece and self.owner.stopped.wait(piece):
            raise Dropped


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    owner: Host

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002
        """Keep what is not just a client that has gone."""
        error = sys.exception()
        if error is not None and not isinstance(error, OSError):
            self.owner.broken.append(error)


@contextmanager
def served(owner: Host, name: str = "127.0.0.1") -> Generator[str]:
    """Serve it while the block runs, under one of this machine's names; gives its address. Nothing may break in it."""
    kind = type("Answering", (_Handler,), {"owner": owner})
    with _Server(("127.0.0.1", 0), kind) as server:
        server.owner = owner
        owner.host = f"{name}:{server.server_port}"
        owner.stopped.clear()
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield owner.host
        finally:
            owner.stopped.set()
            server.shutdown()
            thread.join()
    assert owner.broken == [], owner.broken
