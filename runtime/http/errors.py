"""Errors on the wire: which status each branch of CorralError has, and each dialect's body for it."""

from __future__ import annotations

import errno
import secrets
from collections.abc import Awaitable, Callable, Mapping
from pathlib import PurePath
from typing import TypeAlias

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ...store.errors import (
    CorralError,
    FileError,
    InputError,
    IntegrityError,
    MachineError,
    ModelNotFoundError,
    RemoteError,
    one_line,
)
from ..embedding import NoEmbeddingsError
from ..engine.process import StoppingError
from ..schedule.pool import RETRY_AFTER, BusyError
from .logs import annotate
from .stream import BodyTooLargeError

Handler: TypeAlias = Callable[[Request], Awaitable[Response]]
_FULL = (errno.ENOSPC, errno.EDQUOT)
_KINDS = {IntegrityError: "integrity", RemoteError: "remote", MachineError: "machine"}
_ANTHROPIC_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    503: "overloaded_error",
    529: "overloaded_error",
}


class AbsentError(InputError):
    """A route of Ollama's that this server does not have yet."""

    def __init__(self, path: str) -> None:
        super().__init__(f"{path} is not supported yet")


class QuotedNotFoundError(ModelNotFoundError):
    """A missing model, in the words that Ollama has at some of its routes."""

    def __init__(self, name: str, more: str = "") -> None:
        super().__init__(name)
        self.args = (one_line(f'model "{name}" not found{more}'),)


class ForbiddenError(InputError):
    """What this server was told not to do."""


class NoRoomError(MachineError):
    """The disk has no room for it."""


def answering(handler: Handler, reply: Callable[[CorralError], Response]) -> Handler:
    """The handler, with its CorralErrors turned into replies."""

    async def run(request: Request) -> Response:
        try:
            return await handler(request)
        except CorralError as error:
            return reply(error)

    return run


def status_of(error: CorralError) -> int:
    """403 for what is forbidden, 404 for a missing model, 413 for a body that is too large, 501 for what is to come and for
    embeddings of a model that gives none, 400 for other input, 503 when the server is busy or stops, 507 when the disk is
    full, else 500.
    """
    match error:
        case ForbiddenError():
            return 403
        case ModelNotFoundError():
            return 404
        case BodyTooLargeError():
            return 413
        case AbsentError() | NoEmbeddingsError():
            return 501
        case InputError():
            return 400
        case BusyError() | StoppingError():
            return 503
        case NoRoomError():
            return 507
        case FileError() if error.errno in _FULL:
            return 507
        case _:
            return 500


def ollama_body(error: CorralError) -> dict[str, object]:
    """`{"error": text}`; where it is not the client's fault, also `kind`, the branch of CorralError, and `hint` if any."""
    body: dict[str, object] = {"error": _text(error)}
    if not isinstance(error, InputError):
        body["kind"] = next((kind for branch, kind in _KINDS.items() if isinstance(error, branch)), "bug")
        if error.hint:
            body["hint"] = error.hint
    return body


def ollama_error(error: CorralError) -> Response:
    """Ollama's error reply."""
    return _reply(error, ollama_body(error))


def managing_body(error: CorralError) -> dict[str, object]:
    """The same of a route that changes what is stored: with the hint, whoever's fault it is."""
    return ollama_body(error) | ({"hint": error.hint} if error.hint else {})


def managing_error(error: CorralError) -> Response:
    """Its error reply."""
    return _reply(error, managing_body(error))


def openai_body(error: CorralError) -> dict[str, object]:
    """OpenAI's error object."""
    kind = {400: "invalid_request_error", 404: "not_found_error"}.get(status_of(error), "api_error")
    return {"error": {"message": _text(error), "type": kind, "param": None, "code": None}}


def openai_error(error: CorralError) -> Response:
    """OpenAI's error reply."""
    return _reply(error, openai_body(error))


def anthropic_object(status: int, message: str) -> dict[str, object]:
    """Anthropic's error object; the line in the log has its id, too."""
    kind = _ANTHROPIC_TYPES.get(status, "api_error" if status >= 500 else "invalid_request_error")
    request_id = f"req_{secrets.token_hex(12)}"
    annotate(anthropic_request_id=request_id)
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": request_id}


def anthropic_body(error: CorralError) -> dict[str, object]:
    """The same for an error."""
    return anthropic_object(status_of(error), _text(error))


def anthropic_error(error: CorralError) -> Response:
    """Anthropic's error reply."""
    return _reply(error, anthropic_body(error))


def _reply(error: CorralError, body: Mapping[str, object]) -> Response:
    headers = {"Retry-After": str(RETRY_AFTER)} if isinstance(error, BusyError) else None
    return JSONResponse(body, status_of(error), headers)


def _text(error: CorralError) -> str:
    """The message without this machine's folders, and what can be encoded of it: a template may have put half a surrogate
    pair into it.
    """
    said = str(error)
    if isinstance(error, FileError):
        said = said.replace(one_line(error.path), one_line(PurePath(error.path).name))
    return said.encode("utf-8", "replace").decode()
