"""The worker process: loads one model and serves it over an inherited socket until that closes.

`python -m corral.runtime.engine.worker FD LOAD`, where LOAD is a Load as JSON. A reader thread takes the frames from before
the load on: the end of the socket, which is the server's end, ends the process at once, whatever it is doing. An intake
thread tokenises what is asked, so that a long text holds up neither a Cancel nor the loop, which owns the model; and a
thread of its own says now and then that the process lives.
"""

from __future__ import annotations

import contextlib
import math
import os
import queue
import resource
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import msgspec

from ...store.errors import CorralError, MachineError
from .protocol import (
    Beat,
    Cancel,
    Count,
    Counted,
    Frames,
    Load,
    Loaded,
    LoadFailed,
    LoadProgress,
    Reply,
    Request,
    decode_request,
    frame,
)

if TYPE_CHECKING:  # they import the arithmetic, which the server, for whom there are constants here, has no use for
    from .decoder import Decoder
    from .embedding import Embedder

FAKE_PREFIX = "fake:"
"""A path that begins so loads the double instead of a file: `fake:` and the seconds a batch takes."""
VARIABLES = {
    "PYTHONUNBUFFERED": "1",
    # A failed assertion would start a debugger, where there is one, and wait for it.
    "GGML_NO_BACKTRACE": "1",
    # Threads that wait actively for long are best alone on a machine, and very bad beside another program.
    "GOMP_SPINCOUNT": "10000",
}
"""What the engine's processes have in their environment, unless the user says otherwise."""
BEAT_SECONDS = 2.0
NOT_INSTALLED = "run `make setup`, or: pip install 'corral[llama]'"
"""The cure."""

_LEAST_PROGRESS = 0.05
_LONGEST = 3600.0
"""Seconds: the longest prompt that is let in takes ten minutes to be cut into tokens where it is full of special ones."""
_OOM_SCORE = Path("/proc/self/oom_score_adj")
_MOST_LIKELY = "1000"

Send: TypeAlias = Callable[[list[Reply]], None]


class Model(Protocol):
    """A loaded model, whatever it gives."""

    def describe(self) -> Loaded:
        """What the server needs to know of it."""
        ...

    def tokenize(self, text: str) -> list[int]:
        """The tokens of a text; for any thread."""
        ...


class Loop(Protocol):
    """Serves a model's requests."""

    def submit(self, request: Any) -> None:
        """Tokenise a request of the kind it serves and hand it over, or a Cancel, which may overtake what it cancels."""
        ...

    def run(self) -> None:
        """Serve."""
        ...


def main(arguments: list[str]) -> int:
    """Serve until the socket closes. The exit status is 0, also when the model cannot be loaded: the reply says so."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError):  # who runs out of memory ends the model, and not the server or another program
        _OOM_SCORE.write_text(_MOST_LIKELY)
    threading.excepthook = _end_with_trace
    connection = socket.socket(fileno=int(arguments[0]))
    load = msgspec.json.decode(arguments[1], type=Load)
    sending = threading.Lock()

    def send(replies: list[Reply]) -> None:
        with sending:
            connection.sendall(b"".join(frame(reply) for reply in replies))

    intake = Intake(send)
    _start(_read, connection, intake)
    _start(_beat, send, intake)
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the server is gone, and so are its requests
        try:
            model, loop = _loaded(load, send)
        except CorralError as error:
            send([LoadFailed(str(error), error.hint)])
            return 0
        _start(intake.run, model, loop)
        send([model.describe()])
        loop.run()
    return 0


class Intake:
    """What stands between the socket and the loop."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._queue: queue.SimpleQueue[Request] = queue.SimpleQueue()
        self._loop: Loop | None = None
        self._since = math.inf
        """When the request at hand was taken up."""

    @property
    def is_stuck(self) -> bool:
        """Whether a text has taken longer than any that is let in may need."""
        return time.monotonic() - self._since > _LONGEST

    def put(self, request: Request) -> None:
        """Hand over a request; never waits."""
        if isinstance(request, Cancel) and self._loop:
            self._loop.submit(request)
        else:
            self._queue.put(request)

    def run(self, model: Model, loop: Loop) -> None:
        """Tokenise one after the other."""
        self._loop = loop
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            while True:
                request = self._queue.get()
                self._since = time.monotonic()
                if isinstance(request, Count):
                    self._send([Counted(request.id, len(model.tokenize(request.text)))])
                else:
                    loop.submit(request)
                self._since = math.inf


def _loaded(load: Load, send: Send) -> tuple[Model, Loop]:
    """The model and what serves it. They are imported only now: that takes a while, and the process is heard meanwhile."""
    shown, said = 0.0, time.monotonic()

    def on_progress(fraction: float) -> None:
        nonlocal shown, said
        now = time.monotonic()
        # Of a large model on a slow disk a twentieth may take longer than the server is ready to wait.
        if fraction - shown >= _LEAST_PROGRESS or (fraction > shown and now - said >= BEAT_SECONDS):
            shown, said = fraction, now
            send([LoadProgress(fraction)])

    options = load.options
    try:
        if options.embeds:
            from .embedding import EmbedLoop

            embedder = _embedder(load, on_progress)
            return embedder, EmbedLoop(embedder, send, deterministic=options.deterministic)
        from .batch import BatchLoop

        decoder = _decoder(load, on_progress)
        return decoder, BatchLoop(decoder, send, deterministic=options.deterministic)
    except ImportError as cause:
        raise MachineError(f"the engine is not installed: {cause}", hint=NOT_INSTALLED) from None


def _decoder(load: Load, on_progress: Callable[[float], None]) -> Decoder:
    if load.path.startswith(FAKE_PREFIX):
        from .fake import FakeDecoder

        return FakeDecoder(load.options, step_seconds=_step_seconds(load))
    from .llama.decoder import LlamaDecoder

    return LlamaDecoder(load.path, load.options, on_progress)


def _embedder(load: Load, on_progress: Callable[[float], None]) -> Embedder:
    if load.path.startswith(FAKE_PREFIX):
        from .fake_embedder import FakeEmbedder

        return FakeEmbedder(load.options, step_seconds=_step_seconds(load))
    from .llama.embedder import LlamaEmbedder

    return LlamaEmbedder(load.path, load.options, on_progress)


def _step_seconds(load: Load) -> float:
    return float(load.path.removeprefix(FAKE_PREFIX) or 0)


def _start(target: Callable[..., None], *arguments: object) -> None:
    threading.Thread(target=target, args=arguments, daemon=True).start()


def _beat(send: Send, intake: Intake) -> None:
    """Be heard, until a tokenizer that a damaged vocabulary leads in circles makes silence the better sign."""
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        while not intake.is_stuck:
            send([Beat()])
            time.sleep(BEAT_SECONDS)


def _read(connection: socket.socket, intake: Intake) -> None:
    frames = Frames()
    while True:
        try:
            data = connection.recv(1 << 16)
        except OSError:
            data = b""
        if not data:
            # Not by way of the loop: it may be in a long evaluation, and nobody waits for its result any more.
            os._exit(0)
        for body in frames.feed(data):
            intake.put(decode_request(body))


def _end_with_trace(failed: threading.ExceptHookArgs) -> None:
    """No thread may end alone: what it had to do would be waited for without end."""
    threading.__excepthook__(failed)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
