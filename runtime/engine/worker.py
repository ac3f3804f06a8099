"""The worker process: loads one model and serves it over an inherited socket until that closes.

`python -m corral.runtime.engine.worker FD LOAD`, where LOAD is a Load as JSON. A reader thread feeds the batching loop,
which owns the model, and a thread that counts tokens beside it; the end of the socket, which is the server's end, ends the
process at once.
"""

from __future__ import annotations

import contextlib
import os
import queue
import resource
import socket
import sys
import threading
from collections.abc import Callable

import msgspec

from ...store.errors import CorralError, MachineError
from .batch import BatchLoop
from .decoder import Decoder
from .protocol import Count, Counted, Frames, Load, LoadFailed, LoadProgress, Reply, decode_request, frame

FAKE_PREFIX = "fake:"
"""A path that begins so loads the double instead of a file: `fake:` and the seconds a batch takes."""


def main(arguments: list[str]) -> int:
    """Serve until the socket closes. The exit status is 0, also when the model cannot be loaded: the reply says so."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.environ.setdefault("GGML_NO_BACKTRACE", "1")
    threading.excepthook = _end_with_trace
    connection = socket.socket(fileno=int(arguments[0]))
    load = msgspec.json.decode(arguments[1], type=Load)
    sending = threading.Lock()

    def send(replies: list[Reply]) -> None:
        with sending:
            connection.sendall(b"".join(frame(reply) for reply in replies))

    try:
        decoder = _load(load, send)
    except CorralError as error:
        send([LoadFailed(str(error), error.hint)])
        return 0
    loop = BatchLoop(decoder, send, deterministic=load.options.deterministic)
    counts: queue.SimpleQueue[Count] = queue.SimpleQueue()
    threading.Thread(target=_count, args=(counts, decoder, send), daemon=True).start()
    threading.Thread(target=_read, args=(connection, loop, counts), daemon=True).start()
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the server is gone, and so are its requests
        send([decoder.describe()])
        loop.run()
    return 0


def _load(load: Load, send: Callable[[list[Reply]], None]) -> Decoder:
    shown = 0.0

    def on_progress(fraction: float) -> None:
        nonlocal shown
        if fraction - shown >= 0.05:
            shown = fraction
            send([LoadProgress(fraction)])

    if load.path.startswith(FAKE_PREFIX):
        from .fake import FakeDecoder

        return FakeDecoder(load.options, step_seconds=float(load.path.removeprefix(FAKE_PREFIX) or 0))
    try:
        from .llama import LlamaDecoder
    except ImportError as cause:
        hint = "run `make setup`, or: pip install 'corral[llama]'"
        raise MachineError(f"the engine is not installed: {cause}", hint=hint) from None
    return LlamaDecoder(load.path, load.options, on_progress)


def _count(counts: queue.SimpleQueue[Count], decoder: Decoder, send: Callable[[list[Reply]], None]) -> None:
    """Beside the loop, so that a long text does not hold up who is being answered: it takes the vocabulary only."""
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        while True:
            request = counts.get()
            send([Counted(request.id, len(decoder.tokenize(request.text)))])


def _read(connection: socket.socket, loop: BatchLoop, counts: queue.SimpleQueue[Count]) -> None:
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
            request = decode_request(body)
            if isinstance(request, Count):
                counts.put(request)
            else:
                loop.submit(request)


def _end_with_trace(failed: threading.ExceptHookArgs) -> None:
    """No thread may end alone: what it had to do would be waited for without end."""
    threading.__excepthook__(failed)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
