"""Serve: the application on a socket, by uvicorn; how it begins, and how it ends."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import logging
import os
import signal
import socket
import ssl
import stat
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from types import FrameType

import uvicorn
from starlette.types import ASGIApp

from ...store.errors import InputError, MachineError
from ...store.files import open_regular
from .limits import HEAD_SECONDS, BoundedProtocol, most_connections

_PATIENCE = 1.5
"""Seconds that clients have to take the last of their answers when the server stops."""
_BACKLOG = 512
_HINTS = {
    errno.EADDRINUSE: "another server is running there; stop it, or choose another address with {}",
    errno.EACCES: "this user may not listen on that port; choose another with {}",
}


def bind(host: str, port: int, setting: str = "OLLAMA_HOST") -> socket.socket:
    """A listening socket; `setting` is what says where. Raises MachineError when the address cannot be had."""
    try:
        listener = socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=_BACKLOG
        )
    except OSError as cause:
        hint = _HINTS.get(cause.errno or 0, "{} must name an address of this machine").format(setting)
        reason = (cause.strerror or str(cause)).partition(" (while attempting")[0]  # what follows is the address again
        raise MachineError(f"{host}:{port}: cannot listen: {reason}", hint=hint) from None
    # For the connections: who vanished while he waits for an answer is noticed, and makes room.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    return listener


@contextmanager
def bound_file(path: Path, setting: str = "OLLAMA_HOST") -> Generator[socket.socket]:
    """A socket that listens at a file, which is its owner's alone and goes with the block; one that nobody listens at any
    more gives way. `setting` is what says where. Raises MachineError.
    """
    listener = socket.socket(socket.AF_UNIX)
    try:
        _make_way(path)
        before = os.umask(0o177)  # no moment in which others may connect
        try:
            listener.bind(str(path))
        finally:
            os.umask(before)
        listener.listen(_BACKLOG)
        made = path.lstat()
    except OSError as cause:
        listener.close()
        hint = _HINTS.get(cause.errno or 0, "{}=unix:///PATH must name a file in a folder that this user may write")
        reason = cause.strerror or cause
        raise MachineError(f"{path}: cannot listen: {reason}", hint=hint.format(setting)) from None
    try:
        yield listener
    finally:
        listener.close()
        with suppress(OSError):
            if os.path.samestat(made, path.lstat()):
                path.unlink()


def _make_way(path: Path) -> None:
    """Remove a socket that is left of a server that is gone. Raises OSError for anything else that is there."""
    try:
        is_socket = stat.S_ISSOCK(path.lstat().st_mode)
    except FileNotFoundError:
        return
    if not is_socket:
        raise FileExistsError(errno.EEXIST, "there is a file that is no socket")
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        except TimeoutError:
            pass
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def tls_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """What speaks TLS 1.2 or newer with this certificate (and its chain). Raises InputError, FileError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    for path in (certificate, key):
        with open_regular(path):
            pass  # the library's own words for a file that it cannot open do not say which
    try:
        context.load_cert_chain(certificate, key, password=lambda: "")  # it would ask on the terminal
    except (ssl.SSLError, ValueError) as cause:
        reason = getattr(cause, "reason", None) or str(cause) or "no PEM"
        raise InputError(
            f"{certificate}, {key}: no certificate and key that belong together: {reason.lower().replace('_', ' ')}",
            hint="both are in PEM; the certificate's file may hold its chain, the key's has no passphrase",
        ) from None
    return context


def tell_systemd(address: str, state: str) -> None:
    """Tell the service manager at `address`, the value of NOTIFY_SOCKET; "" is none."""
    if not address:
        return
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as manager:
        manager.sendto(state.encode(), "\0" + address[1:] if address.startswith("@") else address)


def _nothing() -> None:
    pass


class Server(uvicorn.Server):
    """Runs an application on a bound socket and says when it is ready and when it stops. `should_exit = True` ends it.

    SIGTERM does too, when the answers that are being given are finished or `grace` seconds have passed; SIGINT, and any
    signal after the first, at once: then each answer ends with an error of its dialect.
    """

    def __init__(
        self,
        app: ASGIApp,
        listener: socket.socket,
        *,
        on_ready: Callable[[], None],
        server_name: str,
        on_stop: Callable[[], None] = _nothing,
        grace: float = 0.0,
        tls: ssl.SSLContext | None = None,
        head_seconds: float = HEAD_SECONDS,
        connections: int = 0,
    ) -> None:
        """`head_seconds` is what a request's head may take; so many `connections` are taken in, 0 for what files allow."""
        debug = logging.getLogger().isEnabledFor(logging.DEBUG)
        config = uvicorn.Config(
            app,
            log_config=None,
            log_level="info" if debug else "error",
            access_log=False,
            server_header=False,
            headers=[("Server", server_name)],
            timeout_graceful_shutdown=2,
            ws="none",
        )
        super().__init__(config)
        self._listener = listener
        self._on_ready = on_ready
        self._on_stop = on_stop
        self._grace = grace
        self._tls = tls
        self._head_seconds = head_seconds
        self._connections = connections

    def serve_forever(self) -> None:
        """Serve until a signal, or until should_exit is set."""
        self.run(sockets=[self._listener])

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """uvicorn's hook for signals."""
        if self.should_exit or sig == signal.SIGINT:
            self._grace = 0.0
        if not self.should_exit:  # uvicorn's own way with a second one cancels the requests, with a stack trace of each
            super().handle_exit(sig, frame)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """uvicorn's hook: what its own does for a socket, with our protocol. The socket accepts when it returns."""
        await self.lifespan.startup()
        if self.lifespan.should_exit:
            raise SystemExit(3)
        protocol = partial(
            BoundedProtocol,
            self.config,
            self.server_state,
            self.lifespan.state,
            most=self._connections or most_connections(),
            head_seconds=self._head_seconds,
        )
        patience = self._head_seconds if self._tls else None
        self.servers = [
            await asyncio.get_running_loop().create_server(
                protocol, sock=listener, ssl=self._tls, ssl_handshake_timeout=patience, backlog=_BACKLOG
            )
            for listener in sockets or ()
        ]
        self.started = True
        self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """uvicorn's hook. Answers may be finished for a while. Then the application ends its requests, each with an error
        of its dialect; whoever does not take that in time is treated as gone, because uvicorn would cancel the request with
        a stack trace.
        """
        self._on_stop()
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()  # at once where nothing is asked, else after the answer
        loop = asyncio.get_running_loop()
        began = loop.time()
        while self.server_state.tasks and loop.time() < began + self._grace:
            await asyncio.sleep(0.05)
        await self.lifespan.shutdown()
        impatience = loop.call_later(_PATIENCE, self._hang_up)
        await super().shutdown(sockets)
        impatience.cancel()

    def _hang_up(self) -> None:
        for connection in list(self.server_state.connections):
            connection.transport.abort()
