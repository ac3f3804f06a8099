"""OpenAI's dialect: /v1/models and /v1/chat/completions onto Inference."""

from __future__ import annotations

import asyncio
import secrets
import time
from dataclasses import replace
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ...modelfile.template.conversation import ChatMessage
from ...store.errors import InputError
from ...store.name import Name
from ..inference import Inference
from ..request import Chat, Done, Event, InferenceRequest, UnsupportedError
from .errors import answering, openai_body, openai_error
from .stream import client_of, collect, read_body, respond, server_sent
from .types import OpenAIChatRequest, decode

_OPTIONS = ("temperature", "top_p", "seed", "frequency_penalty", "presence_penalty", "stop")


_HARMLESS: dict[str, tuple[object, ...]] = {
    "top_logprobs": (),
    "logit_bias": (),
    "functions": (),
    "function_call": ("none", "auto"),
    "modalities": (["text"],),
    "prediction": (),
    "reasoning_effort": ("none",),
}
"""Fields that are not supported, and the values of each that change nothing; neither does an empty one."""


class OpenAIDialect:
    """The handlers, over one Inference."""

    def __init__(self, inference: Inference) -> None:
        self._inference = inference

    def routes(self) -> list[Route]:
        """Method and path of every handler."""
        return [
            Route("/v1/models", answering(self.models, openai_error), methods=["GET"]),
            Route("/v1/models/{model:path}", answering(self.model, openai_error), methods=["GET"]),
            Route("/v1/chat/completions", answering(self.chat, openai_error), methods=["POST"]),
        ]

    async def models(self, _: Request) -> Response:
        """The models of the store."""
        models, _broken = await asyncio.to_thread(self._inference.store.tags.models)
        entries = [_entry(str(model.name), model.name, model.modified) for model in models]
        # Ollama says null for none; clients that iterate break on that.
        return JSONResponse({"object": "list", "data": entries})

    async def model(self, request: Request) -> Response:
        """One model."""
        typed = request.path_params["model"]
        model = await asyncio.to_thread(self._inference.model, typed)
        return JSONResponse(_entry(typed, model.name, model.tagged.modified))

    async def chat(self, request: Request) -> Response:
        """Continue a conversation."""
        asked = decode(await read_body(request), OpenAIChatRequest)
        _refuse_unsupported(asked)
        if not asked.messages:
            raise InputError("[] is too short - 'messages'")
        options: dict[str, object] = {name: getattr(asked, name) for name in _OPTIONS}
        options["num_predict"] = asked.max_completion_tokens or asked.max_tokens
        messages = _as_ollama([message.to_chat() for message in asked.messages])
        task = Chat(messages=messages, think=False if asked.reasoning_effort == "none" else None)
        wanted = InferenceRequest(model=asked.model or "", task=task, options=options, client=client_of(request))
        events = self._inference.answer(wanted)
        reply = _Reply(asked)
        if not asked.stream:
            return JSONResponse(reply.whole(*await collect(request, events)))
        return await respond(
            request,
            events,
            media_type="text/event-stream",
            encode=reply.chunks,
            encode_error=lambda error: server_sent(openai_body(error)),
        )


class _Reply:
    """The objects of one completion: they share an id and a time."""

    def __init__(self, asked: OpenAIChatRequest) -> None:
        self._usage = bool(asked.stream_options and asked.stream_options.include_usage)
        self._common = {
            "id": f"chatcmpl-{secrets.token_hex(12)}",
            "created": int(time.time()),
            "model": asked.model,
            "system_fingerprint": "fp_corral",
        }
        self._is_first = True

    def whole(self, text: str, done: Done) -> dict[str, Any]:
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "message": message, "finish_reason": done.reason}
        return self._object("chat.completion", [choice]) | {"usage": _usage(done)}

    def chunks(self, event: Event) -> list[str]:
        if not isinstance(event, Done):
            return [self._delta({"content": event.text}, None)]
        chunks = [self._delta({}, event.reason)]
        if self._usage:
            chunks.append(server_sent(self._object("chat.completion.chunk", []) | {"usage": _usage(event)}))
        return [*chunks, server_sent("[DONE]")]

    def _delta(self, delta: dict[str, str], reason: str | None) -> str:
        if self._is_first:
            delta = {"role": "assistant"} | delta
        self._is_first = False
        return server_sent(
            self._object("chat.completion.chunk", [{"index": 0, "delta": delta, "finish_reason": reason}])
        )

    def _object(self, kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {**self._common, "object": kind, "choices": choices}


def _as_ollama(messages: list[ChatMessage]) -> list[ChatMessage]:
    """OpenAI's newer `developer` is what templates call `system`, and a tool's answer names the call, not the tool."""
    names = {call.id: call.name for message in messages for call in message.tool_calls if call.id}
    return [
        replace(
            message,
            role="system" if message.role == "developer" else message.role,
            tool_name=message.tool_name or (names.get(message.tool_call_id, "") if message.role == "tool" else ""),
        )
        for message in messages
    ]


def _usage(done: Done) -> dict[str, int]:
    total = done.prompt_tokens + done.tokens
    return {"prompt_tokens": done.prompt_tokens, "completion_tokens": done.tokens, "total_tokens": total}


def _entry(shown: str, name: Name, modified: float) -> dict[str, Any]:
    return {"id": shown, "object": "model", "created": int(modified), "owned_by": name.namespace}


def _refuse_unsupported(asked: OpenAIChatRequest) -> None:
    """What would change the answer and cannot be honoured is refused; values that change nothing pass."""
    if asked.tools:
        raise UnsupportedError("tools are not supported yet")
    if asked.response_format and asked.response_format.get("type") not in (None, "text"):
        raise UnsupportedError("response_format is not supported yet")
    if asked.n not in (None, 1):
        raise UnsupportedError("n must be 1")
    if asked.logprobs:
        raise UnsupportedError("logprobs are not supported yet")
    for name, harmless in _HARMLESS.items():
        value = getattr(asked, name)
        if value and value not in harmless:
            raise UnsupportedError(f"{name} is not supported yet")
