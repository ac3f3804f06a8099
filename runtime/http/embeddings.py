"""Embeddings in Ollama's dialect, /api/embed and the older /api/embeddings, and in OpenAI's, /v1/embeddings."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable
from typing import Any, cast

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ...store.errors import InputError, ModelNotFoundError
from ..embedding import Embedding, EmbeddingRequest, Embeddings, numbers_of
from .errors import QuotedNotFoundError, answering, ollama_error, openai_error
from .stream import client_of, cut_header, cut_note, read_body, while_connected
from .types import ModelRequest, decode


class EmbedRequest(ModelRequest, kw_only=True):
    """POST /api/embed."""

    input: Any = None
    dimensions: int | None = None


class LegacyEmbedRequest(ModelRequest, kw_only=True):
    """POST /api/embeddings."""

    prompt: str | None = None


class OpenAIEmbedRequest(msgspec.Struct, kw_only=True):
    """POST /v1/embeddings."""

    model: str | None = None
    input: Any = None
    dimensions: int | None = None
    truncate: bool | None = None
    """As /api/embed has it."""
    encoding_format: str | None = None


class EmbeddingsDialect:
    """The handlers, over one Embedding."""

    def __init__(self, embedding: Embedding) -> None:
        self._embedding = embedding

    def routes(self) -> list[Route]:
        """Method and path of every handler."""
        return [
            Route("/api/embed", answering(self.embed, ollama_error), methods=["POST"]),
            Route("/api/embeddings", answering(self.legacy, ollama_error), methods=["POST"]),
            Route("/v1/embeddings", answering(self.openai, openai_error), methods=["POST"]),
        ]

    async def embed(self, request: Request) -> Response:
        """The vectors of a text or of several."""
        asked = decode(await read_body(request), EmbedRequest)
        texts = _texts(asked.input, "invalid input type")
        if not asked.wanted:
            raise ModelNotFoundError("")
        found = await self._embedded(
            request,
            EmbeddingRequest(
                model=asked.wanted,
                texts=[] if asked.input == "" else texts,
                truncate=asked.truncate,
                dimensions=asked.dimensions or 0,
                options=asked.options or {},
                keep_alive=asked.lasting,
                client=client_of(request),
            ),
        )

        def body() -> dict[str, Any]:
            whole: dict[str, Any] = {"model": asked.wanted, "embeddings": [_short(vector) for vector in found.vectors]}
            if found.vectors:
                whole["total_duration"] = round(found.total * 1e9)
                whole["load_duration"] = round(found.load * 1e9)
                whole["prompt_eval_count"] = found.tokens
            return whole | cut_note(found.cut)

        return await _json(body, found)

    async def legacy(self, request: Request) -> Response:
        """The vector of one text; what programs asked for before there was /api/embed."""
        asked = decode(await read_body(request), LegacyEmbedRequest)
        if not asked.wanted:
            raise InputError("model is required")
        found = await self._embedded(
            request,
            EmbeddingRequest(
                model=asked.wanted,
                texts=[asked.prompt] if asked.prompt else [],
                truncate=asked.truncate,
                options=asked.options or {},
                keep_alive=asked.lasting,
                client=client_of(request),
            ),
        )

        def body() -> dict[str, Any]:
            whole: dict[str, Any] = {"embedding": numbers_of(found.vectors[0]) if found.vectors else []}
            return whole | cut_note(found.cut)

        return await _json(body, found)

    async def openai(self, request: Request) -> Response:
        """The vectors of a text or of several, as numbers or as base64 of 32-bit floats."""
        asked = decode(await read_body(request), OpenAIEmbedRequest)
        kind = asked.encoding_format or "float"
        if kind not in ("float", "base64"):
            raise InputError(
                f"Invalid value for 'encoding_format' = {kind:.80}. Supported values: ['float', 'base64']."
            )
        texts = _texts(asked.input, "invalid input")
        if not texts or asked.input == "":
            raise InputError("invalid input")
        if not asked.model:
            raise InputError("model is required")
        wanted = EmbeddingRequest(
            model=asked.model,
            texts=texts,
            truncate=asked.truncate,
            dimensions=asked.dimensions or 0,
            client=client_of(request),
        )
        found = await self._embedded(request, wanted)
        shown: Callable[[bytes], object] = _short if kind == "float" else _as_base64

        def body() -> dict[str, Any]:
            data = [
                {"object": "embedding", "embedding": shown(vector), "index": index}
                for index, vector in enumerate(found.vectors)
            ]
            usage = {"prompt_tokens": found.tokens, "total_tokens": found.tokens}
            return {"object": "list", "data": data, "model": asked.model, "usage": usage} | cut_note(found.cut)

        return await _json(body, found)

    async def _embedded(self, request: Request, wanted: EmbeddingRequest) -> Embeddings:
        try:
            return await while_connected(request, self._embedding.embed(wanted))
        except ModelNotFoundError as error:
            raise QuotedNotFoundError(error.name, ", try pulling it first") from None


def _texts(value: object, refusal: str) -> list[str]:
    """The texts of an `input`, which may be one or a list of them. Raises InputError."""
    if value is None:
        return []
    if isinstance(value, str):
        return [value]
    items: list[Any] = cast("list[Any]", value) if isinstance(value, list) else [None]
    if all(isinstance(item, str) for item in items):
        return items
    if all(isinstance(item, int | list) and item != [] for item in items):
        raise InputError(f"{refusal}: token numbers are not taken, since each model has its own; send the text")
    raise InputError(refusal)


def _short(vector: bytes) -> list[float]:
    """The numbers with as many digits as 32 bits have."""
    return [float(f"{number:.9g}") for number in numbers_of(vector)]


def _as_base64(vector: bytes) -> str:
    return base64.b64encode(vector).decode()


async def _json(body: Callable[[], dict[str, Any]], found: Embeddings) -> Response:
    """The reply; a large one is put together beside the other requests."""

    def encoded() -> bytes:
        return json.dumps(body(), ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")

    return Response(await asyncio.to_thread(encoded), headers=cut_header(found.cut), media_type="application/json")
