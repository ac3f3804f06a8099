"""Routes that Ollama has and this server does not: each says so, in the shape of its dialect."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from .errors import AbsentError, Handler, answering, openai_error

_PATHS = ("/v1/responses",)
_ACCOUNT: Mapping[str, tuple[int, str]] = {
    "/api/me": (503, "account unavailable"),
    "/api/signout": (500, "there was an error signing out"),
}
"""What asks ollama.com for an account, with status and text as of an Ollama that is not to go there (spec part 0, 8)."""


def absent_routes() -> list[Route]:
    """A route for each."""
    return [
        *(Route(path, answering(_refuse, openai_error), methods=["POST"]) for path in _PATHS),
        *(Route(path, _saying(*reply), methods=["POST"]) for path, reply in _ACCOUNT.items()),
    ]


async def _refuse(request: Request) -> Response:
    raise AbsentError(request.url.path)


def _saying(status: int, text: str) -> Handler:
    async def say(_: Request) -> Response:
        return JSONResponse({"error": text, "kind": "remote"}, status)

    return say
