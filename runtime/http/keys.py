"""Keys at the door: which requests need an API key, of which scope, and what is said to those without, as ASGI middleware.

While there is no key at all, everything is allowed that `may_manage` does not keep back; the file is looked at for each
request, so that a key counts, or no longer counts, from the moment it is added or removed.
"""

from __future__ import annotations

import base64
import binascii
import logging
from collections.abc import Iterator, Sequence
from contextlib import suppress

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from ...store.errors import CorralError
from ...store.keys import Keys
from ...store.keys import Scope as KeyScope
from .logs import annotate
from .refusal import refusal

log = logging.getLogger(__name__)

_OPEN = frozenset({"/", "/health"})
_INFERRING = frozenset(
    {
        "/api/generate",
        "/api/chat",
        "/api/embed",
        "/api/embeddings",
        "/api/rerank",
        "/api/show",
        "/api/me",
        "/api/signout",
    }
)
"""What may be posted to without changing anything; besides, all of /v1."""
_LONGEST = 4096
"""Characters of a header that may hold a key."""


class KeyCheck:
    """Lets through who may. `keys` is None where there can be none; then, or without any, `may_manage` is for everybody.

    The routes `besides` see for themselves to who may what.
    """

    def __init__(
        self, app: ASGIApp, *, keys: Keys | None = None, may_manage: bool = True, besides: Sequence[Route] = ()
    ) -> None:
        self._app = app
        self._keys = keys
        self._may_manage = may_manage
        self._besides = besides

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        answer: Response | None = None
        if scope["type"] == "http" and (needed := self._needed(scope)):
            try:
                answer = self._answer(scope, needed)
            except CorralError as error:
                log.error("%s", error)
                answer = refusal(scope, 500, "this server cannot read its API keys")
        await (answer or self._app)(scope, receive, send)

    def _needed(self, scope: Scope) -> KeyScope | None:
        if any(route.matches(scope)[0] != Match.NONE for route in self._besides):
            return None
        return needed_scope(scope["method"], scope["path"])

    def _answer(self, scope: Scope, needed: KeyScope) -> Response | None:
        """What is said to a request that gets no further. Raises InputError, FileError when the keys cannot be read."""
        if self._keys is None or not self._keys.all():
            if needed == "infer" or self._may_manage:
                return None
            return refusal(
                scope,
                403,
                "this server listens beyond its machine and has no API keys, so that nobody may change its models;"
                " make a key there with `corral keys add NAME --scope manage`, or start it with --allow-manage",
            )
        given = list(presented(Headers(scope=scope)))
        found = [key for secret in given if (key := self._keys.find(secret))]
        if not found:
            reason = "this API key is not known here" if given else "this server needs an API key"
            cure = "send one as `Authorization: Bearer KEY`, which the command line takes from CORRAL_API_KEY"
            wrong = ', error="invalid_token"' if given else ""
            return refusal(scope, 401, f"{reason}; {cure}", {"WWW-Authenticate": f'Bearer realm="corral"{wrong}'})
        annotate(key=found[0].name)
        if any(key.allows(needed) for key in found):
            return None
        challenge = f'Bearer realm="corral", error="insufficient_scope", scope="{needed}"'
        reason = f"this API key has not the scope {needed}; add one that has: `corral keys add NAME --scope {needed}`"
        return refusal(scope, 403, reason, {"WWW-Authenticate": challenge})


def needed_scope(method: str, path: str) -> KeyScope | None:
    """The scope that a request needs; None for one that anybody may send. What is not known to be harmless needs `manage`."""
    is_reading = method in ("GET", "HEAD")
    if method == "OPTIONS" or (is_reading and path in _OPEN):
        return None
    if path.startswith("/api/blobs/"):
        return "manage"
    return "infer" if is_reading or path in _INFERRING or path.startswith("/v1/") else "manage"


def presented(headers: Headers) -> Iterator[str]:
    """The keys that a request shows: as a bearer token, as the password of HTTP Basic, as Anthropic's clients do."""
    if token := bearer(headers):
        yield token
    if named := login(headers):
        yield named[1]
    if "x-api-key" in headers:
        yield headers["x-api-key"][:_LONGEST].strip()


def bearer(headers: Headers) -> str:
    """The bearer token that a request shows; "" for none."""
    return _authorization(headers, "bearer")


def login(headers: Headers) -> tuple[str, str] | None:
    """The user and the password that a request shows by HTTP Basic; None for none."""
    with suppress(binascii.Error, ValueError):
        user, colon, password = (
            base64.b64decode(_authorization(headers, "basic"), validate=True).decode().partition(":")
        )
        return (user, password) if colon else None
    return None


def _authorization(headers: Headers, scheme: str) -> str:
    word, _, rest = headers.get("authorization", "")[:_LONGEST].strip().partition(" ")
    return rest.strip() if word.lower() == scheme else ""
