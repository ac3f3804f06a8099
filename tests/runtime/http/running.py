"""A running server, for tests of what is before the dialects: the real one, on a real socket, with any application."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corral.runtime.engine.process import Worker
from corral.runtime.engine.protocol import LoadOptions
from corral.runtime.http.app import make_app
from corral.runtime.http.server import Server, bind
from corral.runtime.inference import EngineDefaults
from starlette.types import ASGIApp

from corral import Store
from tests.runtime.conftest import PATIENCE, FakeServer


@dataclass
class Running:
    """A server and its address."""

    host: str
    port: int
    server: Server
    thread: threading.Thread
    events: list[str]
    """`ready` and `stopping`, as it said them."""

    @property
    def fake(self) -> FakeServer:
        """For requests."""
        return FakeServer(f"http://{self.host}:{self.port}")

    @contextmanager
    def connection(self) -> Generator[socket.socket]:
        """A bare one."""
        with socket.create_connection((self.host, self.port), timeout=PATIENCE) as connection:
            yield connection


@contextmanager
def running(
    app: ASGIApp,
    *,
    listener: socket.socket | None = None,
    **options: Any,
) -> Generator[Running]:
    """It ends with the block, if it has not before. `options` are Server's."""
    listener = listener or bind("127.0.0.1", 0)
    name: Any = listener.getsockname()
    host, port = ("", 0) if isinstance(name, str) else name[:2]
    events: list[str] = []
    ready = threading.Event()

    def on_ready() -> None:
        events.append("ready")
        ready.set()

    def on_stop() -> None:
        events.append("stopping")

    server = Server(app, listener, on_ready=on_ready, on_stop=on_stop, server_name="test", **options)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        assert ready.wait(PATIENCE)
        yield Running(host, port, server, thread, events)
    finally:
        server.should_exit = True
        thread.join(PATIENCE)
        listener.close()
    assert not thread.is_alive()


def fake_app(models: Path, *, seconds: float = 0.0, max_queue: int = 512, slots: int = 4, **options: Any) -> Any:
    """The application, with models that take so long for a token."""

    async def start(name: str, _: str, load: LoadOptions) -> Worker:
        return await Worker.start(name, f"fake:{seconds}", load)

    return make_app(Store(models), EngineDefaults(slots=slots), max_queue=max_queue, start=start, **options)


def received(connection: socket.socket) -> bytes:
    """All that comes until the other end closes."""
    parts: list[bytes] = []
    while True:
        try:
            part = connection.recv(65536)
        except ConnectionResetError:
            break
        if not part:
            break
        parts.append(part)
    return b"".join(parts)


def last_line(lines: Any) -> dict[str, Any]:
    """The last object of a stream."""
    return json.loads([line for line in lines if line][-1])
