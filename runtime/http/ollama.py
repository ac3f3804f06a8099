"""Ollama's dialect: the models there are, stored and loaded (spec part 7)."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from ...store.errors import CorralError, InputError, InvalidNameError, ModelNotFoundError, shown
from ...store.name import Name
from ..catalog import model_details, show_reply
from ..inference import Inference
from .errors import QuotedNotFoundError, answering, ollama_error
from .routes import get_only
from .stream import read_body
from .types import CopyRequest, ModelRequest, ShowRequest, decode

_FOREVER = 200 * 365 * 86400.0
"""Seconds; an expiry may be no later, for clients that read it with Python's datetime."""


class OllamaDialect:
    """The handlers, over one Inference."""

    def __init__(self, inference: Inference, *, version: str) -> None:
        self._inference = inference
        self._version = version

    def routes(self) -> list[Route]:
        """Method and path of every handler."""
        return [
            Route("/", self.root, methods=["GET"]),
            Route("/api/version", self.version, methods=["GET"]),
            Route("/api/tags", answering(self.tags, ollama_error), methods=["GET"]),
            get_only("/api/ps", answering(self.ps, ollama_error)),
            Route("/api/show", answering(self.show, ollama_error), methods=["POST"]),
            Route("/api/copy", answering(self.copy, ollama_error), methods=["POST"]),
            Route("/api/delete", answering(self.delete, ollama_error), methods=["DELETE"]),
        ]

    async def root(self, _: Request) -> Response:
        """What health checks look at."""
        return PlainTextResponse("Ollama is running")

    async def version(self, _: Request) -> Response:
        """The level of Ollama's API spoken here."""
        return JSONResponse({"version": self._version})

    async def tags(self, _: Request) -> Response:
        """The models of the store."""
        return Response(await asyncio.to_thread(self._tags), media_type="application/json")

    def _tags(self) -> bytes:
        return msgspec.json.encode({"models": [model.entry for model in self._inference.listing.models()]})

    async def ps(self, _: Request) -> Response:
        """The loaded models."""
        entries: list[dict[str, Any]] = []
        loaded = [(runner, key) for runner in self._inference.pool.runners() for key in runner.asked.values()]
        for runner, key in loaded:
            left = timedelta(seconds=min(runner.expires_in, _FOREVER))
            try:
                details = model_details(await asyncio.to_thread(self._inference.model, key.name))
            except CorralError:
                details = {}  # deleted while loaded
            entries.append(
                {
                    "name": key.name,
                    "model": key.name,
                    "size": runner.worker.loaded.memory,
                    "digest": key.digest.hex if key.digest else "",
                    "details": details,
                    "expires_at": (datetime.now(UTC).astimezone() + left).isoformat(),
                    "size_vram": runner.worker.loaded.vram,
                    "context_length": runner.worker.loaded.num_ctx,
                }
            )
        return JSONResponse({"models": entries})

    async def show(self, request: Request) -> Response:
        """Everything about one model."""
        asked = decode(await read_body(request), ShowRequest)
        if not asked.wanted:
            raise InputError("model is required")
        model = await asyncio.to_thread(self._inference.model, asked.wanted)
        reply = await asyncio.to_thread(
            show_reply,
            self._inference.store,
            model,
            verbose=bool(asked.verbose),
            system=asked.system or "",
            options=asked.options or {},
        )
        if request.headers.get("user-agent", "").startswith("GitHubCopilotChat/"):
            reply["model_info"]["general.basename"] = asked.wanted  # it shows this as the model's name
        return JSONResponse(reply)

    async def copy(self, request: Request) -> Response:
        """A second name for a model."""
        asked = decode(await read_body(request), CopyRequest)
        source, destination = _name(asked.source, "source"), _name(asked.destination, "destination")
        try:
            await asyncio.to_thread(self._inference.store.copy, source, destination)
        except ModelNotFoundError:
            raise QuotedNotFoundError(asked.source) from None
        return Response()

    async def delete(self, request: Request) -> Response:
        """Take a name away, and the blobs that nothing else needs."""
        asked = decode(await read_body(request), ModelRequest).wanted
        if not asked:
            raise InputError("model is required")
        try:
            await asyncio.to_thread(self._inference.store.remove, _name(asked, "name"))
        except ModelNotFoundError:
            raise ModelNotFoundError(asked) from None
        return Response()


def _name(text: str, what: str) -> Name:
    try:
        return Name.parse(text)
    except InvalidNameError:
        raise InputError(f"{what} {shown(text)} is invalid") from None
