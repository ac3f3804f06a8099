"""The objects of Anthropic's dialect: whole messages, and the events of streamed ones."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from typing import Any, Literal

from ...modelfile.template.conversation import ToolCall
from ..dialogue.parts import Called, Content, Part, Thought
from ..request import Done, Event, Said, Started
from .stream import Answer, notes, server_sent

_REASONS = {"stop": "end_turn", "length": "max_tokens"}


class MessageReply:
    """One message."""

    def __init__(self, model: str, *, stops: Sequence[str]) -> None:
        """`stops` are the stop sequences that were asked for."""
        self._stops = stops
        self._common: dict[str, Any] = {
            "id": f"msg_{secrets.token_hex(12)}",
            "type": "message",
            "role": "assistant",
            "model": model,
        }
        self._notes: dict[str, Any] = {}
        self._index = 0
        """Of the block that is open, or comes next."""
        self._open: Literal["", "thinking", "text"] = ""
        self._has_called = False

    def whole(self, answer: Answer) -> dict[str, Any]:
        """All of it, for who does not stream."""
        content: list[dict[str, Any]] = []
        if answer.thinking:
            content.append({"type": "thinking", "thinking": answer.thinking, "signature": ""})
        if answer.content:
            content.append({"type": "text", "text": answer.content})
        content += [_call(call) | {"input": call.arguments or {}} for call in answer.calls]
        ending = self._ending(answer.done, calls=bool(answer.calls)) | {"usage": _usage(answer.done)}
        return self._common | {"content": content} | ending | notes(answer.started)

    def events(self, event: Event) -> list[str]:
        """What a stream says of an event."""
        match event:
            case Started():
                self._notes = notes(event)
                # How many tokens the prompt has is known at the end.
                unknown = _usage(Done(reason="", total=0, load=0))
                begun: dict[str, Any] = {"content": [], "stop_reason": None, "stop_sequence": None, "usage": unknown}
                return [named({"type": "message_start", "message": self._common | begun})]
            case Said(part):
                return self._said(part)
            case Done():
                delta = {"delta": self._ending(event, calls=self._has_called), "usage": _usage(event)}
                last = named({"type": "message_delta", **delta, **self._notes})
                return [*self._close(), last, named({"type": "message_stop"})]

    def _ending(self, done: Done, *, calls: bool) -> dict[str, Any]:
        if calls and done.reason == "stop":
            return {"stop_reason": "tool_use", "stop_sequence": None}
        if done.stop in self._stops:  # else it is one of the model's own, which is an end like any other
            return {"stop_reason": "stop_sequence", "stop_sequence": done.stop}
        return {"stop_reason": _REASONS.get(done.reason, done.reason), "stop_sequence": None}

    def _said(self, part: Part) -> list[str]:
        match part:
            case Thought(text):
                begun = self._begin("thinking", {"thinking": "", "signature": ""})
                return [*begun, self._delta("thinking_delta", thinking=text)]
            case Content(text):
                return [*self._begin("text", {"text": ""}), self._delta("text_delta", text=text)]
            case Called(call):
                self._has_called = True
                arguments = json.dumps(call.arguments or {}, ensure_ascii=False, separators=(",", ":"))
                before = self._close()
                start = self._block("start", content_block=_call(call) | {"input": {}})
                return [*before, start, self._delta("input_json_delta", partial_json=arguments), self._stop()]

    def _begin(self, kind: Literal["thinking", "text"], empty: dict[str, str]) -> list[str]:
        """Begin a block of this type, unless one is open."""
        if self._open == kind:
            return []
        before = self._close()
        self._open = kind
        return [*before, self._block("start", content_block={"type": kind, **empty})]

    def _close(self) -> list[str]:
        """End the block that is open, if any."""
        if not self._open:
            return []
        # Clients keep the thoughts whose signature they have seen.
        signed = [self._delta("signature_delta", signature="")] if self._open == "thinking" else []
        self._open = ""
        return [*signed, self._stop()]

    def _stop(self) -> str:
        ended = self._block("stop")
        self._index += 1
        return ended

    def _delta(self, kind: str, **more: str) -> str:
        return self._block("delta", delta={"type": kind, **more})

    def _block(self, what: str, **more: dict[str, Any]) -> str:
        return named({"type": f"content_block_{what}", "index": self._index, **more})


def named(event: dict[str, Any]) -> str:
    """A server-sent event that has its type as a name, too."""
    return f"event: {event['type']}\n{server_sent(event)}"


def _call(call: ToolCall) -> dict[str, Any]:
    return {"type": "tool_use", "id": call.id, "name": call.name}


def _usage(done: Done) -> dict[str, int]:
    return {
        "input_tokens": done.prompt_tokens - done.cached,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": done.cached,
        "output_tokens": done.tokens,
    }
