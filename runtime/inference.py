"""Inference: one internal request, one stream of events. The HTTP dialects are translations onto this."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TypeAlias

from ..modelfile.parameters import PARAMETERS, Value, merge_parameters, read_options
from ..modelfile.template.conversation import ChatMessage
from ..store.errors import InputError, InvalidNameError, ModelNotFoundError
from ..store.local import Store
from ..store.name import Name
from .dialogue.prompt import Templates, chat_messages, generate_messages, render_prompt
from .engine.process import UnreadRequestError
from .engine.protocol import Chunk, LoadOptions, Sampling
from .schedule.pool import ModelKey, Pool, Runner
from .served import ServedModel, served

log = logging.getLogger(__name__)

DEFAULT_CONTEXT = 4096
MAX_PROMPT = 8 << 20
"""Characters of a prompt, and of all stop texts: splitting them into tokens holds up the model's other requests."""
MAX_BATCH = 2048
"""Tokens evaluated at once: the engine allocates logits for each, and more make nothing faster."""
MAX_STOPS = 256
"""Stop texts of a request: each is looked for after every token."""
_MAX_CELLS = (1 << 31) - 1
"""Tokens a KV cache may hold; the engine counts them in 32 bits."""


@dataclass(frozen=True, slots=True)
class EngineDefaults:
    """What the environment decides for all models."""

    slots: int = 4
    num_ctx: int = 0
    """0: 4096, or the model's own context where that is smaller."""
    num_thread: int = 0
    deterministic: bool = False
    keep_alive: float = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Chat:
    """A conversation to continue."""

    messages: Sequence[ChatMessage]


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """A prompt to continue; `system` and `template` replace the model's, `raw` uses no template at all."""

    prompt: str
    system: str = ""
    template: str = ""
    raw: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class InferenceRequest:
    """What a dialect asks for."""

    model: str
    task: Chat | Completion
    options: Mapping[str, object] = field(default_factory=dict[str, object])
    keep_alive: float | None = None


