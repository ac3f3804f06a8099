"""Access: which hosts and origins may talk to the server (spec part 7.13), as ASGI middleware.

The Host rule is the defence against DNS rebinding and holds while the listener is on loopback. Refusals say why.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Sequence

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_LOCAL_ORIGINS = tuple(
    f"{scheme}://{host}{port}"
    for scheme in ("http", "https")
    for host in ("localhost", "127.0.0.1", "0.0.0.0")  # noqa: S104 - an origin, not a bind address
    for port in ("", ":*")
)
_APP_ORIGINS = ("app://*", "file://*", "tauri://*", "vscode-webview://*", "vscode-file://*")
_METHODS = "GET,POST,PUT,PATCH,DELETE,HEAD,OPTIONS"
_HEADERS = "Authorization,Content-Type,User-Agent,Accept,X-Requested-With,OpenAI-Beta"


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
        origin = headers.get("origin")
        if self._loopback and not is_local_host(headers.get("host", "")):
            reason = (
                f"host {headers.get('host')!r} is not allowed; bind OLLAMA_HOST to another address to be reached by it"
            )
            await JSONResponse({"error": reason}, 403)(scope, receive, send)
        elif origin and not self._allows(origin, headers.get("host", "")):
            reason = f"origin {origin!r} is not allowed; add it to OLLAMA_ORIGINS"
            await JSONResponse({"error": reason}, 403)(scope, receive, send)
        elif scope["method"] == "OPTIONS":
            await _preflight(headers)(scope, receive, send)
        elif origin:
            await self._app(scope, receive, _with_origin(send, origin))
        else:
            await self._app(scope, receive, send)

    def _allows(self, origin: str, host: str) -> bool:
        return origin in (f"http://{host}", f"https://{host}") or bool(self._origins.fullmatch(origin))


def is_local_host(header: str) -> bool:
    """Whether a Host header names this machine or one that cannot be rebound from outside."""
    host = header.rpartition(":")[0] if re.search(r":\d*$", header) and not header.endswith("]") else header
    host = host.strip("[]").lower()
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        names = ("", "localhost", socket.gethostname().lower())
        return host in names or host.endswith((".localhost", ".local", ".internal"))
    return address.is_loopback or address.is_private or address.is_unspecified


def _preflight(headers: Headers) -> Response:
    allow = {
        "Access-Control-Allow-Methods": _METHODS,
        "Access-Control-Allow-Headers": headers.get("access-control-request-headers") or _HEADERS,
        "Access-Control-Max-Age": "43200",
    }
    if origin := headers.get("origin"):
        allow |= {"Access-Control-Allow-Origin": origin, "Vary": "Origin"}
    return Response(status_code=204, headers=allow)


def _with_origin(send: Send, origin: str) -> Send:
    async def wrapped(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers["Access-Control-Allow-Origin"] = origin
            headers.append("Vary", "Origin")
        await send(message)

    return wrapped
