"""The registry server as an application of its own; it imports no engine."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.routing import Route

from ...registry.serve.catalog import Catalog
from ...registry.serve.scopes import Anybody, Caller
from ...registry.serve.uploads import Uploads
from ...store.local import Store
from .access import Access
from .limits import Limits
from .logs import AccessLog
from .oci import Door, OCIDialect


def registry_routes(store: Store, door: Door, uploads: Uploads) -> list[Route]:
    """What a server with a registry has."""
    return OCIDialect(Catalog(store), uploads, door).routes()


def make_registry_app(store: Store, door: Door, *, origins: Sequence[str] = (), loopback: bool = True) -> Starlette:
    """The application."""
    uploads = Uploads(store)
    app = Starlette(
        routes=registry_routes(store, door, uploads),
        middleware=[
            Middleware(AccessLog),
            Middleware(Access, origins=origins, loopback=loopback),
            Middleware(Limits),
        ],
    )
    app.router.redirect_slashes = False
    return app


async def anybody(_: Headers) -> Caller:
    """Who asks on this machine."""
    return Anybody()
