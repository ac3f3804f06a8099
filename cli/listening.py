"""Listening: where the settings have the server listen, and with what certificate."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from ..runtime.http.server import bind, bound_file, is_loopback, tls_context
from ..store.errors import InputError
from .settings import Settings


@contextmanager
def listening(settings: Settings) -> Generator[tuple[socket.socket, str, bool]]:
    """A socket, how to say where it is, and whether only this machine can reach it. Raises InputError, MachineError."""
    if file := settings.unix_socket:
        with bound_file(file) as listener:
            yield listener, settings.url, True
        return
    host, port = settings.address
    with bind(host, port) as listener:
        address, bound = listener.getsockname()[:2]
        yield listener, f"{f'[{host}]' if ':' in host else host}:{bound}", is_loopback(address)


def server_tls(settings: Settings) -> ssl.SSLContext | None:
    """What the server speaks TLS with, if it does. Raises InputError, FileError."""
    certificate, key = settings.text("TLS_CERT"), settings.text("TLS_KEY")
    if bool(certificate) != bool(key):
        raise InputError("TLS needs both a certificate and its key", hint="give --tls-cert FILE and --tls-key FILE")
    return tls_context(Path(certificate).expanduser(), Path(key).expanduser()) if certificate else None
