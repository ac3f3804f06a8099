"""Inference: one internal request, one stream of events. The HTTP dialects are translations onto this."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, replace
from typing import Protocol

from ..modelfile.parameters import Value
from ..store.errors import CorralError, InputError, InvalidNameError, MachineError, ModelNotFoundError
from ..store.local import Store
from ..store.name import Name
from .answering import Answering
from .catalog import listing
from .dialogue.history import Prompt, fit, whole
from .dialogue.parts import Called
from .dialogue.prompt import MAX_PROMPT, Draft
from .drafting import check_capabilities, draft_prompt
from .engine.process import StoppingError, UnreadRequestError
from .engine.protocol import Chunk, TokenLogprobs
from .options import (
    EngineDefaults,
    load_options,
    merged_options,
    most_tokens,
    sampling_options,
    stop_texts,
    whole_number,
)
from .relay import relayed
from .request import Completion, Cut, Done, Event, InferenceRequest, Said, Started, UnsupportedError
from .schedule.policy import USUAL_CONTEXT, Wanted
from .schedule.pool import BusyError, Pool
from .schedule.runner import ModelKey, Runner
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
    answering: Answering
    truncates: bool

    @property
    def key(self) -> ModelKey:
        return _key(self.model)

    def num_ctx(self, runner: Runner) -> int:
        """Tokens of prompt and answer together."""
        return min(self.wanted.options.num_ctx, runner.options.num_ctx)


class Watcher(Protocol):
    """Who is told what becomes of requests. Models are called by their names in the store; times are in seconds."""

    def asked(self, model: str) -> None:
        """A request wants this model."""
        ...

    def waited(self, seconds: float) -> None:
        """A request has got its slot."""
        ...

    def truncated(self, model: str) -> None:
        """Something of a prompt was left out."""
        ...

    def answered(
        self, model: str, *, prompt_tokens: int, cached: int, tokens: int, seconds_to_first: float | None
    ) -> None:
        """An answer is complete; there is no first token in one of none."""
        ...

    def failed(self, error: CorralError) -> None:
        """An answer has failed, before it began or later."""
        ...


class Inference:
    """The models of a store, answering; and those of `files`, which are in none, by what clients call them."""

    def __init__(
        self, store: Store, pool: Pool, defaults: EngineDefaults, files: Mapping[str, ModelFacts], watcher: Watcher
    ) -> None:
        self.store = store
        self.listing = listing(store)
        self.pool = pool
        self._defaults = defaults
        self._files = files
        self.watcher = watcher

    def model(self, text: str) -> ServedModel:
        """The model a client names. Raises InvalidNameError, ModelNotFoundError."""
        if not text:
            raise InputError("model is required")
        try:
            return served(self.store, Name.parse(text))
        except InvalidNameError:
            raise InputError("invalid model name") from None

    async def found(self, name: str) -> ModelFacts:
        """The model a request names, one of the files' too. Raises what `model` raises."""
        try:
            return self._files.get(name) or await asyncio.to_thread(self.model, name)
        except ModelNotFoundError:
            raise ModelNotFoundError(name) from None  # Ollama names it as it was typed here, in full elsewhere

    async def answer(self, request: InferenceRequest) -> AsyncGenerator[Event]:
        """Started, what is said as it is generated, then Done. Leaving the iteration frees the slot.

        Raises a CorralError before the first event when the request cannot be served, later when the worker dies.
        """
        started = time.perf_counter()
        try:
            async with aclosing(self._answer(request, started)) as events:
                async for event in events:
                    yield event
        except CorralError as error:
            self.watcher.failed(error)
            if isinstance(error, MachineError) and not isinstance(error, BusyError | StoppingError):
                log.error("%s", error)
            raise

    async def _answer(self, request: InferenceRequest, started: float) -> AsyncGenerator[Event]:
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
        name, options, request = str(plan.model.name), plan.options, plan.request
        async with self.pool.lease(plan.key, plan.wanted, plan.keep_alive, client=request.client) as runner:
            num_ctx = plan.num_ctx(runner)
            self.watcher.waited(time.perf_counter() - started)

            async def this() -> Runner:
                return runner

            loaded = time.perf_counter()
            prompt = await _fitted(plan, num_ctx, this)
            parser, grammar = plan.answering.begun(prompt.text)
            sampling = sampling_options(options, bias=request.logit_bias, grammar=grammar)
            stream = runner.worker.generate(
                prompt.text,
                sampling=sampling,
                stop=stop_texts(options),
                num_predict=most_tokens(options, num_ctx),
                num_ctx=num_ctx,
                num_keep=whole_number(options, "num_keep"),
                before=request.task.context if isinstance(request.task, Completion) else (),
                shifts=request.shift,
                truncates=plan.truncates,
                logprobs=request.logprobs,
                wants_tokens=request.wants_tokens,
                shown=sorted(parser.special_tokens),
                name=name,
            )
            begun = 0.0
            logprobs: list[TokenLogprobs] = []
            async with aclosing(stream):
                async for reply in stream:
                    if not begun:
                        begun = time.perf_counter()
                        if prompt.dropped or reply.truncated:
                            self.watcher.truncated(name)
                        yield _started(plan, runner, prompt, reply.truncated)
                    if isinstance(reply, Chunk):
                        logprobs += reply.logprobs
                    for part in parser.feed(reply.text) if isinstance(reply, Chunk) else parser.end():
                        if isinstance(part, Called) and part.call.index and plan.answering.is_single:
                            continue
                        yield Said(part, logprobs)
                        logprobs = []
                    if isinstance(reply, Chunk):
                        continue
                    self.watcher.answered(
                        name,
                        prompt_tokens=reply.prompt_tokens,
                        cached=reply.cached,
                        tokens=reply.tokens,
                        seconds_to_first=begun - started if reply.tokens else None,
                    )
                    yield Done(
                        reason=reply.reason,
                        total=time.perf_counter() - started,
                        load=loaded - started,
                        prompt_tokens=reply.prompt_tokens,
                        cached=reply.cached,
                        prompt=reply.prompt_seconds,
                        tokens=reply.tokens,
                        generation=reply.seconds,
                        context=reply.context,
                        stop=reply.stop,
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
        least = plan.wanted.options.num_ctx
        if plan.wanted.is_elastic:
            least = min(least, USUAL_CONTEXT)
        async with AsyncExitStack() as held:

            async def loaded() -> Runner:
                lease = self.pool.lease(plan.key, plan.wanted, plan.keep_alive, client=client, takes_slot=False)
                return await held.enter_async_context(lease)

            return await _fitted(plan, least, loaded)

    async def count(self, request: InferenceRequest) -> int:
        """The tokens of all that the model would be given, whether or not its context holds them. It is loaded for that.

        Raises a CorralError.
        """
        plan = await self._planned(replace(request, truncate=False))
        _refuse_unsupported(plan)
        try:
            return await self._count(plan)
        except UnreadRequestError:
            return await self._count(plan)

    async def _count(self, plan: _Plan) -> int:
        client = plan.request.client
        async with self.pool.lease(plan.key, plan.wanted, plan.keep_alive, client=client, takes_slot=False) as runner:

            async def this() -> Runner:
                return runner

            prompt = await _fitted(plan, 0, this)
            return await runner.worker.count(prompt.text, name=str(plan.model.name))

    async def capabilities(self, name: str) -> list[str]:
        """What a model can do, by Ollama's words. Raises what `model` raises."""
        model = await self.found(name)
        return await asyncio.to_thread(lambda: model.capabilities)  # its template may be slow to parse

    async def load(self, request: InferenceRequest) -> Done:
        """Only load the model, or unload it when keep_alive is 0."""
        started = time.perf_counter()
        model = await self._asked(request)
        keep_alive = self._keep_alive(request)
        if keep_alive == 0:
            self.pool.unload(_key(model))
            return Done(reason="unload", total=time.perf_counter() - started, load=0.0)
        await asyncio.to_thread(check_capabilities, model, request)
        wanted = load_options(model, merged_options(model, request.options), self._defaults)
        async with self.pool.lease(_key(model), wanted, keep_alive, client=request.client, takes_slot=False):
            seconds = time.perf_counter() - started
        return Done(reason="load", total=seconds, load=seconds)

    async def _planned(self, request: InferenceRequest) -> _Plan:
        model = await self._asked(request)
        # In a thread: which template is used depends on what they can do, and parsing them may be slow; so may a schema.
        draft = await asyncio.to_thread(draft_prompt, model, request)
        answering = await asyncio.to_thread(Answering.of, model, request, draft)
        options = merged_options(model, request.options)
        if request.number and (seed := whole_number(options, "seed")) >= 0:
            options["seed"] = seed + request.number
        return _Plan(
            request,
            model,
            draft,
            options,
            load_options(model, options, self._defaults),
            self._keep_alive(request),
            answering,
            self.truncates(options, request.truncate),
        )

    def truncates(self, options: Mapping[str, object], wanted: bool | None) -> bool:  # noqa: FBT001 a field of requests
        """Whether what is too long is cut: as the request says, or else the model's options, or else the server."""
        given = options.get("truncate") if wanted is None else wanted
        return self._defaults.truncates if given is None else given is True

    async def _asked(self, request: InferenceRequest) -> ModelFacts:
        model = await self.found(request.model)
        self.watcher.asked(str(model.name))
        return model

    def _keep_alive(self, request: InferenceRequest) -> float:
        return self._defaults.keep_alive if request.keep_alive is None else request.keep_alive


def _started(plan: _Plan, runner: Runner, prompt: Prompt, truncated: int) -> Started:
    num_ctx, asked = plan.num_ctx(runner), whole_number(plan.options, "num_ctx")
    cut = Cut(prompt.dropped, truncated) if prompt.dropped or truncated else None
    if cut:
        text = "%s: %d of the oldest messages and %d prompt tokens left out to fit num_ctx, %d"
        log.warning(text, plan.model.name, cut.messages, cut.tokens, num_ctx)
    return Started(num_ctx=num_ctx, asked_ctx=asked if asked > num_ctx else 0, cut=cut)


async def _fitted(plan: _Plan, least: int, loaded: Callable[[], Awaitable[Runner]]) -> Prompt:
    """The prompt; the model is asked for only when the text depends on its tokens, or a context of `least` is too small."""
    name, draft = str(plan.model.name), plan.draft
    if draft.templates.mentions_tokens:
        facts = (await loaded()).worker.loaded
        draft = replace(draft, templates=replace(draft.templates, bos=facts.bos, eos=facts.eos, infill=facts.infill))

    async def fits(text: str, more: int) -> bool:
        runner = await loaded()
        return await runner.worker.count(text, name=name) + more < plan.num_ctx(runner)  # one is left to the answer

    prompt = await (fit(draft, least - 1, fits) if plan.truncates else whole(draft))
    if (size := len(prompt.text)) > MAX_PROMPT:
        raise InputError(f"the prompt has {size} characters, at most {MAX_PROMPT} are taken")
    return prompt


def _refuse_unsupported(plan: _Plan) -> None:
    """What would be silently ignored in the answer is refused instead."""
    if any(message.images for message in plan.draft.conversation.messages):
        raise UnsupportedError("images are not supported yet")


def _key(model: ModelFacts) -> ModelKey:
    return ModelKey(str(model.name), model.digest, model.weights, model.adapters)
