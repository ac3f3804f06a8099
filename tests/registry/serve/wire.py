"""Wire: requests as they are written here, to the byte of the path, and replies with nothing followed or decoded."""

from __future__ import annotations

import json
import socket
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, IncompleteRead
from typing import Any

PATIENCE = 30.0


@dataclass(frozen=True)
class Reply:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    """By their lower-case names; those of one name are joined."""
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The error's."""
        return self.json["errors"][0]["code"]


@dataclass
class Wire:
    """One connection to a registry, made again where the other end closes it."""

    host: str
    _connection: HTTPConnection = field(init=False)

    def __post_init__(self) -> None:
        self._connection = HTTPConnection(self.host, timeout=PATIENCE)

    def ask(
        self,
        method: str,
        target: str,
        body: bytes | Iterable[bytes] = b"",
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """A body in pieces is sent chunked."""
        sent = dict(headers or {})
        if not isinstance(body, bytes):
            sent["Transfer-Encoding"] = "chunked"
        elif body or method in ("POST", "PUT", "PATCH"):
            sent.setdefault("Content-Length", str(len(body)))
        self._connection.putrequest(method, target, skip_accept_encoding=True)
        for name, value in sent.items():
            self._connection.putheader(name, value)
        self._connection.endheaders(body or None, encode_chunked=not isinstance(body, bytes))
        reply = self._connection.getresponse()
        found: dict[str, str] = {}
        for name, value in reply.getheaders():
            found[name.lower()] = f"{found[name.lower()]}, {value}" if name.lower() in found else value
        try:
            content = reply.read()
        except IncompleteRead as error:
            content = error.partial
            self._connection.close()
        return Reply(reply.status, found, content)

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def located(reply: Reply) -> str:
    """The path and query of its Location."""
    location = reply.headers["location"]
    return location if location.startswith("/") else "/" + location.split("/", 3)[3]


@contextmanager
def bare(host: str) -> Generator[socket.socket]:
    """A connection for what no client would say."""
    name, _, port = host.rpartition(":")
    with socket.create_connection((name, int(port)), timeout=PATIENCE) as connection:
        yield connection


def begun(host: str, method: str, target: str, headers: Mapping[str, str]) -> bytes:
    """The head of a request."""
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()
