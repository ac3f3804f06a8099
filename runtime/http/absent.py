"""Routes that Ollama has and this server does not have yet: a 501 that says so, in the shape of the route's dialect."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from .errors import AbsentError, answering, anthropic_error, ollama_error, openai_error

_ROUTES = {
    ollama_error: (
        "/api/create",
        "/api/pull",
        "/api/push",
        "/api/blobs/{digest}",
    ),
    openai_error: ("/v1/completions", "/v1/responses"),
    anthropic_error: ("/v1/messages",),
}


def absent_routes() -> list[Route]:
    """A route for each."""
    return [
        Route(path, answering(_refuse, reply), methods=["HEAD", "POST"] if "{" in path else ["POST"])
        for reply, paths in _ROUTES.items()
        for path in paths
    ]


async def _refuse(request: Request) -> Response:
    raise AbsentError(request.url.path)
