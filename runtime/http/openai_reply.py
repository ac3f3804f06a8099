"""The objects of OpenAI's dialect: whole completions, and the chunks of streamed ones."""

from __future__ import annotations

import json
import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from ...modelfile.template.conversation import ToolCall
from ..dialogue.parts import Called, Content, Thought
from ..engine.protocol import TokenLogprobs
from ..request import Done, Said, Started
from .choices import Choice
from .logprobs import logprob_objects
from .stream import Answer, notes, server_sent


class Reply(ABC):
    """The objects of one completion: they share an id and a time."""

    id_prefix: ClassVar[str]
    kind: ClassVar[str]
    chunk_kind: ClassVar[str]

    def __init__(self, model: str, *, choices: int, usage: bool) -> None:
        """`choices` is how many answers there will be; with `usage` a stream ends with the numbers of tokens."""
        self._choices = choices
        self._usage = usage
        self._common: dict[str, Any] = {
            "id": f"{self.id_prefix}-{secrets.token_hex(12)}",
            "created": int(time.time()),
            "model": model,
            "system_fingerprint": "fp_corral",
        }
        self._notes: dict[str, Any] = {}
        self._done: list[Done] = []
        self._calling: set[int] = set()
        """Choices that have called a tool."""

    def whole(self, answers: Sequence[Answer]) -> dict[str, Any]:
        """All of it, for who does not stream."""
        choices = [self.choice(answer) | {"index": index} for index, answer in enumerate(answers)]
        usage = {"usage": _usage([answer.done for answer in answers])}
        return self._object(self.kind, choices) | usage | notes(answers[0].started)

    def chunks(self, choice: Choice) -> list[str]:
        """What a stream says of an event."""
        index, event = choice
        match event:
            case Started():
                self._notes = notes(event)
                return [self._chunk(index, delta) for delta in self.beginning()]
            case Said():
                if isinstance(event.part, Called):
                    self._calling.add(index)
                return [self._chunk(index, delta) for delta in self.said(event)]
            case Done():
                self._done.append(event)
                last = self._chunk(index, self.ending(event, calls=index in self._calling))
                return [last, *(self._end() if len(self._done) == self._choices else [])]

    @abstractmethod
    def choice(self, answer: Answer) -> dict[str, Any]:
        """A whole answer."""

    @abstractmethod
    def beginning(self) -> list[dict[str, Any]]:
        """How a choice begins."""

    @abstractmethod
    def said(self, said: Said) -> list[dict[str, Any]]:
        """Some of a choice."""

    @abstractmethod
    def ending(self, done: Done, *, calls: bool) -> dict[str, Any]:
        """How it ends."""

    def _end(self) -> list[str]:
        usage = self._object(self.chunk_kind, []) | {"usage": _usage(self._done)}
        return [*([server_sent(usage)] if self._usage else []), server_sent("[DONE]")]

    def _chunk(self, index: int, choice: dict[str, Any]) -> str:
        is_last = choice.get("finish_reason") is not None
        chunk = self._object(self.chunk_kind, [{"index": index, **choice}])
        return server_sent(chunk | (self._notes if is_last else {}))

    def _object(self, kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {**self._common, "object": kind, "choices": choices}


class ChatReply(Reply):
    """Of /v1/chat/completions."""

    id_prefix, kind, chunk_kind = "chatcmpl", "chat.completion", "chat.completion.chunk"

    def choice(self, answer: Answer) -> dict[str, Any]:
        """See Reply."""
        message: dict[str, Any] = {"role": "assistant", "content": answer.content}
        if answer.thinking:
            message |= _reasoning(answer.thinking)
        if answer.calls:
            message["tool_calls"] = [_call(call) for call in answer.calls]
        return {"message": message, "finish_reason": _reason(answer.done, calls=bool(answer.calls))} | _logprobs(
            answer.logprobs
        )

    def beginning(self) -> list[dict[str, Any]]:
        """See Reply."""
        return [_delta({"role": "assistant", "content": ""})]

    def said(self, said: Said) -> list[dict[str, Any]]:
        """See Reply."""
        match said.part:
            case Content(text):
                delta: dict[str, Any] = {"content": text}
            case Thought(text):
                delta = _reasoning(text)
            case Called(call):
                delta = {"tool_calls": [_call(call)]}
        return [_delta(delta) | _logprobs(said.logprobs)]

    def ending(self, done: Done, *, calls: bool) -> dict[str, Any]:
        """See Reply."""
        return {"delta": {}, "finish_reason": _reason(done, calls=calls)}


class CompletionReply(Reply):
    """Of /v1/completions."""

    id_prefix, kind, chunk_kind = "cmpl", "text_completion", "text_completion"

    def __init__(self, model: str, *, choices: int, usage: bool, echoed: str = "") -> None:
        """`echoed` is the prompt, where it is to come before the answer."""
        super().__init__(model, choices=choices, usage=usage)
        self._echoed = echoed

    def choice(self, answer: Answer) -> dict[str, Any]:
        """See Reply."""
        logprobs = _text_logprobs(answer.logprobs) if answer.logprobs else None
        return {"text": self._echoed + answer.content, "logprobs": logprobs, "finish_reason": answer.done.reason}

    def beginning(self) -> list[dict[str, Any]]:
        """See Reply."""
        return [{"text": self._echoed, "finish_reason": None}] if self._echoed else []

    def said(self, said: Said) -> list[dict[str, Any]]:
        """See Reply."""
        if not isinstance(said.part, Content):
            return []
        logprobs = {"logprobs": _text_logprobs(said.logprobs)} if said.logprobs else {}
        return [{"text": said.part.text, "finish_reason": None} | logprobs]

    def ending(self, done: Done, *, calls: bool) -> dict[str, Any]:
        """See Reply."""
        assert not calls, "no tools were offered"
        return {"text": "", "finish_reason": done.reason}


def _delta(delta: dict[str, Any]) -> dict[str, Any]:
    return {"delta": delta, "finish_reason": None}


def _reasoning(text: str) -> dict[str, Any]:
    """By the name that Ollama gives it, and by that which others read."""
    return {"reasoning": text, "reasoning_content": text}


def _call(call: ToolCall) -> dict[str, Any]:
    arguments = json.dumps(call.arguments or {}, ensure_ascii=False, separators=(",", ":"))
    function = {"name": call.name, "arguments": arguments}
    return {"index": call.index, "id": call.id, "type": "function", "function": function}


def _reason(done: Done, *, calls: bool) -> str:
    return "tool_calls" if calls and done.reason == "stop" else done.reason


def _logprobs(logprobs: Sequence[TokenLogprobs]) -> dict[str, Any]:
    return {"logprobs": {"content": logprob_objects(logprobs)}} if logprobs else {}


def _text_logprobs(logprobs: Sequence[TokenLogprobs]) -> dict[str, Any]:
    """In the shape of the older API."""
    objects = logprob_objects(logprobs)
    return {
        "tokens": [one["token"] for one in objects],
        "token_logprobs": [one["logprob"] for one in objects],
        "top_logprobs": [{top["token"]: top["logprob"] for top in one["top_logprobs"]} for one in objects],
    }


def _usage(done: Sequence[Done]) -> dict[str, Any]:
    """The prompt counts once, however many answers it gets."""
    prompt, tokens = done[0].prompt_tokens, sum(one.tokens for one in done)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": tokens,
        "total_tokens": prompt + tokens,
        "prompt_tokens_details": {"cached_tokens": done[0].cached},
    }
