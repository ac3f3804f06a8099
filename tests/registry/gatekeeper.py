"""A token service, and the real registry behind it for those who bring its tokens. What it does is the test's to say."""

from __future__ import annotations

import base64
import http.client
import json
import secrets
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from corral.registry.credentials import Credential
from corral.registry.patience import Patience
from corral.registry.remote import Access

from tests.conftest import PASSWORD, USER

REFRESH = "identity-refresh-token"  # a secret too
BASIC = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()


@dataclass(frozen=True)
class Holds:
    """Knows one login for every registry."""

    credential: Credential | None

    def find(self, host: str, repository: str = "") -> Credential | None:  # noqa: ARG002
        return self.credential


def known(secret: str = PASSWORD, patience: Patience | None = None) -> Access:
    """Access for one who has this password, true or not."""
    return Access(logins=Holds(Credential(USER, secret, source="the test")), patience=patience or Patience())


@dataclass(frozen=True)
class Seen:
    """A request."""

    method: str
    path: str
    authorization: str
    body: str = ""


@dataclass
class Token:
    scopes: set[tuple[str, str]]
    expires: float
    uses: float


@dataclass
class Gatekeeper:
    """The service's state, and its mood."""

    upstream: str
    host: str = ""
    realm: str = ""
    """Where it sends one for a token; its own /token when empty."""
    extra_scope: str = ""
    lifetime: float = 300
    uses: float = float("inf")
    """How many requests a token is good for, whatever was said of its lifetime."""
    answer: dict[str, Any] = field(default_factory=dict[str, Any])
    """Put over the service's answer."""
    divert: Callable[[Seen], tuple[int, str] | None] = lambda _: None
    """For a request, a status and Location instead of the registry's reply."""
    is_open: bool = False
    """Whether it lets everybody in."""
    seen: list[Seen] = field(default_factory=list[Seen])
    tokens: dict[str, Token] = field(default_factory=dict[str, Token])

    def asked(self, part: str) -> list[Seen]:
        """The requests whose path has this in it."""
        return [seen for seen in self.seen if part in seen.path]

    def grant(self, scopes: list[str], *, is_known: bool) -> tuple[int, dict[str, Any]]:
        """A token for those scopes; without a login only for pulling from `crew/public…`."""
        granted: set[tuple[str, str]] = set()
        for scope in " ".join(scopes).split():
            _, name, actions = scope.split(":")
            for action in actions.split(","):
                if is_known or (action == "pull" and name.startswith("crew/public")):
                    granted.add((name, action))
        text = secrets.token_urlsafe(12)
        self.tokens[text] = Token(granted, time.monotonic() + self.lifetime, self.uses)
        return 200, {"token": text, "expires_in": self.lifetime} | self.answer

    def admits(self, authorization: str, method: str, path: str) -> bool:
        """Whether a request may pass."""
        token = self.tokens.get(authorization.removeprefix("Bearer "))
        if token is None or token.expires < time.monotonic() or token.uses < 1:
            return False
        token.uses -= 1
        if path == "/v2/":
            return True
        name = "/".join(path.split("/")[2:4])
        return (name, "pull" if method in ("GET", "HEAD") else "push") in token.scopes


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    keeper: Gatekeeper

    def do_GET(self) -> None:
        keeper = self.keeper
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        authorization = self.headers.get("Authorization", "")
        is_form = self.path.startswith("/token") and body
        request = Seen(self.command, self.path, authorization, body.decode() if is_form else "")
        keeper.seen.append(request)
        parts = urlsplit(self.path)
        diverted = keeper.divert(request)
        if diverted:
            self._reply(diverted[0], b"", {"Location": diverted[1]})
        elif parts.path == "/token":
            self._grant(authorization, parse_qs(body.decode() if is_form else parts.query))
        elif keeper.is_open or keeper.admits(authorization, self.command, parts.path):
            self._forward(body)
        else:
            self._challenge(parts.path)

    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Quiet."""

    def _grant(self, authorization: str, asked: dict[str, list[str]]) -> None:
        if self.command == "POST":
            is_known = asked["refresh_token"] == [REFRESH] and asked["grant_type"] == ["refresh_token"]
            refused = not is_known
        else:
            is_known, refused = authorization == BASIC, authorization not in ("", BASIC)
        if refused:
            self._reply(401, b"{}", {})
            return
        status, answer = self.keeper.grant(asked.get("scope", []), is_known=is_known)
        self._reply(status, json.dumps(answer).encode(), {"Content-Type": "application/json"})

    def _challenge(self, path: str) -> None:
        name = "/".join(path.split("/")[2:4])
        action = "pull" if self.command in ("GET", "HEAD") else "pull,push"
        scope = f"repository:{name}:{action} {self.keeper.extra_scope}".strip()
        realm = self.keeper.realm or f"http://{self.keeper.host}/token"
        challenge = f'Negotiate, Bearer realm="{realm}",service=gate,scope="{scope}"'
        self._reply(401, b'{"errors":[{"code":"UNAUTHORIZED","message":"no"}]}', {"WWW-Authenticate": challenge})

    def _forward(self, body: bytes) -> None:
        connection = http.client.HTTPConnection(self.keeper.upstream)
        headers = {name: value for name, value in self.headers.items() if name.lower() != "authorization"}
        connection.request(self.command, self.path, body, headers)
        reply = connection.getresponse()
        wanted = ("Location", "Docker-Content-Digest", "Content-Type", "Content-Range", "Range", "ETag")
        answer = reply.read() if self.command != "HEAD" else b""
        self._reply(reply.status, answer, {name: value for name in wanted if (value := reply.headers.get(name))})
        connection.close()

    def _reply(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


@contextmanager
def gatekeeper(upstream: str) -> Generator[Gatekeeper]:
    """One that runs while the block does."""
    keeper = Gatekeeper(upstream)
    kind = type("Keeping", (_Handler,), {"keeper": keeper})
    with ThreadingHTTPServer(("127.0.0.1", 0), kind) as server:
        server.daemon_threads = True
        keeper.host = f"127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield keeper
        finally:
            server.shutdown()
            thread.join()
