"""EmbedLoop: texts to vectors, those of several requests in one batch. One thread runs the loop and owns the embedder;
requests come in by a queue.

A text is evaluated whole, since a model that looks at a text from both ends cannot be given it in parts. Requests take
turns, a text each, so that a long list holds up nobody.
"""

from __future__ import annotations

import queue
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from .decoder import DecodeError
from .protocol import Cancel, Embed, Embedded, Failed, Loaded, Reply

Vector: TypeAlias = npt.NDArray[np.float32]

TOO_LONG = "the input length exceeds the context length"
_TOO_LONG_HINT = "shorten it, set num_ctx higher if the model allows it, or let it be cut: truncate true"


class Embedder(Protocol):
    """A loaded model that gives a vector for a text. Used by one thread only, but for `tokenize`."""

    num_ctx: int
    """Tokens a text may have."""
    num_batch: int
    """Tokens a batch may hold, for it to be evaluated fast; a text that is longer makes a batch of its own."""
    slots: int
    """Texts a batch may hold."""
    ending: int
    """How many tokens the model wants at the end of every text."""

    def describe(self) -> Loaded:
        """What the server needs to know of the model."""
        ...

    def tokenize(self, text: str) -> list[int]:
        """The text's tokens with those the model wants around it, at least one.

        For any thread, also while a batch is evaluated.
        """
        ...

    def embed(self, texts: Sequence[Sequence[int]]) -> list[Vector]:
        """The vector of each text, of any length. Raises DecodeError."""
        ...


@dataclass(slots=True, eq=False)
class _Job:
    """A request, and what of it is done."""

    request: Embed
    texts: list[list[int]]
    taken: int = 0
    """How many of the texts were put into a batch."""
    vectors: list[bytes] = field(default_factory=list[bytes])
    truncated: int = 0
    """Tokens that were left out."""


_Batch: TypeAlias = list[tuple[_Job, list[int]]]


class EmbedLoop:
    """Serves requests on an embedder. `submit` may be called from any thread; `run` is the loop."""

    def __init__(self, embedder: Embedder, send: Callable[[list[Reply]], None], *, deterministic: bool = False) -> None:
        self._embedder = embedder
        self._send = send
        self._most = 1 if deterministic else embedder.slots
        self._inbox: queue.SimpleQueue[_Job | Cancel | None] = queue.SimpleQueue()
        self._open: dict[int, _Job] = {}
        """The requests that are not answered."""
        self._turns: deque[_Job] = deque()
        """Those of them that have texts left for the next batch."""
        self._newest = -1
        self._cancelled: set[int] = set()
        """Requests that were cancelled before they came: a long text takes a while to be cut into tokens."""

    def submit(self, request: Embed | Cancel | None) -> None:
        """Hand a request over; None ends the loop. Texts are cut into tokens here, in the caller's thread.

        Requests come in the order of their numbers; a Cancel may overtake what it cancels.
        """
        if isinstance(request, Embed):
            self._inbox.put(_Job(request, [self._embedder.tokenize(text) for text in request.texts]))
        else:
            self._inbox.put(request)

    def run(self) -> None:
        """Serve until None is submitted."""
        while self._take_requests():
            self._evaluate(self._next_batch())

    def _take_requests(self) -> bool:
        """Take what has come in, waiting for something when there is nothing to do. False: the loop should end."""
        while True:
            try:
                item = self._inbox.get(block=not self._open)
            except queue.Empty:
                return True
            if item is None:
                return False
            if isinstance(item, Cancel):
                self._open.pop(item.id, None)
                if item.id > self._newest:
                    self._cancelled.add(item.id)
            else:
                self._receive(item)

    def _receive(self, job: _Job) -> None:
        request, limit, count = job.request, self._embedder.num_ctx, len(job.texts)
        self._newest = request.id
        is_cancelled = request.id in self._cancelled
        self._cancelled = {other for other in self._cancelled if other > request.id}
        if is_cancelled:
            return
        for number, text in enumerate(job.texts, 1):
            if len(text) > limit and not request.truncates:
                which = f"text {number} of {count}" if count > 1 else "the text"
                error = f"{TOO_LONG}: {which} has {len(text)} tokens, at most {limit} are taken"
                self._send([Failed(request.id, error, is_input=True, hint=_TOO_LONG_HINT)])
                return
        job.truncated = sum(max(0, len(text) - limit) for text in job.texts)
        job.texts = [self._fitted(text) for text in job.texts]
        self._open[request.id] = job
        if job.texts:
            self._turns.append(job)
        else:
            self._answer(job)

    def _fitted(self, text: list[int]) -> list[int]:
        """The beginning of a text that is too long, and the tokens that the model wants at the end."""
        limit, ending = self._embedder.num_ctx, self._embedder.ending
        return text if len(text) <= limit else text[: limit - ending] + text[len(text) - ending :]

    def _next_batch(self) -> _Batch:
        """A text of each request in turn, until the batch is full. Whose text does not fit any more is first next time."""
        batch: _Batch = []
        room = self._embedder.num_batch
        while self._turns and len(batch) < self._most:
            job = self._turns[0]
            text = job.texts[job.taken]
            if job.request.id in self._open:
                if batch and len(text) > room:
                    break
                batch.append((job, text))
                room -= len(text)
                job.taken += 1
                if job.taken < len(job.texts):
                    self._turns.append(job)
            self._turns.popleft()
        return batch

    def _evaluate(self, batch: _Batch) -> None:
        """Evaluate a batch, and where that fails each text alone: a bad one harms only its own request."""
        if not batch:
            return
        try:
            vectors = self._embedder.embed([text for _, text in batch])
        except DecodeError as error:
            if len(batch) == 1:
                self._fail(batch[0][0], str(error))
            else:
                for entry in batch:
                    self._evaluate([entry])
            return
        for (job, _), vector in zip(batch, vectors, strict=True):
            if not np.isfinite(vector).all():
                self._fail(job, "embedding contains NaN or Inf values")
                continue
            job.vectors.append(normalised(vector).tobytes())
            if len(job.vectors) == len(job.texts):
                self._answer(job)

    def _fail(self, job: _Job, error: str) -> None:
        if self._open.pop(job.request.id, None):
            self._send([Failed(job.request.id, error)])

    def _answer(self, job: _Job) -> None:
        if self._open.pop(job.request.id, None):
            self._send([Embedded(job.request.id, job.vectors, sum(map(len, job.texts)), job.truncated)])


def normalised(vector: Vector) -> Vector:
    """The vector with length 1, little-endian; a zero vector stays zero."""
    wide = vector.astype(np.float64)
    length = float(np.linalg.norm(wide))
    return (wide / length if length else wide).astype("<f4")
