"""Wire: HTTP to one registry and to where its replies lead. Foreign exceptions end here.

There are two sessions. One speaks to the registry's host, by its settings. The other speaks to everybody else: it shows no
client certificate, looks at every certificate, and connects to no private network that the registry is not in itself.
"""

from __future__ import annotations

import errno
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import nullcontext
from functools import cached_property
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
import urllib3.exceptions

from ..store.errors import InputError, shown
from .credentials import api_host
from .errors import RegistryError, reason
from .patience import Patience
from .remote import Remote
from .session import Session, ending, tls_context
from .trust import Origin, Place, check_way, is_loopback, place_of

_CONNECT = 10.0
"""In seconds."""
_CHUNK = 1 << 20
_MAX_UNWANTED = 64 << 10
_LEAST, _MOST = 1 << 10, 64 << 10
"""Bytes in the time that a connection may say nothing, of a small body and of a large one; with fewer it is given up."""


class Wire:
    """The connections of one registry."""

    def __init__(
        self, host: str, remote: Remote, *, identity: str, patience: Patience, scheme: str | None = None
    ) -> None:
        self.host = host
        self.remote = remote
        self.identity = identity
        """What an error is about: a model's name, or the registry's."""
        self._scheme = scheme
        self._timeout = (_CONNECT, patience.stall)
        self._reached: set[str] = set()
        self._sessions: list[Session] = []
        self.aborted = threading.Event()

    def close(self) -> None:
        """End all connections."""
        for session in self._sessions:
            session.close()

    def abort(self) -> None:
        """End whatever other threads wait for; nothing can be sent afterwards."""
        self.aborted.set()
        for session in self._sessions:
            session.abort()

    @cached_property
    def origin(self) -> Origin:
        """The registry itself. An insecure one may have to be asked whether it speaks https."""
        scheme = self._scheme
        if scheme is None and self.remote.http is not None:
            scheme = "http" if self.remote.http else "https"
        if scheme is None and self.remote.insecure:
            scheme = "https" if self._speaks_https() else "http"
        if scheme is None:
            scheme = "http" if is_loopback(self.host) else "https"
        try:
            return Origin.parse(f"{scheme}://{api_host(self.host)}")
        except ValueError as cause:
            raise InputError(f"{self.identity}: {shown(self.host)} is no registry: {cause}") from None

    def _speaks_https(self) -> bool:
        self._own.trust_env = not is_loopback(self.host)
        try:
            url, verify = f"https://{api_host(self.host)}/v2/", self._own.verify
            with self._own.get(url, timeout=self._timeout, stream=True, verify=verify):
                return True
        except requests.RequestException:
            return False

    @property
    def base(self) -> str:
        """The address of the registry's API, with a slash at the end."""
        return f"{self.origin.scheme}://{api_host(self.host)}/v2/"

    def joined(self, base: str, location: str) -> str:
        """Where a location in a reply to `base` leads. Raises RegistryError where one must not go."""
        try:
            url = urljoin(base, location)
            target = Origin.parse(url)
            if target != self.origin:
                check_way(target, self.origin, self._home)
        except ValueError as cause:
            raise RegistryError(f"{self.identity}: the location {shown(location)} is not followed: {cause}") from None
        return url

    def is_own(self, url: str) -> bool:
        """Whether an address is the registry's own, which may see what is meant for it alone."""
        return Origin.parse(url) == self.origin

    def send(self, method: str, url: str, *, more_time: float = 0.0, **options: Any) -> requests.Response:
        """The reply, its body unread and redirects not followed; `more_time` is to wait for it. Raises RegistryError."""
        if self.aborted.is_set():
            raise RegistryError(f"{self.identity}: given up")
        host = Origin.parse(url).host
        session = self._own if host == self.origin.host else self._foreign
        # A proxy cannot reach this machine's own servers.
        session.trust_env = not is_loopback(host)
        try:
            connect, stall = self._timeout
            timeout = (connect, stall + more_time)
            # Said each time, since a variable that names authorities would win over the session's word.
            reply = session.request(method, url, timeout=timeout, stream=True, verify=session.verify, **options)
        except requests.exceptions.SSLError as cause:
            raise RegistryError(
                f"{self._unreached(url)}: TLS failed: {reason(cause)}", hint=_tls_hint(cause)
            ) from cause
        except requests.RequestException as cause:
            hint = "check the name and the network"
            if isinstance(cause, requests.exceptions.ProxyError | requests.exceptions.InvalidProxyURL):
                hint = "it is the proxy that fails: look at HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY"
            # Who was never there is not waited for; who was, or hung up, is.
            is_passing = host in self._reached or not _is_unreachable(cause)
            raise RegistryError(f"{self._unreached(url)}: {reason(cause)}", hint=hint, is_passing=is_passing) from cause
        self._reached.add(host)
        encoding = reply.headers.get("Content-Encoding", "identity")
        if encoding.strip().lower() not in ("", "identity"):
            reply.close()
            raise RegistryError(f"{self.identity}: the reply of {urlsplit(url).netloc} is packed ({shown(encoding)})")
        return reply

    def body(self, reply: requests.Response, limit: int) -> Iterator[bytes]:
        """The body in pieces as they come over the wire, cut after `limit` bytes. Raises RegistryError."""
        left, waited, came = limit, 0.0, 0
        least = min(max(limit // 64, _LEAST), _MOST)
        try:
            with reply:
                while left > 0:
                    began = time.monotonic()
                    # What frames the pieces may come byte by byte, each within its time, and never end.
                    with ending(reply.raw.shutdown, self._timeout[1]) if reply.raw.chunked else nullcontext():
                        # Not read(), which waits until it has as much as was asked for.
                        chunk = reply.raw.read1(min(_CHUNK, left), decode_content=False)
                    if not chunk:
                        break
                    waited, came = waited + time.monotonic() - began, came + len(chunk)
                    left -= len(chunk)
                    yield chunk
                    if waited > self._timeout[1]:
                        if came < least:
                            raise TimeoutError(errno.ETIMEDOUT, f"{came} bytes in {waited:.0f} s")
                        waited, came = 0.0, 0
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as cause:
            message = f"{self.identity}: the transfer from {self.host} broke: {reason(cause)}"
            raise RegistryError(
                message, hint="try again; what has come is not fetched again", is_passing=True
            ) from cause

    def drain(self, reply: requests.Response) -> None:
        """Take a body that is not wanted off the connection, so that it can serve again; a long one ends it."""
        for _ in self.body(reply, _MAX_UNWANTED):
            pass

    def _unreached(self, url: str) -> str:
        return f"{self.identity}: cannot reach {shown(urlsplit(url).netloc)[1:-1]}"

    @cached_property
    def _own(self) -> Session:
        remote = self.remote
        context = tls_context(remote.ca_file, remote.client_cert, remote.client_key, is_blind=remote.insecure)
        session = self._session(context)
        if remote.insecure:
            session.verify = False
            # Its user asked for it.
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        return session

    @cached_property
    def _foreign(self) -> Session:
        return self._session(tls_context(self.remote.ca_file), self._home)

    def _session(self, context: ssl.SSLContext | None, home: Place | None = None) -> Session:
        session = Session(context, home, self._timeout[1])
        self._sessions.append(session)
        if self.aborted.is_set():
            session.abort()
        return session

    @cached_property
    def _home(self) -> Place:
        """What network the registry is in; where it cannot be told, as behind a proxy, the Internet."""
        host = self.origin.host
        place = place_of(host)
        if place is not None:
            return place
        try:
            found = socket.getaddrinfo(host, self.origin.port, type=socket.SOCK_STREAM)
        except OSError:
            return "public"
        return place_of(str(found[0][4][0])) or "public"


def _is_unreachable(cause: BaseException) -> bool:
    """Whether there was no connection at all."""
    inner: object = cause
    while isinstance(inner, BaseException):
        if isinstance(inner, urllib3.exceptions.NewConnectionError | urllib3.exceptions.ConnectTimeoutError):
            return True
        inner = getattr(inner, "reason", None) or next(iter(inner.args), None)
    return isinstance(cause, requests.exceptions.ConnectTimeout | requests.exceptions.InvalidURL)


def _tls_hint(cause: BaseException) -> str:
    if "CERTIFICATE_VERIFY_FAILED" in str(cause):
        return "name its authority with CORRAL_CA_FILE or ca_file in config.toml; --insecure does not look at all"
    if "BAD_CERTIFICATE" in str(cause) or "CERTIFICATE_REQUIRED" in str(cause):
        return "it may want to see a certificate: --client-cert, or client_cert in config.toml"
    return "for a registry without TLS, write http:// before the name or use --insecure"
