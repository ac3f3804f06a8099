"""Routes that Ollama has and this server does not have yet: a 501 that says so, in the shape of the route's dialect."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from .errors import AbsentError, answering, openai_error

_PATHS = ("/v1/responses",)


def absent_routes() -> list[Route]:
    """A route for each."""
    return [Route(path, answering(_refuse, openai_error), methods=["POST"]) for path in _PATHS]


async def _refuse(request: Request) -> Response:
    raise AbsentError(request.url.path)
