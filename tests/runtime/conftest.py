"""A server in this process whose models have no weights: every request goes the real way, through a real socket and a
real worker process, but the worker runs the FakeDecoder, whose answers are known.

A prompt that holds `say:TEXT;` is answered TEXT; any other is answered with letters until the context is full.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import psutil
import pytest
import requests
from corral.runtime.engine.process import Worker
from corral.runtime.engine.protocol import LoadOptions
from corral.runtime.http.app import make_app
from corral.runtime.http.server import Server, bind
from corral.runtime.inference import EngineDefaults

from corral import Store
from tests.conftest import Cli

PATIENCE = 60.0
"""Seconds until a test gives up on what must happen; the machine may be busy."""


def eventually(holds: Callable[[], bool]) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@dataclass
class FakeServer:
    """A running server."""

    url: str
    starts: list[str] = field(default_factory=list[str])
    """The names of the models it loaded, in order."""
    options: list[LoadOptions] = field(default_factory=list[LoadOptions])
    """How it loaded them."""
    workers: list[Worker] = field(default_factory=list[Worker])
    stop: Callable[[], None] = lambda: None
    waiting: Callable[[], int] = lambda: 0
    """How many requests wait for a slot or a load."""

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> requests.Response:
        """One request; a body that is not bytes is sent as JSON."""
        data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        return requests.request(method, self.url + path, data=data, headers=headers, timeout=PATIENCE)

    def post(self, path: str, body: object) -> requests.Response:
        """A POST."""
        return self.ask("POST", path, body)

    def stream(self, path: str, body: Mapping[str, object]) -> requests.Response:
        """A POST whose reply is read as it comes."""
        return requests.post(self.url + path, json=body, timeout=PATIENCE, stream=True)

    def get(self, path: str) -> Any:
        """The JSON of a GET that succeeds."""
        reply = self.ask("GET", path)
        assert reply.status_code == 200
        return reply.json()

    def is_idle(self) -> bool:
        """Whether no model is loaded and every worker process is gone."""
        return self.get("/api/ps") == {"models": []} and not any(psutil.pid_exists(w.pid) for w in self.workers)


class Serve(Protocol):
    """Starts a server."""

    def __call__(
        self,
        *,
        seconds: float = 0.0,
        slots: int = 4,
        keep_alive: float = 300.0,
        max_loaded: int = 3,
        max_queue: int = 512,
        models: Path | None = None,
        num_thread: int = 0,
        is_real: bool = False,
    ) -> AbstractContextManager[FakeServer]:
        """`seconds` is how long the fake model takes for a token; with `is_real` the engine is given the real file."""
        ...


@pytest.fixture(scope="session")
def fake_models(tiny_gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with `tiny`, `other` (other weights) and `twin` (the weights of `tiny`, and more of a Modelfile)."""
    folder = tmp_path_factory.mktemp("fake")
    cli = Cli(folder / "models", folder)
    other = folder / "other.gguf"
    other.write_bytes(tiny_gguf.read_bytes()[:-1] + b"\xff")
    cli.ok("create", "tiny", "-f", "-", stdin=f"FROM {tiny_gguf}\n")
    cli.ok("create", "other", "-f", "-", stdin=f"FROM {other}\n")
    twin = (
        'FROM tiny\nTEMPLATE """{{ .System }}|{{ .Prompt }}"""\nSYSTEM Be brief.\nPARAMETER num_predict 7\n'
        'PARAMETER stop "<end>"\nLICENSE Free.\nMESSAGE user hi\nMESSAGE assistant hello\n'
    )
    cli.ok("create", "twin", "-f", "-", stdin=twin)
    return cli.models


@pytest.fixture(scope="session")
def serve(fake_models: Path) -> Serve:
    """Starts servers with models that have no weights."""

    @contextmanager
    def run(
        *,
        seconds: float = 0.0,
        slots: int = 4,
        keep_alive: float = 300.0,
        max_loaded: int = 3,
        max_queue: int = 512,
        models: Path | None = None,
        num_thread: int = 0,
        is_real: bool = False,
    ) -> Generator[FakeServer]:
        listener = bind("127.0.0.1", 0)
        fake = FakeServer(f"http://127.0.0.1:{listener.getsockname()[1]}")

        async def start(name: str, path: str, options: LoadOptions) -> Worker:
            fake.starts.append(name)
            fake.options.append(options)
            fake.workers.append(await Worker.start(name, path if is_real else f"fake:{seconds}", options))
            return fake.workers[-1]

        defaults = EngineDefaults(slots=slots, keep_alive=keep_alive, num_thread=num_thread)
        app = make_app(Store(models or fake_models), defaults, max_loaded=max_loaded, max_queue=max_queue, start=start)
        ready = threading.Event()
        server = Server(app, listener, on_ready=ready.set, server_name="test")
        fake.waiting = lambda: app.state.pool.waiting
        fake.stop = lambda: setattr(server, "should_exit", True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            assert ready.wait(PATIENCE)
            yield fake
        finally:
            server.should_exit = True
            thread.join(PATIENCE)
            listener.close()
        assert not any(psutil.pid_exists(worker.pid) for worker in fake.workers)

    return run


@pytest.fixture(scope="session")
def fake(serve: Serve) -> Generator[FakeServer]:
    """A server that every test may use and none may stop; its models answer at once."""
    with serve() as server:
        yield server


def kill(pid: int) -> None:
    """kill -9."""
    os.kill(pid, 9)


def freeze(pid: int) -> None:
    """Stop every thread of a process, so that it reads nothing any more."""
    os.kill(pid, signal.SIGSTOP)
    tasks = Path(f"/proc/{pid}/task")
    eventually(lambda: all((task / "stat").read_text().rpartition(") ")[2][0] == "T" for task in tasks.iterdir()))
