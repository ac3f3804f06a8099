"""Ollama's dialect: its routes, bodies and NDJSON chunks (spec part 7) onto Inference."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from ...store.errors import CorralError, InputError, InvalidNameError, ModelNotFoundError, shown
from ...store.name import Name
from ..catalog import list_entries, model_details, show_reply
from ..dialogue.history import Prompt
from ..inference import Inference
from ..request import Chat, Completion, Done, Event, InferenceRequest, UnsupportedError
from ..schedule.duration import parse_duration
from .errors import answering, ollama_body, ollama_error
from .stream import client_of, collect, line, read_body, respond, while_connected
from .types import ChatRequest, CopyRequest, GenerateRequest, ModelRequest, ShowRequest, decode

_FOREVER = 200 * 365 * 86400.0
"""Seconds; an expiry may be no later, for clients that read it with Python's datetime."""
_NDJSON = "application/x-ndjson"


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
            Route("/api/ps", answering(self.ps, ollama_error), methods=["GET"]),
            Route("/api/show", answering(self.show, ollama_error), methods=["POST"]),
            Route("/api/generate", answering(self.generate, ollama_error), methods=["POST"]),
            Route("/api/chat", answering(self.chat, ollama_error), methods=["POST"]),
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
        return JSONResponse({"models": await asyncio.to_thread(list_entries, self._inference.store)})

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
        return JSONResponse(
            await asyncio.to_thread(show_reply, self._inference.store, model, verbose=bool(asked.verbose))
        )

    async def generate(self, request: Request) -> Response:
        """Continue a prompt."""
        asked = decode(await read_body(request), GenerateRequest)
        _refuse_unsupported(asked)
        if asked.raw and (asked.system or asked.template or asked.context):
            raise InputError("raw mode does not support template, system, or context")
        if asked.raw and asked.suffix:
            raise InputError("raw mode does not support suffix")
        if asked.context:
            raise UnsupportedError("context is not supported yet")
        task = Completion(
            prompt=asked.prompt or "",
            suffix=asked.suffix or "",
            system=asked.system or "",
            template=asked.template or "",
            raw=bool(asked.raw),
            images=len(asked.images or ()),
            think=asked.thought,
        )
        return await self._reply(request, asked, task, is_empty=not (task.prompt or task.suffix or task.images))

    async def chat(self, request: Request) -> Response:
        """Continue a conversation."""
        asked = decode(await read_body(request), ChatRequest)
        _refuse_unsupported(asked)
        messages = [message.to_chat() for message in asked.messages or []]
        task = Chat(messages=messages, tools=asked.tools or (), think=asked.thought)
        return await self._reply(request, asked, task, is_empty=not messages)

    async def copy(self, request: Request) -> Response:
        """A second name for a model."""
        asked = decode(await read_body(request), CopyRequest)
        source, destination = _name(asked.source, "source"), _name(asked.destination, "destination")
        try:
            await asyncio.to_thread(self._inference.store.copy, source, destination)
        except ModelNotFoundError:
            raise ModelNotFoundError(asked.source) from None
        return Response()

    async def delete(self, request: Request) -> Response:
        """Take a name away, and the blobs that nothing else needs."""
        asked = decode(await read_body(request), ModelRequest).wanted
        try:
            await asyncio.to_thread(self._inference.store.remove, _name(asked, "name"))
        except ModelNotFoundError:
            raise ModelNotFoundError(asked) from None
        return Response()

    async def _reply(
        self, request: Request, asked: ModelRequest, task: Chat | Completion, *, is_empty: bool
    ) -> Response:
        if not asked.wanted:
            raise InputError("model is required") if isinstance(task, Chat) else ModelNotFoundError("")
        keep_alive = None if asked.keep_alive is None else parse_duration(asked.keep_alive)
        wanted = InferenceRequest(
            model=asked.wanted,
            task=task,
            options=asked.options or {},
            keep_alive=keep_alive,
            shift=asked.shift is not False,
            client=client_of(request),
        )
        is_chat = isinstance(task, Chat)

        def chunk(event: Event) -> dict[str, Any]:
            return _chunk(asked.wanted, event, is_chat=is_chat)

        if is_empty:
            return JSONResponse(chunk(await while_connected(request, self._inference.load(wanted))))
        if asked.debug_render_only:
            prompt = await while_connected(request, self._inference.prompt(wanted))
            return JSONResponse(_debug(asked.wanted, prompt, is_chat=is_chat))
        events = self._inference.answer(wanted)
        if asked.stream is False:
            text, done = await collect(request, events)
            whole = chunk(done)
            whole |= {"message": {"role": "assistant", "content": text}} if is_chat else {"response": text}
            return JSONResponse(whole)
        return await respond(
            request,
            events,
            media_type=_NDJSON,
            encode=lambda event: [line(chunk(event))],
            encode_error=lambda error: line(ollama_body(error)),
        )


def _name(text: str, what: str) -> Name:
    try:
        return Name.parse(text)
    except InvalidNameError:
        raise InputError(f"{what} {shown(text)} is invalid") from None


def _refuse_unsupported(asked: ModelRequest) -> None:
    """What would be silently ignored is refused instead."""
    if asked.format not in (None, ""):
        if asked.format != "json" and not isinstance(asked.format, dict):
            raise InputError(
                f'invalid format: {shown(str(asked.format))}; expected "json" or a valid JSON Schema object'
            )
        raise UnsupportedError("format is not supported yet")
    if asked.logprobs or asked.top_logprobs:
        raise UnsupportedError("logprobs are not supported yet")
    if asked.truncate is False:
        raise UnsupportedError("truncate: false is not supported yet")


def _chunk(model: str, event: Event, *, is_chat: bool) -> dict[str, Any]:
    text = "" if isinstance(event, Done) else event.text
    chunk: dict[str, Any] = {"model": model, "created_at": _now()}
    chunk |= {"message": {"role": "assistant", "content": text}} if is_chat else {"response": text}
    chunk["done"] = isinstance(event, Done)
    if isinstance(event, Done):
        chunk["done_reason"] = event.reason
        if event.reason not in ("load", "unload"):
            chunk |= {
                "total_duration": _nanoseconds(event.total),
                "load_duration": _nanoseconds(event.load),
                "prompt_eval_count": event.prompt_tokens,
                "prompt_eval_duration": _nanoseconds(event.prompt),
                "eval_count": event.tokens,
                "eval_duration": _nanoseconds(event.generation),
            }
    return chunk


def _debug(model: str, prompt: Prompt, *, is_chat: bool) -> dict[str, Any]:
    """What the model would be given, in place of its answer."""
    nothing = {"message": {"role": "", "content": ""}} if is_chat else {"response": ""}
    info: dict[str, Any] = {"rendered_template": prompt.text}
    if prompt.images:
        info["image_count"] = prompt.images
    return {"model": model, "created_at": _now(), **nothing, "done": False, "_debug_info": info}


def _nanoseconds(seconds: float) -> int:
    return round(seconds * 1e9)


def _now() -> str:
    nanoseconds = time.time_ns()
    at = datetime.fromtimestamp(nanoseconds // 1_000_000_000, UTC)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{nanoseconds % 1_000_000_000:09d}Z"
