"""A private server: the same application in this process, on a free loopback port, while a block runs."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager

from .. import __version__
from ..store.errors import MachineError
from .engine import engine_defaults, start_logging
from .settings import Settings


@contextmanager
def private_server(settings: Settings, file: str | None = None) -> Generator[str]:
    """The URL of a server of our own; its workers end with the block. It also has the model in `file`, by that name."""
    from ..runtime.http.app import make_app
    from ..runtime.http.server import Server, bind
    from ..runtime.served import of_file

    start_logging(settings)
    store = settings.store
    files = {file: of_file(store, file)} if file else {}
    listener = bind("127.0.0.1", 0)
    ready = threading.Event()
    app = make_app(store, engine_defaults(settings), files=files)
    server = Server(app, listener, on_ready=ready.set, server_name=f"corral/{__version__}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    if not ready.wait(30):
        raise MachineError("the private server did not start within 30 seconds")
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)
