"""The HTTP application: the dialects on one server behind one access layer."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from ...modelfile.level import API_LEVEL
from ...store.local import Store
from ..embedding import Embedding
from ..engine.process import Worker
from ..inference import EngineDefaults, Inference
from ..schedule.placing import Placer, gpus
from ..schedule.pool import Pool, Starter
from ..served import ModelFacts
from .absent import absent_routes
from .access import Access
from .embeddings import EmbeddingsDialect
from .ollama import OllamaDialect
from .openai import OpenAIDialect


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
) -> Starlette:
    """The application. The end of its lifespan ends the workers, and the requests with them.

    0 for `max_loaded` is three for each GPU, for `max_queue` 512. Who brings workers of his own with `start` has no
    devices, unless a `placer` says otherwise.
    """
    if start is None:
        start = partial(Worker.start, load_timeout=defaults.load_timeout)
        placer = placer or Placer(devices=gpus, overhead=defaults.gpu_overhead, spread=defaults.spread)
    pool = Pool(max_loaded=max_loaded, max_queue=max_queue, start=start, placer=placer)
    inference = Inference(store, pool, defaults, files or {})

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncGenerator[None]:
        yield
        await pool.close()

    app = Starlette(
        routes=[
            *OllamaDialect(inference, version=version).routes(),
            *OpenAIDialect(inference).routes(),
            *EmbeddingsDialect(Embedding(inference, defaults, files or {})).routes(),
            *absent_routes(),
        ],
        middleware=[Middleware(Access, origins=origins, loopback=loopback)],
        exception_handlers={HTTPException: _http_error, ClientDisconnect: _gone, Exception: _bug},
        lifespan=lifespan,
    )
    app.state.pool = pool
    return app


async def _http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    words = {404: "404 page not found", 405: "405 method not allowed"}
    return PlainTextResponse(words.get(error.status_code, error.detail), error.status_code, headers=error.headers)


async def _gone(_: Request, __: Exception) -> Response:
    return JSONResponse({"error": "request canceled"}, 499)


async def _bug(_: Request, error: Exception) -> Response:
    return JSONResponse({"error": f"internal error: {type(error).__name__}", "kind": "bug"}, 500)
