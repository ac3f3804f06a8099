"""Replies of the registry server: the headers that all have, errors by the distribution spec 1.1, lists in pages."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ...registry.serve.errors import ServingError
from ...store.errors import CorralError, InputError, InvalidNameError

log = logging.getLogger(__name__)

HEADERS = {
    "Docker-Distribution-Api-Version": "registry/2.0",
    # What clients gave may be of any type, also one that a browser would show, and run, as a page of this server's.
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
}
"""Old clients tell a registry by the first."""
_LONGEST_PAGE = 10_000
_SAID_WITH = {
    "UNAUTHORIZED": {"WWW-Authenticate": 'Basic realm="corral"'},
    "TOOMANYREQUESTS": {"Retry-After": "2"},
}
"""Headers that go with an error."""


def refused(error: CorralError, headers: Mapping[str, str] | None = None) -> Response:
    """The reply to a request that fails."""
    if isinstance(error, InvalidNameError):
        error = ServingError("NAME_INVALID", f"{error.text[:300]}: {error.why}")
    if not isinstance(error, ServingError):
        if isinstance(error, InputError):
            error = ServingError("UNSUPPORTED", str(error), status=400)
        else:
            log.error("%s", error)
            error = ServingError("UNKNOWN", "the registry's store failed; its log says how")
    one: dict[str, object] = {"code": error.code, "message": str(error)}
    if error.detail is not None:
        one["detail"] = error.detail
    return JSONResponse(
        {"errors": [one]}, error.status, {**HEADERS, **_SAID_WITH.get(error.code, {}), **(headers or {})}
    )


def page(request: Request, key: str, entries: Sequence[str], **fields: object) -> Response:
    """So many of a list as the request wants, behind the `last` that it has; a Link says where the others are.

    Raises ServingError.
    """
    query = request.query_params
    text = query.get("n", str(_LONGEST_PAGE))
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise ServingError("UNSUPPORTED", "n is a whole number", detail={"n": text[:80]}, status=400)
    count = min(int(text), _LONGEST_PAGE)
    rest = [entry for entry in entries if entry > query["last"]] if "last" in query else list(entries)
    shown, headers = rest[:count], dict(HEADERS)
    if shown and len(rest) > count:
        following = urlencode({"last": shown[-1], "n": count})
        headers["Link"] = f'<{request.url.path}?{following}>; rel="next"'
    return JSONResponse({**fields, key: shown}, headers=headers)
