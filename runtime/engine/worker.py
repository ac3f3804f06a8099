"""The worker process: loads one model and serves it over an inherited socket until that closes.

`python -m corral.runtime.engine.worker FD LOAD`, where LOAD is a Load as JSON. A reader thread feeds the batching loop,
which owns the model; the end of the socket, which is the server's end, ends the process at once.
"""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import sys
import threading
from collections.abc import Callable

import msgspec

from ...store.errors import CorralError, MachineError
from .batch import BatchLoop
from .protocol import Frames, Load, LoadFailed, LoadProgress, Reply, Request, decode_request, frame

FAKE_PREFIX = "fake:"
"""A path that begins so loads the double instead of a file: `fake:` and the seconds a batch takes."""


def main(arguments: list[str]) -> int:
    """Serve until the socket closes. The exit status is 0, also when the model cannot be loaded: the reply says so."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.environ.setdefault("GGML_NO_BACKTRACE", "1")
    connection = socket.socket(fileno=int(arguments[0]))
    load = msgspec.json.decode(arguments[1], type=Load)

    def send(replies: list[Reply]) -> None:
        connection.sendall(b"".join(frame(reply) for reply in replies))

    try:
        loop = _load(load, send)
    except CorralError as error:
        send([LoadFailed(str(error), error.hint)])
        return 0
    threading.Thread(target=_read, args=(connection, loop), daemon=True).start()
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the server is gone, and so are its requests
        loop.run()
    return 0


def _load(load: Load, send: Callable[[list[Reply]], None]) -> BatchLoop:
    shown = 0.0

    def on_progress(fraction: float) -> None:
        nonlocal shown
        if fraction - shown >= 0.05:
            shown = fraction
            send([LoadProgress(fraction)])

    if load.path.startswith(FAKE_PREFIX):
        from .fake import FakeDecoder

        decoder = FakeDecoder(load.options, step_seconds=float(load.path.removeprefix(FAKE_PREFIX) or 0))
    else:
        try:
            from .llama import LlamaDecoder
        except ImportError as cause:
            hint = "run `make setup`, or: pip install 'corral[llama]'"
            raise MachineError(f"the engine is not installed: {cause}", hint=hint) from None
        decoder = LlamaDecoder(load.path, load.options, on_progress)
    loop = BatchLoop(decoder, send, deterministic=load.options.deterministic)
    send([decoder.describe()])
    return loop


def _read(connection: socket.socket, loop: BatchLoop) -> None:
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
            request: Request = decode_request(body)
            loop.submit(request)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
