"""OpenAI's dialect: /v1/models, /v1/chat/completions and /v1/completions onto Inference."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ...store.errors import InputError
from ...store.name import Name
from ..inference import Inference
from ..request import Chat, Completion, InferenceRequest
from .choices import Choice, all_of, answers, requests_for
from .errors import answering, openai_body, openai_error
from .messages import conversation, tool_objects
from .openai_reply import ChatReply, CompletionReply, Reply
from .openai_types import ChatCompletionRequest, CompletionRequest, OpenAIRequest
from .routes import get_only
from .stream import client_of, headers, read_body, respond, server_sent, while_connected
from .types import decode


class OpenAIDialect:
    """The handlers, over one Inference."""

    def __init__(self, inference: Inference) -> None:
        self._inference = inference

    def routes(self) -> list[Route]:
        """Method and path of every handler."""
        return [
            get_only("/v1/models", answering(self.models, openai_error)),
            get_only("/v1/models/{model:path}", answering(self.model, openai_error)),
            Route("/v1/chat/completions", answering(self.chat, openai_error), methods=["POST"]),
            Route("/v1/completions", answering(self.complete, openai_error), methods=["POST"]),
        ]

    async def models(self, _: Request) -> Response:
        """The models of the store."""
        models = await asyncio.to_thread(self._inference.listing.models)
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
        asked = decode(await read_body(request), ChatCompletionRequest)
        asked.check()
        if not asked.messages:
            raise InputError("[] is too short - 'messages'")
        calls, tool = asked.calls
        task = Chat(
            messages=conversation(asked.messages),
            tools=tool_objects(asked.tools or ()),
            think=asked.think,
            calls=calls,
            tool=tool,
            is_single=asked.parallel_tool_calls is False,
        )
        wanted = InferenceRequest(
            model=asked.model or "",
            task=task,
            options=asked.sampling(asked.max_completion_tokens or asked.max_tokens),
            keep_alive=asked.lasting,
            format=asked.format,
            logprobs=asked.wanted_logprobs,
            logit_bias=asked.bias,
            client=client_of(request),
        )
        return await self._reply(
            request, asked, wanted, ChatReply(asked.model or "", choices=asked.choices, usage=asked.includes_usage)
        )

    async def complete(self, request: Request) -> Response:
        """Continue a prompt; as in Ollama, with the model's template."""
        asked = decode(await read_body(request), CompletionRequest)
        asked.check()
        wanted = InferenceRequest(
            model=asked.model or "",
            task=Completion(prompt=asked.text, suffix=asked.suffix or "", think=False),
            options=asked.sampling(asked.max_tokens),
            keep_alive=asked.lasting,
            logprobs=-1 if asked.logprobs is None else asked.logprobs,
            logit_bias=asked.bias,
            client=client_of(request),
        )
        echoed = asked.text if asked.echo else ""
        reply = CompletionReply(asked.model or "", choices=asked.choices, usage=asked.includes_usage, echoed=echoed)
        return await self._reply(request, asked, wanted, reply)

    async def _reply(self, request: Request, asked: OpenAIRequest, wanted: InferenceRequest, reply: Reply) -> Response:
        requests = requests_for(wanted, asked.choices)
        if not asked.stream:
            found = await while_connected(request, all_of(self._inference, requests))
            return JSONResponse(reply.whole(found), headers=headers(found[0].started))
        events: AsyncGenerator[Choice] = answers(self._inference, requests)
        return await respond(
            request,
            events,
            media_type="text/event-stream",
            said=lambda choice: headers(choice[1]),
            encode=reply.chunks,
            encode_error=lambda error: server_sent(openai_body(error)),
        )


def _entry(shown: str, name: Name, modified: float) -> dict[str, Any]:
    return {"id": shown, "object": "model", "created": int(modified), "owned_by": name.namespace}
