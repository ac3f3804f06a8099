"""Embedding: one internal request for vectors and its answer. The HTTP dialects are translations onto this."""

from __future__ import annotations

import asyncio
import math
import struct
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import msgspec

from ..store.errors import InputError
from .dialogue.prompt import MAX_PROMPT
from .engine.process import UnreadRequestError
from .engine.protocol import Embedded
from .inference import Inference
from .options import EngineDefaults, load_options, merged_options
from .request import Completion, Cut, InferenceRequest, UnsupportedError
from .schedule.policy import Wanted
from .schedule.runner import ModelKey
from .served import ModelFacts

MAX_TEXTS = 8192
"""Texts of a request; together they are no longer than a prompt."""
_SLOTS = 32
"""Texts in a batch, and requests at once."""
_BATCH = 256
"""Tokens in a batch. Each is compared with all others of it, those of other texts for nothing, so that larger batches are
slower: twice with 2048 tokens of MiniLM.
"""


class NoEmbeddingsError(UnsupportedError):
    """A model that generates text is asked for embeddings."""

    def __init__(self, model: str) -> None:
        super().__init__(f'"{model}" does not support embeddings: ask an embedding model, e.g. all-minilm')
        self.model = model


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingRequest:
    """What a dialect asks for."""

    model: str
    texts: Sequence[str]
    truncate: bool | None = None
    """Whether a text that is too long is cut; else the request is refused. Unsaid, the model or the server says it."""
    dimensions: int = 0
    """How many numbers of each vector are wanted; all where there are no more, or with 0 and less."""
    options: Mapping[str, object] = field(default_factory=dict[str, object])
    keep_alive: float | None = None
    client: str = ""
    """Who asks: clients take turns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Embeddings:
    """The answer. Times are in seconds."""

    vectors: list[bytes]
    """In the order of the texts: little-endian 32-bit floats."""
    tokens: int
    total: float
    load: float
    cut: Cut | None = None
    """What was left out of texts that are too long."""


class Embedding:
    """The embedding models among those that an Inference knows."""

    def __init__(self, inference: Inference, defaults: EngineDefaults) -> None:
        self._inference = inference
        self._defaults = defaults

    async def embed(self, request: EmbeddingRequest) -> Embeddings:
        """The vectors of the texts; without texts the model is only loaded. Raises a CorralError."""
        started = time.perf_counter()
        check_size(request.texts)
        model = await self._inference.found(request.model)
        if "embedding" not in model.capabilities:
            return await self._loaded(request)
        wanted = self._wanted(model, request.options)
        keep_alive = self._defaults.keep_alive if request.keep_alive is None else request.keep_alive
        try:
            loaded, reply = await self._attempt(model, wanted, keep_alive, request)
        except UnreadRequestError:  # the worker died while it was idle, which is nothing to this client
            loaded, reply = await self._attempt(model, wanted, keep_alive, request)
        vectors = await asyncio.to_thread(lambda: [cut(vector, request.dimensions) for vector in reply.vectors])
        if reply.truncated:
            self._inference.watcher.truncated(str(model.name))
        return Embeddings(
            vectors=vectors,
            tokens=reply.tokens,
            total=time.perf_counter() - started,
            load=loaded - started,
            cut=Cut(tokens=reply.truncated) if reply.truncated else None,
        )

    async def _loaded(self, request: EmbeddingRequest) -> Embeddings:
        """As in Ollama, any model can be loaded by asking it for nothing."""
        if request.texts:
            raise NoEmbeddingsError(request.model)
        nothing = InferenceRequest(
            model=request.model,
            task=Completion(prompt=""),
            options=request.options,
            keep_alive=request.keep_alive,
            client=request.client,
        )
        done = await self._inference.load(nothing)
        return Embeddings(vectors=[], tokens=0, total=done.total, load=done.load)

    async def _attempt(
        self, model: ModelFacts, wanted: Wanted, keep_alive: float, request: EmbeddingRequest
    ) -> tuple[float, Embedded]:
        key = ModelKey(str(model.name), model.digest, model.weights, model.adapters)
        async with self._inference.pool.lease(
            key, wanted, keep_alive, client=request.client, takes_slot=bool(request.texts)
        ) as runner:
            loaded = time.perf_counter()
            if not request.texts:
                return loaded, Embedded(0, [], 0)
            truncates = self._inference.truncates(merged_options(model, request.options), request.truncate)
            return loaded, await runner.worker.embed(request.texts, truncates=truncates, name=str(model.name))

    def _wanted(self, model: ModelFacts, asked: Mapping[str, object]) -> Wanted:
        options = merged_options(model, asked)
        wanted = load_options(model, options, self._defaults)
        num_batch = wanted.options.num_batch if options.get("num_batch") else _BATCH
        fitting = msgspec.structs.replace(wanted.options, embeds=True, slots=_SLOTS, num_batch=num_batch)
        return replace(wanted, options=fitting)


def check_size(texts: Sequence[str]) -> None:
    """Raises InputError for more texts, or longer ones, than a request may have."""
    if len(texts) > MAX_TEXTS:
        raise InputError(f"{len(texts)} texts, at most {MAX_TEXTS} are taken at once")
    if (size := sum(map(len, texts))) > MAX_PROMPT:
        raise InputError(f"the texts have {size} characters, at most {MAX_PROMPT} are taken at once")


def cut(vector: bytes, dimensions: int) -> bytes:
    """The vector's first numbers, with length 1 again."""
    if not 0 < dimensions < len(vector) // 4:
        return vector
    beginning = vector[: 4 * dimensions]
    length = math.hypot(*numbers_of(beginning))
    return (
        struct.pack(f"<{dimensions}f", *(number / length for number in numbers_of(beginning))) if length else beginning
    )


def numbers_of(vector: bytes) -> tuple[float, ...]:
    """A vector's numbers."""
    return struct.unpack(f"<{len(vector) // 4}f", vector)
