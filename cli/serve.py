"""`corral serve`: the HTTP server on the local store."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Annotated

import typer

from .. import __version__
from ..modelfile.level import API_LEVEL
from ..runtime.http.app import make_app
from ..runtime.http.logs import use_json
from ..runtime.http.server import Server, tell_systemd
from ..store.errors import InputError, shown
from ..store.keys import Keys
from . import console
from .engine import engine_defaults, start_logging
from .listening import listening, server_tls
from .settings import Settings
from .wiring import pull_from, registry_access


def command(
    *,
    tls_cert: Annotated[
        str | None, typer.Option("--tls-cert", help="Speak TLS with this certificate and chain.")
    ] = None,
    tls_key: Annotated[str | None, typer.Option("--tls-key", help="The certificate's key.")] = None,
    grace: Annotated[
        int | None, typer.Option("--grace", min=0, help="Seconds that answers may take to end after a SIGTERM.")
    ] = None,
    allow_manage: Annotated[
        bool, typer.Option("--allow-manage", help="Without API keys, let other machines change models too.")
    ] = False,
) -> None:
    """Start the server."""
    settings = Settings.from_environment().with_options(
        tls_cert=tls_cert, tls_key=tls_key, grace=grace, allow_manage=allow_manage or None
    )
    start_logging(settings)
    say = _say(settings)
    defaults, keys, tls = engine_defaults(settings), Keys(settings.keys_file), server_tls(settings)
    is_locked = bool(keys.all())
    manager = settings.variables.get("NOTIFY_SOCKET", "")
    with listening(settings) as (listener, where, is_own):
        app = make_app(
            settings.store,
            defaults,
            origins=settings.origins,
            loopback=is_own,
            version=settings.text("OLLAMA_VERSION") or API_LEVEL,
            max_loaded=settings.count("MAX_LOADED_MODELS", 0),
            max_queue=settings.count("MAX_QUEUE", 0),
            registries=partial(registry_access, settings),
            pull_from=pull_from(settings),
            release=__version__,
            keys=keys,
            allow_manage=settings.flag("ALLOW_MANAGE"),
        )

        def on_ready() -> None:
            say(f"Listening on {where} (version {__version__})")
            if not is_own and not is_locked:
                say(_exposed(settings))
            if tls is None and settings.url.startswith("https:"):
                say("warning: OLLAMA_HOST says https, but there is no --tls-cert: this server speaks plain http")
            tell_systemd(manager, "READY=1")

        signal.signal(signal.SIGTERM, _ended)
        try:
            Server(
                app,
                listener,
                on_ready=on_ready,
                on_stop=partial(tell_systemd, manager, "STOPPING=1"),
                server_name=f"corral/{__version__}",
                grace=settings.count("GRACE", 30),
                tls=tls,
            ).serve_forever()
        except KeyboardInterrupt:
            say("stopped")


def _say(settings: Settings) -> Callable[[str], None]:
    """How the server says things: as its log is. Raises InputError."""
    form = settings.text("LOG_FORMAT") or "text"
    if form not in ("text", "json"):
        raise InputError(f"{settings.variable('LOG_FORMAT')}: {shown(form)} is no format", hint="text or json")
    if form == "text":
        return console.note
    use_json()
    return logging.getLogger("corral").info


def _exposed(settings: Settings) -> str:
    what = "use and change" if settings.flag("ALLOW_MANAGE") else "use"
    return (
        f"warning: other machines can reach this server, and it has no API keys: whoever reaches it may {what} its models."
        " `corral keys add NAME` makes a key; docs/security.md says more"
    )


def _ended(signum: int, frame: FrameType | None) -> None:
    """uvicorn shuts down and then raises the signal again; by then there is nothing left to do."""
