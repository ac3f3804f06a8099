"""Listening: where the settings have a server listen, with what certificate, what it says, and how it ends."""

from __future__ import annotations

import logging
import signal
import socket
import ssl
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TypeAlias

from starlette.types import ASGIApp

from .. import __version__
from ..runtime.http.logs import use_json
from ..runtime.http.server import Server, bind, bound_file, is_loopback, tell_systemd, tls_context
from ..store.errors import InputError, shown
from . import console
from .settings import Settings

Make: TypeAlias = Callable[[bool], tuple[ASGIApp, Iterable[str]]]
"""Given whether only this machine can reach it: an application, and what to warn of."""


def serve_forever(settings: Settings, make: Make) -> None:
    """Serve until a signal. Raises InputError, MachineError."""
    say, tls = _speaker(settings), server_tls(settings)
    manager, grace = settings.variables.get("NOTIFY_SOCKET", ""), settings.count("GRACE", 30)
    with listening(settings) as (listener, where, is_own):
        app, warnings = make(is_own)

        def on_ready() -> None:
            say(f"Listening on {where} (version {__version__})")
            for warning in warnings:
                say(f"warning: {warning}")
            if tls is None and settings.url.startswith("https:"):
                said = settings.variable(settings.listens)
                say(f"warning: {said} says https, but there is no --tls-cert: this server speaks plain http")
            tell_systemd(manager, "READY=1")

        signal.signal(signal.SIGTERM, _ended)
        try:
            Server(
                app,
                listener,
                on_ready=on_ready,
                on_stop=partial(tell_systemd, manager, "STOPPING=1"),
                server_name=f"corral/{__version__}",
                grace=grace,
                tls=tls,
            ).serve_forever()
        except KeyboardInterrupt:
            say("stopped")


@contextmanager
def listening(settings: Settings) -> Generator[tuple[socket.socket, str, bool]]:
    """A socket, how to say where it is, and whether only this machine can reach it. Raises InputError, MachineError."""
    setting = settings.variable(settings.listens)
    if file := settings.unix_socket:
        with bound_file(file, setting) as listener:
            yield listener, settings.url, True
        return
    host, port = settings.address
    with bind(host, port, setting) as listener:
        address, bound = listener.getsockname()[:2]
        yield listener, f"{f'[{host}]' if ':' in host else host}:{bound}", is_loopback(address)


def server_tls(settings: Settings) -> ssl.SSLContext | None:
    """What the server speaks TLS with, if it does. Raises InputError, FileError."""
    certificate, key = settings.text("TLS_CERT"), settings.text("TLS_KEY")
    if bool(certificate) != bool(key):
        raise InputError("TLS needs both a certificate and its key", hint="give --tls-cert FILE and --tls-key FILE")
    return tls_context(Path(certificate).expanduser(), Path(key).expanduser()) if certificate else None


def _speaker(settings: Settings) -> Callable[[str], None]:
    """How the server says things: as its log is. Raises InputError."""
    form = settings.text("LOG_FORMAT") or "text"
    if form not in ("text", "json"):
        raise InputError(f"{settings.variable('LOG_FORMAT')}: {shown(form)} is no format", hint="text or json")
    if form == "text":
        return console.note
    use_json()
    return logging.getLogger("corral").info


def _ended(signum: int, frame: FrameType | None) -> None:
    """uvicorn shuts down and then raises the signal again; by then there is nothing left to do."""
