"""Refusals: how the layers before the dialects say no, in the shape of the dialect that the path belongs to."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Scope

from .errors import anthropic_object

_OPENAI_CODES = {401: "invalid_api_key"}
_OCI_CODES = {401: "UNAUTHORIZED", 403: "DENIED", 404: "UNSUPPORTED", 405: "UNSUPPORTED", 503: "TOOMANYREQUESTS"}


def refusal(
    scope: Scope, status: int, reason: str, headers: Mapping[str, str] | None = None, *, kind: str = "machine"
) -> Response:
    """The reply. Where it is not the client's fault, Ollama's dialect says the `kind`, the branch of CorralError."""
    is_ours = status >= 500
    path = str(scope["path"])
    if path.startswith(("/v1/messages", "/v1/v1/messages")):
        body = anthropic_object(status, reason)
    elif path.startswith("/v1/"):
        blamed = "api_error" if is_ours else "invalid_request_error"
        code = _OPENAI_CODES.get(status)
        body = {"error": {"message": reason, "type": blamed, "param": None, "code": code}}
    elif path == "/v2" or path.startswith("/v2/"):
        body = {
            "errors": [{"code": _OCI_CODES.get(status, "UNKNOWN" if is_ours else "UNSUPPORTED"), "message": reason}]
        }
    else:
        body = {"error": reason, **({"kind": kind} if is_ours else {})}
    return JSONResponse(body, status, headers)


async def gone(request: Request, _: Exception) -> Response:
    """The reply to who is no longer there."""
    return refusal(request.scope, 499, "request canceled")


async def bug(request: Request, error: Exception) -> Response:
    """The reply to a request that met a mistake of ours."""
    headers = {"X-Request-Id": request.state.request_id}  # what it is logged by; the middleware has been left
    return refusal(request.scope, 500, f"internal error: {type(error).__name__}", headers, kind="bug")
