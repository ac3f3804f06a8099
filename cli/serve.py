"""`corral serve`: the HTTP server on the local store."""

from __future__ import annotations

import signal
from types import FrameType

from .. import __version__
from ..modelfile.level import API_LEVEL
from ..runtime.http.app import make_app
from ..runtime.http.server import Server, bind, is_loopback
from . import console
from .engine import engine_defaults, start_logging
from .settings import Settings


def command() -> None:
    """Start the server."""
    settings = Settings.from_environment()
    start_logging(settings)
    host, port = settings.address
    app = make_app(
        settings.store,
        engine_defaults(settings),
        origins=settings.origins,
        loopback=is_loopback(host),
        version=settings.text("OLLAMA_VERSION") or API_LEVEL,
        max_loaded=settings.count("MAX_LOADED_MODELS", 0),
        max_queue=settings.count("MAX_QUEUE", 0),
    )
    listener = bind(host, port)
    bound = listener.getsockname()[1]
    ready = f"Listening on {f'[{host}]' if ':' in host else host}:{bound} (version {__version__})"
    signal.signal(signal.SIGTERM, _ended)
    try:
        Server(app, listener, on_ready=lambda: console.note(ready), server_name=f"corral/{__version__}").serve_forever()
    except KeyboardInterrupt:
        console.note("stopped")


def _ended(signum: int, frame: FrameType | None) -> None:
    """uvicorn shuts down and then raises the signal again; by then there is nothing left to do."""
