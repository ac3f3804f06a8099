"""A server with fake models in a process of its own, so that its memory can be looked at: `fake_program.py STORE`.

It prints its port, and ends with its standard input.
"""

from __future__ import annotations

import sys
import threading

from corral.runtime.engine.process import Worker
from corral.runtime.engine.protocol import LoadOptions
from corral.runtime.http.app import make_app
from corral.runtime.http.server import Server, bind
from corral.runtime.inference import EngineDefaults

from corral import Store


async def start(name: str, _: str, options: LoadOptions) -> Worker:
    """A worker whose tokens take a moment, so that there is something to hang up on."""
    return await Worker.start(name, "fake:0.001", options)


def main() -> None:
    """Serve."""
    listener = bind("127.0.0.1", 0)
    app = make_app(Store(sys.argv[1]), EngineDefaults(slots=4), start=start)

    def on_ready() -> None:
        print(listener.getsockname()[1], flush=True)

    server = Server(app, listener, on_ready=on_ready, server_name="test")

    def end() -> None:
        sys.stdin.read()
        server.should_exit = True

    threading.Thread(target=end, daemon=True).start()
    server.serve_forever()


if __name__ == "__main__":
    main()
