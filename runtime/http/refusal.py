"""Refusals: how the layers before the dialects say no, in the shape of the dialect that the path belongs to."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.responses import JSONResponse, Response
from starlette.types import Scope

from .errors import anthropic_object

_OPENAI_CODES = {401: "invalid_api_key"}


def refusal(scope: Scope, status: int, reason: str, headers: Mapping[str, str] | None = None) -> Response:
    """The reply."""
    is_ours = status >= 500
    path = str(scope["path"])
    if path.startswith(("/v1/messages", "/v1/v1/messages")):
        body = anthropic_object(status, reason)
    elif path.startswith("/v1/"):
        kind = "api_error" if is_ours else "invalid_request_error"
        code = _OPENAI_CODES.get(status)
        body = {"error": {"message": reason, "type": kind, "param": None, "code": code}}
    else:
        body = {"error": reason, **({"kind": "machine"} if is_ours else {})}
    return JSONResponse(body, status, headers)
