"""Session: how a connection is made: its TLS, and a look at where it has led."""

from __future__ import annotations

import contextlib
import errno
import ssl
import threading
import weakref
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path
from socket import SHUT_RDWR, socket
from typing import Any, TypeAlias

import requests
import urllib3
import urllib3.connection
import urllib3.response
from requests.adapters import HTTPAdapter
from urllib3.exceptions import NewConnectionError
from urllib3.util.ssl_ import create_urllib3_context

from ..store.errors import InputError
from .trust import Place, is_in_reach, place_of

_MOST_CONNECTIONS = 64
"""That are kept for another request."""


class Session(requests.Session):
    """Leaves redirects to its caller (requests would read each one's body, however long) and adds nothing of its own."""

    def __init__(self, context: ssl.SSLContext | None, home: Place | None, stall: float) -> None:
        """With `home`, the place of a registry, it connects only where that registry may lead. `stall` is in seconds."""
        super().__init__()
        # Some registries refuse those who bring theirs back.
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self._sockets = _Sockets()
        self.headers.update({"User-Agent": "corral", "Accept-Encoding": "identity"})
        adapter = _Adapter(context, *(_pools(place, stall, self._sockets) for place in (home, None)))
        self.mount("http://", adapter)
        self.mount("https://", adapter)
        # Else ~/.netrc would be asked, and would win over the header that is sent.
        self.auth = _as_it_is

    def abort(self) -> None:
        """End whatever other threads wait for."""
        self._sockets.end()

    def get_redirect_target(self, resp: requests.Response) -> str | None:  # noqa: ARG002
        """There is none to follow."""
        return None


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


class _Sockets:
    """Connections that are there, to be ended by whoever has to; then those that come later end too."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._open: weakref.WeakSet[socket] = weakref.WeakSet()
        self._is_over = False

    def add(self, one: socket) -> None:
        """Take note of one."""
        with self._guard:
            self._open.add(one)
        if self._is_over:
            _shut(one)

    def end(self) -> None:
        """End all."""
        with self._guard:
            self._is_over = True
            for one in self._open:
                _shut(one)


def _shut(one: socket) -> None:
    with contextlib.suppress(OSError):  # it is over already
        one.shutdown(SHUT_RDWR)


_Pools: TypeAlias = dict[str, type[urllib3.HTTPConnectionPool]]
"""By scheme."""


class _Adapter(HTTPAdapter):
    """Uses this TLS and these pools; what a proxy connects to is its own to judge."""

    def __init__(self, context: ssl.SSLContext | None, direct: _Pools, proxied: _Pools) -> None:
        self._context = context
        self._direct: _Pools = direct
        self._proxied: _Pools = proxied
        super().__init__(pool_maxsize=_MOST_CONNECTIONS)

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        """Make the pools of direct connections."""
        super().init_poolmanager(*arguments, **options, **self._tls())
        self.poolmanager.pool_classes_by_scheme = self._direct

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        """The pools of connections through a proxy."""
        manager = super().proxy_manager_for(proxy, **options, **self._tls())
        manager.pool_classes_by_scheme = self._proxied
        return manager

    def _tls(self) -> dict[str, Any]:
        return {} if self._context is None else {"ssl_context": self._context}


def _pools(home: Place | None, stall: float, sockets: _Sockets) -> _Pools:
    """Pools whose connections can be ended from elsewhere, wait `stall` seconds for a reply's head, and no longer in all.

    Away from `home` they end at once where check_way() would not have let them go; a name can lead anywhere.
    """

    def checked(connection: urllib3.connection.HTTPConnection, connected: socket) -> socket:
        place = place_of(str(connected.getpeername()[0])) if home is not None else None
        if home is not None and place is not None and not is_in_reach(place, home):
            connected.close()
            why = PermissionError(1, f"it is at a {place} address, where this registry must not lead")
            raise NewConnectionError(connection, str(why)) from why
        return connected

    class Plain(urllib3.connection.HTTPConnection):
        def _new_conn(self) -> socket:
            return checked(self, super()._new_conn())

        def connect(self) -> None:
            super().connect()
            # Else what is sent would have to be taken within the time for connecting.
            self.sock.settimeout(stall)
            sockets.add(self.sock)

        def request(self, *arguments: Any, **options: Any) -> None:
            if self.sock:  # likewise
                self.timeout = stall
            super().request(*arguments, **options)

        def getresponse(self) -> urllib3.response.HTTPResponse:
            # A head may come byte by byte, each within its time, and never end.
            seconds = self.timeout if isinstance(self.timeout, int | float) else stall
            with ending(partial(self.sock.shutdown, SHUT_RDWR), seconds):
                return super().getresponse()

    class Tls(Plain, urllib3.connection.HTTPSConnection):
        """The same over TLS."""

    class PlainPool(urllib3.HTTPConnectionPool):
        ConnectionCls = Plain  # pyright: ignore[reportAssignmentType]

    class TlsPool(urllib3.HTTPSConnectionPool):
        ConnectionCls = Tls  # pyright: ignore[reportAssignmentType]

    return {"http": PlainPool, "https": TlsPool}


@contextmanager
def ending(end: Callable[[], object], seconds: float) -> Generator[None]:
    """`end` a connection if the block takes longer than so many seconds. Raises TimeoutError then."""
    guard, is_over, has_ended = threading.Lock(), False, False

    def run() -> None:
        nonlocal has_ended
        with guard:  # else it might end what by then serves somebody else
            if not is_over:
                has_ended = True
                with contextlib.suppress(OSError, ValueError, RuntimeError):  # the other side was faster
                    end()

    timer = threading.Timer(seconds, run)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        with guard:
            is_over = True
    if has_ended:
        raise TimeoutError(errno.ETIMEDOUT, f"not whole after {seconds:.0f} s")


def tls_context(
    ca_file: Path | None, client_cert: Path | None = None, client_key: Path | None = None, *, is_blind: bool = False
) -> ssl.SSLContext | None:
    """TLS with these; None where the usual will do. Raises InputError for a file that cannot be used."""
    if not (is_blind or ca_file or client_cert):
        return None
    context = create_urllib3_context()
    if is_blind:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif ca_file:
        _load("ca_file", ca_file, lambda: context.load_verify_locations(ca_file))
    if client_cert:
        # A key with a password is refused: OpenSSL would ask on the terminal.
        _load("client_cert", client_cert, lambda: context.load_cert_chain(client_cert, client_key, password=""))
    return context


def _load(what: str, path: object, load: Callable[[], None]) -> None:
    try:
        load()
    except OSError as cause:  # ssl.SSLError is one
        why = cause.strerror or str(cause)
        hint = "it must be a PEM file; a client's key may stand in a file of its own, without a password"
        raise InputError(f"{path}: cannot be used as {what}: {why}", hint=hint) from cause