@dataclass(frozen=True, slots=True)
class Text:
    """Some of the answer."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """The end of an answer. Times are in seconds."""

    reason: str
    total: float
    load: float
    prompt_tokens: int = 0
    prompt: float = 0.0
    tokens: int = 0
    generation: float = 0.0


Event: TypeAlias = Text | Done


class UnsupportedError(InputError):
    """The model, or this server, cannot do what is asked."""


class Inference:
    """The models of a store, answering."""

    def __init__(self, store: Store, pool: Pool, defaults: EngineDefaults) -> None:
        self.store = store
        self.pool = pool
        self._defaults = defaults

    def model(self, text: str) -> ServedModel:
        """The model a client names. Raises InvalidNameError, ModelNotFoundError."""
        if not text:
            raise InputError("model is required")
        try:
            return served(self.store, Name.parse(text))
        except InvalidNameError:
            raise InputError("invalid model name") from None

    async def answer(self, request: InferenceRequest) -> AsyncGenerator[Event]:
        """Text as it is generated, then Done. Leaving the iteration frees the slot.

        Raises a CorralError before the first event when the request cannot be served, later when the worker dies.
        """
        started = time.perf_counter()
        model = await self._asked(request)
        is_chat = isinstance(request.task, Chat)
        if "completion" not in model.capabilities:
            raise UnsupportedError(f'"{request.model}" does not support {"chat" if is_chat else "generate"}')
        options = self._options(model, request)
        may_retry = True
        while True:
            try:
                async with aclosing(self._attempt(model, request, options, started)) as events:
                    async for event in events:
                        may_retry = False
                        yield event
            except UnreadRequestError:  # the worker died while it was idle, which is nothing to this client
                if not may_retry:
                    raise
                may_retry = False
            else:
                return

    async def _attempt(
        self, model: ServedModel, request: InferenceRequest, options: Mapping[str, Value], started: float
    ) -> AsyncGenerator[Event]:
        load = self._load_options(model, options)
        async with self.pool.lease(_key(model), load, self._keep_alive(request)) as runner:
            loaded = time.perf_counter()
            # In a thread: the template is the model's, and may be slow.
            prompt = await asyncio.to_thread(_prompt, model, request.task, runner)
            if len(prompt) > MAX_PROMPT:
                raise InputError(f"the prompt has {len(prompt)} characters, at most {MAX_PROMPT} are taken")
            stream = runner.worker.generate(
                prompt,
                sampling=_sampling(options, load.num_ctx),
                stop=_stops(options),
                num_predict=_int(options, "num_predict"),
                num_ctx=load.num_ctx,
                num_keep=_int(options, "num_keep"),
                name=str(model.name),
            )
            async with aclosing(stream):
                async for reply in stream:
                    if isinstance(reply, Chunk):
                        yield Text(reply.text)
                        continue
                    if reply.truncated:
                        log.warning("%s: %d prompt tokens left out to fit num_ctx", model.name, reply.truncated)
                    yield Done(
                        reason=reply.reason,
                        total=time.perf_counter() - started,
                        load=loaded - started,
                        prompt_tokens=reply.prompt_tokens,
                        prompt=reply.prompt_seconds,
                        tokens=reply.tokens,
                        generation=reply.seconds,
                    )

    async def load(self, request: InferenceRequest) -> Done:
        """Only load the model, or unload it when keep_alive is 0."""
        started = time.perf_counter()
        model = await self._asked(request)
        keep_alive = self._keep_alive(request)
        if keep_alive == 0:
            self.pool.unload(model.weights)
            return Done(reason="unload", total=time.perf_counter() - started, load=0.0)
        options = self._load_options(model, self._options(model, request))
        async with self.pool.lease(_key(model), options, keep_alive):
            seconds = time.perf_counter() - started
        return Done(reason="load", total=seconds, load=seconds)

    async def _asked(self, request: InferenceRequest) -> ServedModel:
        try:
            return await asyncio.to_thread(self.model, request.model)
        except ModelNotFoundError:
            raise ModelNotFoundError(request.model) from None  # Ollama names it as it was typed here, in full elsewhere

    def _keep_alive(self, request: InferenceRequest) -> float:
        return self._defaults.keep_alive if request.keep_alive is None else request.keep_alive

    def _options(self, model: ServedModel, request: InferenceRequest) -> dict[str, Value]:
        # Models of other makers may have stored anything; what is not a parameter here has no effect.
        stored, _ = read_options(model.parameters)
        asked, ignored = read_options(request.options)
        if _int(asked, "num_ctx") <= 0:
            asked.pop("num_ctx", None)  # as if it were not given
        for name in ignored:
            log.warning("%s: option %r has no effect", model.name, name)
        return merge_parameters(stored, asked)

    def _load_options(self, model: ServedModel, options: Mapping[str, Value]) -> LoadOptions:
        trained = model.header.context_length or 1 << 20
        wanted = _positive(options, "num_ctx") or self._defaults.num_ctx or DEFAULT_CONTEXT
        threads = min(_int(options, "num_thread"), self._defaults.num_thread or len(os.sched_getaffinity(0)))
        use_mmap = options.get("use_mmap")
        return LoadOptions(
            num_ctx=max(4, min(wanted, trained, _MAX_CELLS // self._defaults.slots)),
            slots=self._defaults.slots,
            num_batch=min(_positive(options, "num_batch") or 512, MAX_BATCH),
            num_gpu=_int(options, "num_gpu"),
            main_gpu=_int(options, "main_gpu"),
            use_mmap=use_mmap is not False,
            num_thread=threads if threads > 0 else self._defaults.num_thread,
            deterministic=self._defaults.deterministic,
        )


def _key(model: ServedModel) -> ModelKey:
    return ModelKey(str(model.name), model.tagged.manifest.digest, model.weights)


def _prompt(model: ServedModel, task: Chat | Completion, runner: Runner) -> str:
    if isinstance(task, Completion) and task.raw:
        return task.prompt
    first = [ChatMessage(message.role, message.content) for message in model.messages]
    facts = runner.worker.loaded
    go = task.template if isinstance(task, Completion) and task.template else model.template
    templates = Templates(go, model.header.chat_template or "", facts.bos, facts.eos)
    if isinstance(task, Chat):
        return render_prompt(templates, chat_messages(first, model.system, task.messages), is_chat=True)
    messages = generate_messages(first, task.system or model.system, task.prompt)
    return render_prompt(templates, messages, is_chat=False)


def _sampling(options: Mapping[str, Value], num_ctx: int) -> Sampling:
    given = {name: value for name, value in options.items() if name in Sampling.__struct_fields__}
    whole = {name: _int(options, name) for name in given if PARAMETERS[name].kind == "int"}
    if whole.get("repeat_last_n", 0) > num_ctx:  # the engine allocates as many
        whole["repeat_last_n"] = num_ctx
    return Sampling(**(given | whole))  # pyright: ignore[reportArgumentType] - typed by the table


def _stops(options: Mapping[str, Value]) -> list[str]:
    value = options.get("stop")
    stops = list(dict.fromkeys(value)) if isinstance(value, list) else []
    if len(stops) > MAX_STOPS:
        raise InputError(f"{len(stops)} stop texts, at most {MAX_STOPS} are taken")
    if (size := sum(map(len, stops))) > MAX_PROMPT:
        raise InputError(f"the stop texts have {size} characters, at most {MAX_PROMPT} are taken")
    return stops


def _positive(options: Mapping[str, Value], name: str) -> int:
    """The value; 0, which is "not given", also for what is less."""
    return max(0, _int(options, name))


def _int(options: Mapping[str, Value], name: str) -> int:
    """The value, cut to what frames and the engine can carry."""
    value = options.get(name, PARAMETERS[name].default)
    return max(-(1 << 63), min(value, (1 << 63) - 1)) if isinstance(value, int) else 0
