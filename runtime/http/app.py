"""The HTTP application: the dialects on one server behind one access layer."""

from __future__ import annotations

import posixpath
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Match

from ...modelfile.level import API_LEVEL
from ...store.keys import Keys
from ...store.local import Store
from ..embedding import Embedding
from ..engine.process import Worker
from ..inference import EngineDefaults, Inference
from ..schedule.placing import Placer, gpus
from ..schedule.pool import Pool, Starter
from ..served import ModelFacts
from .absent import absent_routes
from .access import Access
from .anthropic import AnthropicDialect
from .blobs import Uploads
from .create import Creation
from .embeddings import EmbeddingsDialect
from .generation import GenerationDialect
from .health import Health
from .keys import KeyCheck
from .limits import Limits, StalledBodyError, stalled
from .logs import AccessLog
from .metrics import Metrics
from .ollama import OllamaDialect
from .openai import OpenAIDialect
from .openapi import openapi_routes
from .refusal import bug, gone
from .routes import get_only
from .statuses import Operations
from .transfers import Transfers

if TYPE_CHECKING:
    from ...registry.remote import Access as Registries
    from .registry_app import Registry


def make_app(
    store: Store,
    defaults: EngineDefaults,
    *,
    files: Mapping[str, ModelFacts] | None = None,
    origins: Sequence[str] = (),
    loopback: bool = True,
    version: str = API_LEVEL,
    max_loaded: int = 0,
    max_queue: int = 0,
    start: Starter | None = None,
    placer: Placer | None = None,
    registries: Callable[[], Registries | None] = lambda: None,
    pull_from: Sequence[str] = (),
    max_blob: int = 0,
    release: str = "",
    keys: Keys | None = None,
    allow_manage: bool = False,
    registry: Registry | None = None,
) -> Starlette:
    """The application. The end of its lifespan ends the workers, and the requests with them.

    0 for `max_loaded` is three for each GPU, for `max_queue` 512. Who brings workers of his own with `start` has no
    devices, unless a `placer` says otherwise. `registries` is asked for each transfer how registries are reached; models
    are pulled from the hosts `pull_from` only, from all where there are none; an uploaded blob has at most `max_blob`
    bytes, 0 for no limit. `release` is Corral's own version, as `version` is that of the API. While there are no `keys`,
    who is not on `loopback` changes no models unless `allow_manage` says so. With a `registry`, the server is one too.
    """
    if start is None:
        start = partial(Worker.start, load_timeout=defaults.load_timeout)
        placer = placer or Placer(devices=gpus, overhead=defaults.gpu_overhead, spread=defaults.spread)
    pool = Pool(max_loaded=max_loaded, max_queue=max_queue, start=start, placer=placer)
    metrics = Metrics()
    inference = Inference(store, pool, defaults, files or {}, metrics)
    operations = Operations()
    uploads = Uploads(store, max_bytes=max_blob)
    transfers = Transfers(store, operations, registries=registries, pull_from=pull_from)
    registry_routes = registry.routes("/registry") if registry else []

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncGenerator[None]:
        async with registry.tidied() if registry else nullcontext():
            yield
        operations.close()
        uploads.close()
        await pool.close()

    async def status(_: Request) -> Response:
        return JSONResponse({"cloud": {"disabled": True, "source": "config"}, "corral": {"version": release}})

    app = Starlette(
        routes=[
            *OllamaDialect(inference, version=version).routes(),
            *GenerationDialect(inference).routes(),
            *OpenAIDialect(inference).routes(),
            *AnthropicDialect(inference).routes(),
            *EmbeddingsDialect(Embedding(inference, defaults)).routes(),
            *Creation(store, operations, uploads, transfers.fetch).routes(),
            *uploads.routes(),
            *transfers.routes(),
            get_only("/api/status", status),
            *Health(pool, metrics).routes(),
            *openapi_routes(),
            *registry_routes,
            *absent_routes(),
        ],
        middleware=[
            Middleware(AccessLog, on_end=metrics.requested),
            Middleware(Access, origins=origins, loopback=loopback),
            Middleware(KeyCheck, keys=keys, may_manage=loopback or allow_manage, besides=registry_routes),
            Middleware(Limits),
        ],
        exception_handlers={
            HTTPException: _http_error,
            ClientDisconnect: gone,
            StalledBodyError: stalled,
            Exception: bug,
        },
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    app.state.pool = pool
    app.state.metrics = metrics
    return app


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 404 and (moved := _moved(request)):
        return moved
    words = {404: "404 page not found", 405: "405 method not allowed"}
    return PlainTextResponse(words.get(error.status_code, error.detail), error.status_code, headers=error.headers)


def _moved(request: Request) -> Response | None:
    """Where a path leads that has slashes or dots too many, as Ollama's router says it; only to a route of ours."""
    path: str = request.scope["raw_path"].decode("latin-1")
    is_read = request.method == "GET"
    for better, status in (
        (path.rstrip("/"), 301 if is_read else 307),
        (posixpath.normpath("/" + path.lstrip("/")), 307),
    ):
        scope = {**request.scope, "path": better}
        if better not in ("", path) and any(route.matches(scope)[0] != Match.NONE for route in request.app.routes):
            return RedirectResponse(better + (f"?{request.url.query}" if request.url.query else ""), status)
    return None
