"""The HTTP application: the dialects on one server behind one access layer."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from ...modelfile.level import API_LEVEL
from ...store.local import Store
from ..engine.process import Worker
from ..inference import EngineDefaults, Inference
from ..schedule.pool import Pool, Starter
from ..served import ModelFacts
from .absent import absent_routes
from .access import Access
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
    max_loaded: int = 3,
    max_queue: int = 512,
    start: Starter = Worker.start,
) -> Starlette:
    """The application. The end of its lifespan ends the workers, and the requests with them."""
    pool = Pool(max_loaded=max_loaded, max_queue=max_queue, start=start)
    inference = Inference(store, pool, defaults, files or {})

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncGenerator[None]:
        yield
        await pool.close()

    return Starlette(
        routes=[
            *OllamaDialect(inference, version=version).routes(),
            *OpenAIDialect(inference).routes(),
            *absent_routes(),
        ],
        middleware=[Middleware(Access, origins=origins, loopback=loopback)],
        exception_handlers={HTTPException: _http_error, ClientDisconnect: _gone, Exception: _bug},
        lifespan=lifespan,
    )


async def _http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    words = {404: "404 page not found", 405: "405 method not allowed"}
    return PlainTextResponse(words.get(error.status_code, error.detail), error.status_code, headers=error.headers)


async def _gone(_: Request, __: Exception) -> Response:
    return JSONResponse({"error": "request canceled"}, 499)


async def _bug(_: Request, error: Exception) -> Response:
    return JSONResponse({"error": f"internal error: {type(error).__name__}", "kind": "bug"}, 500)
