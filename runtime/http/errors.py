"""Errors on the wire: which status each branch of CorralError has, and each dialect's body for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ...store.errors import CorralError, InputError, ModelNotFoundError
from ..schedule.pool import BusyError
from .stream import BodyTooLargeError

Handler: TypeAlias = Callable[[Request], Awaitable[Response]]


def answering(handler: Handler, reply: Callable[[CorralError], Response]) -> Handler:
    """The handler, with its CorralErrors turned into replies."""

    async def run(request: Request) -> Response:
        try:
            return await handler(request)
        except CorralError as error:
            return reply(error)

    return run


def status_of(error: CorralError) -> int:
    """404 for a missing model, 413 for a body that is too large, 400 for other input, 503 when busy, else 500."""
    match error:
        case ModelNotFoundError():
            return 404
        case BodyTooLargeError():
            return 413
        case InputError():
            return 400
        case BusyError():
            return 503
        case _:
            return 500


def ollama_body(error: CorralError) -> dict[str, object]:
    """`{"error": text}`."""
    return {"error": _text(error)}


def ollama_error(error: CorralError) -> Response:
    """Ollama's error reply."""
    return JSONResponse(ollama_body(error), status_of(error))


def openai_body(error: CorralError) -> dict[str, object]:
    """OpenAI's error object."""
    kind = {400: "invalid_request_error", 404: "not_found_error"}.get(status_of(error), "api_error")
    return {"error": {"message": _text(error), "type": kind, "param": None, "code": None}}


def openai_error(error: CorralError) -> Response:
    """OpenAI's error reply."""
    return JSONResponse(openai_body(error), status_of(error))


def _text(error: CorralError) -> str:
    """What can be encoded of the message; a model's template may have put half a surrogate pair into it."""
    return str(error).encode("utf-8", "replace").decode()
