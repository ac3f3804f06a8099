"""Inference: one internal request, one stream of events. The HTTP dialects are translations onto this."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, replace

from ..modelfile.parameters import Value
from ..store.errors import InputError, InvalidNameError, ModelNotFoundError
from ..store.local import Store
from ..store.name import Name
from .dialogue.history import Prompt, fit
from .dialogue.prompt import MAX_PROMPT, Draft
from .drafting import check_capabilities, draft_prompt
from .engine.process import UnreadRequestError, Worker
from .engine.protocol import Chunk
from .options import EngineDefaults, load_options, merged_options, most_tokens, sampling_options, stop_texts, whole
from .relay import relayed
from .request import Chat, Done, Event, InferenceRequest, Text, UnsupportedError
from .schedule.policy import Wanted
from .schedule.pool import Pool
from .schedule.runner import ModelKey
from .served import ModelFacts, ServedModel, served

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Plan:
    """A request, and all that is needed to serve it."""

    request: InferenceRequest
    model: ModelFacts
    draft: Draft
    options: dict[str, Value]
    wanted: Wanted
    keep_alive: float

    @property
    def key(self) -> ModelKey:
        return _key(self.model)


class Inference:
    """The models of a store, answering; and those of `files`, which are in none, by what clients call them."""

    def __init__(self, store: Store, pool: Pool, defaults: EngineDefaults, files: Mapping[str, ModelFacts]) -> None:
        self.store = store
        self.pool = pool
        self._defaults = defaults
        self._files = files

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
        plan = await self._planned(request)
        _refuse_unsupported(plan)
        may_retry = True
        while True:
            try:
                # A client who reads slowly shall not keep his slot longer than it takes to answer him.
                async with aclosing(relayed(self._attempt(plan, started))) as events:
                    async for event in events:
                        may_retry = False
                        yield event
            except UnreadRequestError:  # the worker died while it was idle, which is nothing to this client
                if not may_retry:
                    raise
                may_retry = False
            else:
                return

    async def _attempt(self, plan: _Plan, started: float) -> AsyncGenerator[Event]:
        name, options = str(plan.model.name), plan.options
        async with self.pool.lease(plan.key, plan.wanted, plan.keep_alive, client=plan.request.client) as runner:
            num_ctx = min(plan.wanted.options.num_ctx, runner.options.num_ctx)

            async def worker() -> Worker:
                return runner.worker

            loaded = time.perf_counter()
            prompt = await _fitted(plan, num_ctx, worker)
            stream = runner.worker.generate(
                prompt.text,
                sampling=sampling_options(options, num_ctx),
                stop=stop_texts(options),
                num_predict=most_tokens(options, num_ctx),
                num_ctx=num_ctx,
                num_keep=whole(options, "num_keep"),
                shifts=plan.request.shift,
                name=name,
            )
            async with aclosing(stream):
                async for reply in stream:
                    if isinstance(reply, Chunk):
                        yield Text(reply.text)
                        continue
                    if reply.truncated:
                        log.warning("%s: %d prompt tokens left out to fit num_ctx", name, reply.truncated)
                    yield Done(
                        reason=reply.reason,
                        total=time.perf_counter() - started,
                        load=loaded - started,
                        prompt_tokens=reply.prompt_tokens,
                        prompt=reply.prompt_seconds,
                        tokens=reply.tokens,
                        generation=reply.seconds,
                    )

    async def prompt(self, request: InferenceRequest) -> Prompt:
        """What the model would be given. It is loaded only where its tokens matter. Raises a CorralError."""
        plan = await self._planned(request)
        try:
            return await self._prompt(plan)
        except UnreadRequestError:
            return await self._prompt(plan)

    async def _prompt(self, plan: _Plan) -> Prompt:
        client = plan.request.client
        async with AsyncExitStack() as held:

            async def worker() -> Worker:
                lease = self.pool.lease(plan.key, plan.wanted, plan.keep_alive, client=client, takes_slot=False)
                return (await held.enter_async_context(lease)).worker

            return await _fitted(plan, plan.wanted.options.num_ctx, worker)

    async def load(self, request: InferenceRequest) -> Done:
        """Only load the model, or unload it when keep_alive is 0."""
        started = time.perf_counter()
        model = await self._asked(request)
        keep_alive = self._keep_alive(request)
        if keep_alive == 0:
            self.pool.unload(_key(model))
            return Done(reason="unload", total=time.perf_counter() - started, load=0.0)
        await asyncio.to_thread(check_capabilities, model, request)
        wanted = await self._wanted(model, merged_options(model, request.options))
        async with self.pool.lease(_key(model), wanted, keep_alive, client=request.client, takes_slot=False):
            seconds = time.perf_counter() - started
        return Done(reason="load", total=seconds, load=seconds)

    async def _planned(self, request: InferenceRequest) -> _Plan:
        model = await self._asked(request)
        # In a thread: which template is used depends on what they can do, and parsing them may be slow.
        draft = await asyncio.to_thread(draft_prompt, model, request)
        options = merged_options(model, request.options)
        wanted = await self._wanted(model, options)
        return _Plan(request, model, draft, options, wanted, self._keep_alive(request))

    async def _wanted(self, model: ModelFacts, options: Mapping[str, Value]) -> Wanted:
        # In a thread: the engine may be asked for its devices.
        return await asyncio.to_thread(load_options, model, options, self._defaults, self.pool.placer.vram)

    async def _asked(self, request: InferenceRequest) -> ModelFacts:
        if model := self._files.get(request.model):
            return model
        try:
            return await asyncio.to_thread(self.model, request.model)
        except ModelNotFoundError:
            raise ModelNotFoundError(request.model) from None  # Ollama names it as it was typed here, in full elsewhere

    def _keep_alive(self, request: InferenceRequest) -> float:
        return self._defaults.keep_alive if request.keep_alive is None else request.keep_alive


async def _fitted(plan: _Plan, num_ctx: int, worker: Callable[[], Awaitable[Worker]]) -> Prompt:
    """The prompt; the worker is asked for only when the text depends on the model's tokens."""
    name, draft = str(plan.model.name), plan.draft
    if draft.templates.mentions_tokens:
        facts = (await worker()).loaded
        draft = replace(draft, templates=replace(draft.templates, bos=facts.bos, eos=facts.eos, infill=facts.infill))

    async def count(text: str) -> int:
        return await (await worker()).count(text, name=name)

    prompt = await fit(draft, num_ctx, count)
    if (size := len(prompt.text)) > MAX_PROMPT:
        raise InputError(f"the prompt has {size} characters, at most {MAX_PROMPT} are taken")
    if prompt.dropped:
        log.warning("%s: %d of the oldest messages left out to fit num_ctx", name, prompt.dropped)
    return prompt


def _refuse_unsupported(plan: _Plan) -> None:
    """What would be silently ignored in the answer is refused instead."""
    task = plan.request.task
    if task.think:
        raise UnsupportedError("thinking is not supported yet")
    if isinstance(task, Chat) and task.tools:
        raise UnsupportedError("tools are not supported yet")
    if any(message.images for message in plan.draft.conversation.messages):
        raise UnsupportedError("images are not supported yet")


def _key(model: ModelFacts) -> ModelKey:
    return ModelKey(str(model.name), model.digest, model.weights, model.adapters)
