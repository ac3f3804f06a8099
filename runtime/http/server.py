"""Serve: the application on a socket, by uvicorn."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import logging
import socket
from collections.abc import Callable

import uvicorn
from starlette.types import ASGIApp

from ...store.errors import MachineError

_PATIENCE = 1.5
"""Seconds that clients have to take the last of their answers when the server stops."""
_HINTS = {
    errno.EADDRINUSE: "another server is running there; stop it, or choose another address with OLLAMA_HOST",
    errno.EACCES: "this user may not listen on that port; choose another with OLLAMA_HOST",
}


def bind(host: str, port: int) -> socket.socket:
    """A listening socket. Raises MachineError when the address cannot be had."""
    try:
        return socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=512
        )
    except OSError as cause:
        hint = _HINTS.get(cause.errno or 0, "OLLAMA_HOST must name an address of this machine")
        reason = (cause.strerror or str(cause)).partition(" (while attempting")[0]  # what follows is the address again
        raise MachineError(f"{host}:{port}: cannot listen: {reason}", hint=hint) from None


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Server(uvicorn.Server):
    """Runs an application on a bound socket and says when it is ready. `should_exit = True` ends it."""

    def __init__(
        self, app: ASGIApp, listener: socket.socket, *, on_ready: Callable[[], None], server_name: str
    ) -> None:
        debug = logging.getLogger().isEnabledFor(logging.DEBUG)
        config = uvicorn.Config(
            app,
            log_config=None,
            log_level="info" if debug else "warning",
            access_log=debug,
            server_header=False,
            headers=[("Server", server_name)],
            timeout_graceful_shutdown=2,
        )
        super().__init__(config)
        self._listener = listener
        self._on_ready = on_ready

    def serve_forever(self) -> None:
        """Serve until a signal, or until should_exit is set."""
        self.run(sockets=[self._listener])

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """uvicorn's hook; the socket accepts when it returns."""
        await super().startup(sockets)
        if self.started:
            self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """uvicorn's hook. The application ends its requests first, each with an error of its dialect; whoever does not
        take that in time is treated as gone, because uvicorn would cancel the request with a stack trace.
        """
        await self.lifespan.shutdown()
        impatience = asyncio.get_running_loop().call_later(_PATIENCE, self._hang_up)
        await super().shutdown(sockets)
        impatience.cancel()

    def _hang_up(self) -> None:
        for connection in list(self.server_state.connections):
            connection.transport.abort()
