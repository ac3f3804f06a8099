"""The registry server: as a part of an application, and as an application of its own, which imports no engine."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ...registry.serve.catalog import Catalog
from ...registry.serve.scopes import ANYBODY, Caller
from ...registry.serve.uploads import EXPIRY, Uploads
from ...store.errors import CorralError
from ...store.local import Store
from .access import Access
from .limits import Limits, StalledBodyError, stalled
from .logs import AccessLog
from .oci import Door, OCIDialect
from .oci_page import RegistryPage
from .refusal import bug, gone, refusal

log = logging.getLogger(__name__)

_HOUR = 3600.0


class Registry:
    """What an application needs to be a registry too."""

    def __init__(self, store: Store, door: Door, *, max_blob: int = 0, upload_expiry: float = EXPIRY) -> None:
        """A blob has at most `max_blob` bytes, 0 for no limit; `upload_expiry` is in seconds without a byte."""
        catalog = Catalog(store)
        self._uploads = Uploads(store, max_bytes=max_blob, expiry=upload_expiry)
        self._dialect = OCIDialect(catalog, self._uploads, door)
        self._page = RegistryPage(catalog, door)

    def routes(self, page: str) -> list[Route]:
        """They see for themselves to who may what. `page` is the path of the page for people."""
        return [*self._dialect.routes(), Route(page, self._page.show, methods=["GET"])]

    @asynccontextmanager
    async def tidied(self) -> AsyncGenerator[None]:
        """While the block runs, uploads that nobody goes on with are removed, now and every hour."""
        tidying = asyncio.create_task(self._tidy())
        try:
            yield
        finally:
            tidying.cancel()
            with suppress(asyncio.CancelledError):
                await tidying

    async def _tidy(self) -> None:
        while True:
            try:
                await asyncio.to_thread(self._uploads.expire)
            except (CorralError, OSError) as error:
                log.error("uploads that expired are still here: %s", error)
            await asyncio.sleep(_HOUR)


def make_registry_app(
    store: Store,
    door: Door,
    *,
    origins: Sequence[str] = (),
    loopback: bool = True,
    max_blob: int = 0,
    upload_expiry: float = EXPIRY,
) -> Starlette:
    """The application; for `max_blob` and `upload_expiry` see Registry."""
    registry = Registry(store, door, max_blob=max_blob, upload_expiry=upload_expiry)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncGenerator[None]:
        async with registry.tidied():
            yield

    app = Starlette(
        routes=[*registry.routes("/"), Route("/health", _health, methods=["GET"])],
        middleware=[
            Middleware(AccessLog),
            Middleware(Access, origins=origins, loopback=loopback),
            Middleware(Limits),
        ],
        exception_handlers={
            HTTPException: _nothing_here,
            ClientDisconnect: gone,
            StalledBodyError: stalled,
            Exception: bug,
        },
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    return app


async def anybody(_: Headers) -> Caller:
    """Who asks where there is nobody but the users of this machine."""
    return ANYBODY


async def _health(_: Request) -> Response:
    return JSONResponse({"status": "ok"})


async def _nothing_here(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return refusal(request.scope, error.status_code, "a registry has nothing here", error.headers)
