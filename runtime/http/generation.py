"""Ollama's dialect: /api/generate and /api/chat, their bodies and NDJSON chunks (spec part 7), onto Inference."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ...modelfile.template.conversation import ToolCall
from ...store.errors import InputError, ModelNotFoundError, shown
from ..dialogue.history import Prompt
from ..dialogue.parts import Called, Thought
from ..engine.protocol import TokenLogprobs
from ..inference import Inference
from ..request import Chat, Completion, Done, Event, Format, InferenceRequest, Said, Started
from .errors import answering, ollama_body, ollama_error
from .logprobs import MOST_LOGPROBS, logprob_objects
from .messages import conversation, tool_objects
from .stream import Answer, client_of, collect, headers, line, notes, read_body, respond, while_connected
from .types import ChatRequest, GenerateRequest, ModelRequest, decode

_NDJSON = "application/x-ndjson"


class GenerationDialect:
    """The handlers, over one Inference."""

    def __init__(self, inference: Inference) -> None:
        self._inference = inference

    def routes(self) -> list[Route]:
        """Method and path of every handler."""
        return [
            Route("/api/generate", answering(self.generate, ollama_error), methods=["POST"]),
            Route("/api/chat", answering(self.chat, ollama_error), methods=["POST"]),
        ]

    async def generate(self, request: Request) -> Response:
        """Continue a prompt."""
        asked = decode(await read_body(request), GenerateRequest)
        if asked.raw and (asked.system or asked.template or asked.context):
            raise InputError("raw mode does not support template, system, or context")
        if asked.raw and asked.suffix:
            raise InputError("raw mode does not support suffix")
        task = Completion(
            prompt=asked.prompt or "",
            suffix=asked.suffix or "",
            system=asked.system or "",
            template=asked.template or "",
            raw=bool(asked.raw),
            images=len(asked.images or ()),
            context=asked.context or (),
            think=asked.thought,
        )
        return await self._reply(request, asked, task, is_empty=not (task.prompt or task.suffix or task.images))

    async def chat(self, request: Request) -> Response:
        """Continue a conversation."""
        asked = decode(await read_body(request), ChatRequest)
        messages = conversation(asked.messages or [])
        task = Chat(messages=messages, tools=tool_objects(asked.tools or ()), think=asked.thought)
        return await self._reply(request, asked, task, is_empty=not messages)

    async def _reply(
        self, request: Request, asked: ModelRequest, task: Chat | Completion, *, is_empty: bool
    ) -> Response:
        form, logprobs = _format(asked.format), _logprobs(asked)
        if not asked.wanted:
            raise InputError("model is required") if isinstance(task, Chat) else ModelNotFoundError("")
        wanted = InferenceRequest(
            model=asked.wanted,
            task=task,
            options=asked.options or {},
            keep_alive=asked.lasting,
            format=form,
            logprobs=logprobs,
            shift=asked.shift is not False,
            truncate=asked.truncate,
            wants_tokens=isinstance(task, Completion) and not task.raw,
            client=client_of(request),
        )
        chunks = _Chunks(asked.wanted, is_chat=isinstance(task, Chat))
        if is_empty:
            return JSONResponse(chunks.last(await while_connected(request, self._inference.load(wanted))))
        if asked.debug_render_only:
            return JSONResponse(chunks.debug(await while_connected(request, self._inference.prompt(wanted))))
        events = self._inference.answer(wanted)
        if asked.stream is False:
            answer = await collect(request, events)
            return JSONResponse(chunks.whole(answer), headers=headers(answer.started))
        return await respond(
            request,
            events,
            media_type=_NDJSON,
            said=headers,
            encode=chunks.lines,
            encode_error=lambda error: line(ollama_body(error)),
        )


class _Chunks:
    """The objects of one answer. Each holds one kind of thing, and the last nothing but what is to be said of the whole:
    clients drop what they do not expect.
    """

    def __init__(self, model: str, *, is_chat: bool) -> None:
        self._model = model
        self._is_chat = is_chat
        self._notes: dict[str, Any] = {}

    def lines(self, event: Event) -> list[str]:
        """The lines of a stream."""
        match event:
            case Started():
                self._notes = notes(event)
                return []
            case Said(part, logprobs):
                match part:
                    case Called(call):
                        chunk = self._object("", calls=[call])
                    case Thought(text):
                        chunk = self._object("", thinking=text)
                    case _:
                        chunk = self._object(part.text)
                return [line(chunk | {"done": False} | _told(logprobs))]
            case Done():
                return [line(self.last(event))]

    def whole(self, answer: Answer) -> dict[str, Any]:
        """All of it, for who does not stream."""
        self._notes = notes(answer.started)
        said = self._object(answer.content, thinking=answer.thinking, calls=answer.calls)
        return self.last(answer.done) | said | _told(answer.logprobs)

    def last(self, done: Done) -> dict[str, Any]:
        """The last object."""
        chunk = self._object("") | {"done": True, "done_reason": done.reason}
        if done.reason in ("load", "unload"):
            return chunk
        if done.context:
            chunk["context"] = done.context
        return chunk | {
            "total_duration": _nanoseconds(done.total),
            "load_duration": _nanoseconds(done.load),
            "prompt_eval_count": done.prompt_tokens,
            "prompt_eval_duration": _nanoseconds(done.prompt),
            "eval_count": done.tokens,
            "eval_duration": _nanoseconds(done.generation),
            **self._notes,
        }

    def debug(self, prompt: Prompt) -> dict[str, Any]:
        """What the model would be given, in place of its answer."""
        nothing = {"message": {"role": "", "content": ""}} if self._is_chat else {"response": ""}
        info: dict[str, Any] = {"rendered_template": prompt.text}
        if prompt.images:
            info["image_count"] = prompt.images
        return self._object("") | nothing | {"done": False, "_debug_info": info}

    def _object(self, text: str, *, thinking: str = "", calls: Sequence[ToolCall] = ()) -> dict[str, Any]:
        said: dict[str, Any] = {"role": "assistant", "content": text} if self._is_chat else {"response": text}
        if thinking:
            said["thinking"] = thinking
        if calls:
            said["tool_calls"] = [
                {"id": call.id, "function": {"index": call.index, "name": call.name, "arguments": call.arguments or {}}}
                for call in calls
            ]
        return {"model": self._model, "created_at": _now(), **({"message": said} if self._is_chat else said)}


def _format(value: object) -> Format:
    match value:
        case None | "":
            return None
        case "json":
            return "json"
        case dict():
            return value  # pyright: ignore[reportUnknownVariableType] - what is in it the compiler of schemas sees to
        case _:
            raise InputError(f'invalid format: {shown(str(value))}; expected "json" or a valid JSON Schema object')


def _logprobs(asked: ModelRequest) -> int:
    top = asked.top_logprobs or 0
    if not 0 <= top <= MOST_LOGPROBS:
        raise InputError(f"top_logprobs must be between 0 and {MOST_LOGPROBS}")
    return top if asked.logprobs else -1


def _told(logprobs: Sequence[TokenLogprobs]) -> dict[str, Any]:
    return {"logprobs": logprob_objects(logprobs)} if logprobs else {}


def _nanoseconds(seconds: float) -> int:
    return round(seconds * 1e9)


def _now() -> str:
    nanoseconds = time.time_ns()
    at = datetime.fromtimestamp(nanoseconds // 1_000_000_000, UTC)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{nanoseconds % 1_000_000_000:09d}Z"
