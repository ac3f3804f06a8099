"""The registry's page, for people: repositories with their tags, sizes and layers, and how to pull each; no script."""

from __future__ import annotations

import asyncio
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from ...registry.serve.catalog import Catalog
from ...registry.serve.errors import ServingError
from ...registry.serve.overview import shelf
from ...registry.serve.scopes import Caller
from ...store.errors import CorralError
from ...store.repository import Repository
from .oci_reply import refused
from .server import is_loopback

if TYPE_CHECKING:
    import jinja2

    from .oci import Door

_PAGE = 20
"""Repositories at once."""
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class RegistryPage:
    """The handler."""

    def __init__(self, catalog: Catalog, door: Door) -> None:
        self._catalog = catalog
        self._door = door

    async def show(self, request: Request) -> Response:
        """The page; who may read nothing unless he says who he is is asked that."""
        try:
            caller = await self._door.caller(request.headers)
            readable = await asyncio.to_thread(self._readable, caller)
            if not readable and caller.is_asked:
                raise ServingError("UNAUTHORIZED", "this registry wants to know who asks")
        except CorralError as error:
            return refused(error)
        return HTMLResponse(await asyncio.to_thread(self._rendered, request, readable), headers=_HEADERS)

    def _readable(self, caller: Caller) -> list[Repository]:
        return [repository for repository in self._catalog.repositories() if caller.may("read", repository)]

    def _rendered(self, request: Request, readable: list[Repository]) -> str:
        last = request.query_params.get("last", "")
        rest = [repository for repository in readable if repository.path > last]
        shown, is_plain = rest[:_PAGE], request.url.scheme == "http"
        return _template().render(
            host=request.url.netloc.rpartition("@")[2],
            is_plain=is_plain,
            prefix="http://" if is_plain and not is_loopback(request.url.hostname or "") else "",
            shelves=[shelf(self._catalog, repository) for repository in shown],
            following=shown[-1].path if len(rest) > _PAGE else "",
            is_later=bool(last),
        )


@cache
def _template() -> jinja2.Template:
    import jinja2  # only here: it takes its time to load

    text = resources.files(__package__ or "").joinpath("registry.html").read_text("utf-8")
    return jinja2.Environment(autoescape=True, trim_blocks=True).from_string(text)
