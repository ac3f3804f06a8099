"""Anthropic's dialect: /v1/messages and /v1/messages/count_tokens onto Inference."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ..inference import Inference
from ..request import Chat, InferenceRequest
from .anthropic_reply import MessageReply, named
from .anthropic_types import MessagesRequest
from .errors import answering, anthropic_body, anthropic_error
from .stream import client_of, collect, headers, read_body, respond, while_connected
from .types import decode


class AnthropicDialect:
    """The handlers, over one Inference."""

    def __init__(self, inference: Inference) -> None:
        self._inference = inference

    def routes(self) -> list[Route]:
        """Method and path of every handler; many a client is given a base URL that already ends in /v1."""
        return [
            Route(base + path, answering(handler, anthropic_error), methods=["POST"])
            for base in ("/v1", "/v1/v1")
            for path, handler in (("/messages", self.messages), ("/messages/count_tokens", self.count_tokens))
        ]

    async def messages(self, request: Request) -> Response:
        """Continue a conversation."""
        asked = decode(await read_body(request), MessagesRequest)
        events = self._inference.answer(await self._wanted(request, asked, asked.sampling))
        reply = MessageReply(asked.model or "", stops=asked.stop_sequences or ())
        if not asked.stream:
            answer = await collect(request, events)
            return JSONResponse(reply.whole(answer), headers=headers(answer.started))
        return await respond(
            request,
            events,
            media_type="text/event-stream",
            said=headers,
            encode=reply.events,
            encode_error=lambda error: named(anthropic_body(error)),
        )

    async def count_tokens(self, request: Request) -> Response:
        """How many tokens a conversation has."""
        asked = decode(await read_body(request), MessagesRequest)
        wanted = await self._wanted(request, asked, asked.options or {})
        return JSONResponse({"input_tokens": await while_connected(request, self._inference.count(wanted))})

    async def _wanted(self, request: Request, asked: MessagesRequest, options: dict[str, object]) -> InferenceRequest:
        asked.check()
        calls, tool = asked.calls
        think = asked.think
        if think and "thinking" not in await self._inference.capabilities(asked.model or ""):
            think = None  # such clients ask every model to think
        task = Chat(
            messages=asked.conversation,
            tools=asked.functions,
            think=think,
            calls=calls,
            tool=tool,
            is_single=asked.is_single,
        )
        return InferenceRequest(
            model=asked.model or "",
            task=task,
            options=options,
            keep_alive=asked.lasting,
            format=asked.format,
            client=client_of(request),
        )
