"""Routes: what Starlette's do not know."""

from __future__ import annotations

from starlette.routing import Route

from .errors import Handler


def get_only(path: str, handler: Handler) -> Route:
    """A route that is answered for GET and not, as Starlette would have it, for HEAD too: Ollama has some of each."""
    route = Route(path, handler, methods=["GET"])
    route.methods = {"GET"}
    return route
