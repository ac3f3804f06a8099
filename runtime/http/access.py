"""Access: which hosts and origins may talk to the server (spec parts 7.13 and 0.34), as ASGI middleware.

The Host rule is the defence against DNS rebinding and holds while the listener is on loopback. Refusals say why.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Sequence

import psutil
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ...store.errors import shown
from .refusal import refusal

_LOCAL_ORIGINS = tuple(
    f"{scheme}://{host}{port}"
    for scheme in ("http", "https")
    for host in ("localhost", "127.0.0.1", "0.0.0.0")  # noqa: S104 - an origin, not a bind address
    for port in ("", ":*")
)
_APP_ORIGINS = ("app://*", "file://*", "tauri://*", "vscode-webview://*", "vscode-file://*")
_LONGEST_ORIGIN = 1024
"""More is no origin, and would take its time with a pattern of many stars."""
_STAINLESS = (
    "arch", "async", "custom-poll-interval", "helper-method", "lang", "os", "package-version", "poll-helper",
    "retry-count", "runtime", "runtime-version", "timeout",
)  # fmt: skip
_PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET,POST,PUT,PATCH,DELETE,HEAD,OPTIONS",
    "Access-Control-Allow-Headers": ",".join(
        (
            "Authorization", "Content-Type", "User-Agent", "Accept", "X-Requested-With", "OpenAI-Beta",
            *(f"x-stainless-{name}" for name in _STAINLESS),
            # Ours: Anthropic's clients, and request ids.
            "x-api-key", "anthropic-version", "anthropic-beta", "anthropic-dangerous-direct-browser-access", "X-Request-Id",
        )
    ),
    "Access-Control-Max-Age": "43200",
}  # fmt: skip
_EXPOSED = "X-Request-Id,X-Corral-Num-Ctx,X-Corral-Truncated,Retry-After"
_PORT = re.compile(r":[0-9]*\Z")
_NAME = re.compile(r"[a-z0-9_.-]*")
_PRIVATE = [ipaddress.ip_network(text) for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")]


class Access:
    """Checks Host and Origin before anything else sees a request, and answers CORS preflights."""

    def __init__(self, app: ASGIApp, *, origins: Sequence[str] = (), loopback: bool = True) -> None:
        self._app = app
        patterns = (re.escape(allowed).replace(r"\*", ".*") for allowed in (*origins, *_LOCAL_ORIGINS, *_APP_ORIGINS))
        self._origins = re.compile("|".join(patterns))
        self._loopback = loopback

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        hosts, origin = headers.getlist("host"), headers.get("origin", "")
        host = "".join(hosts[:1])
        is_foreign = bool(origin) and not _is_same(origin, host)
        if len(hosts) > 1 or (not hosts and scope.get("http_version") == "1.1"):
            answer: Response | None = refusal(scope, 400, "an HTTP/1.1 request has one Host header")
        elif is_foreign and not self._allows(origin):
            answer = refusal(scope, 403, f"origin {shown(origin)} is not allowed; add it to OLLAMA_ORIGINS")
        else:
            send = _with_origin(send, origin) if origin else send
            is_preflight = is_foreign and scope["method"] == "OPTIONS"
            answer = Response(status_code=204, headers=_PREFLIGHT) if is_preflight else self._of_host(scope, host)
        await (answer or self._app)(scope, receive, send)

    def _allows(self, origin: str) -> bool:
        return len(origin) <= _LONGEST_ORIGIN and bool(self._origins.fullmatch(origin))

    def _of_host(self, scope: Scope, host: str) -> Response | None:
        """What is said to a request that was sent to this host, if it gets no further."""
        if not self._loopback:
            return None
        name = _without_port(host)
        if is_local_name(name):
            return Response(status_code=204) if scope["method"] == "OPTIONS" else None
        if is_local_address(name):
            return None
        reason = f"host {shown(host)} is not allowed; bind OLLAMA_HOST to another address to be reached by it"
        return refusal(scope, 403, reason)


def is_local_name(host: str) -> bool:
    """Whether a Host header's name, without its port, is one that cannot be rebound from outside."""
    name = host.lower()
    if not _NAME.fullmatch(name):
        return False
    return (
        name in ("", "localhost")
        or name.endswith((".localhost", ".local", ".internal"))
        or name == socket.gethostname().lower()
    )


def is_local_address(host: str) -> bool:
    """Whether it is an address of this machine or of its private network."""
    try:
        address = ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    address = getattr(address, "ipv4_mapped", None) or address
    if address.is_loopback or address.is_unspecified or any(address in network for network in _PRIVATE):
        return True
    own = (entry.address.partition("%")[0] for entries in psutil.net_if_addrs().values() for entry in entries)
    return str(address).partition("%")[0] in own


def _without_port(host: str) -> str:
    return host if host.endswith("]") else _PORT.sub("", host)


def _is_same(origin: str, host: str) -> bool:
    """Whether a page asks the server that it came from."""
    return origin in (f"http://{host}", f"https://{host}")


def _with_origin(send: Send, origin: str) -> Send:
    async def wrapped(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers["Access-Control-Allow-Origin"] = origin
            headers["Access-Control-Expose-Headers"] = _EXPOSED
            headers.append("Vary", "Origin")
        await send(message)

    return wrapped
