"""Continuous batching: every step evaluates one batch, made of a token for each sequence that is generating and as much
of the waiting prompts as still fits. One thread runs the loop and owns the decoder; requests come in by a queue.
"""

from __future__ import annotations

import queue
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np

from .decoder import DecodeError, Decoder, Sampler
from .protocol import Cancel, Chunk, Failed, Finished, Generate, Reply
from .text import TextStream

_PACE = 0.025
"""Seconds between deliveries while several sequences run."""
_LEAST_SHARED = 8
"""A beginning of fewer tokens is evaluated faster than anybody could wait for it."""


@dataclass(slots=True, eq=False)
class _Running:
    request: Generate
    prompt: list[int]
    limit: int
    """Tokens the sequence may hold."""
    truncated: int
    text: TextStream
    started: float
    stop_tokens: frozenset[int]
    """Special tokens that are stop texts; they have no text of their own to find one in."""
    prompt_tokens: int = 0
    """How many the prompt had before anything was shifted."""
    evaluated: list[int] = field(default_factory=list[int])
    """The tokens that are in the cache."""
    has_shifted: bool = False
    sampler: Sampler | None = None
    slot: int = -1
    pending: int = -1
    """The last token sampled, not yet evaluated."""
    generated: int = 0
    first_token: float = 0.0
    donor: _Running | None = None
    """Who evaluates, or has evaluated, the first `shared` tokens of this prompt too."""
    shared: int = 0

    @property
    def done(self) -> int:
        """How many tokens are in the cache."""
        return len(self.evaluated)

    @property
    def is_prefilling(self) -> bool:
        return self.done < len(self.prompt)


@dataclass(slots=True)
class _Batch:
    size: int = 0
    tokens: list[int] = field(default_factory=list[int])
    positions: list[int] = field(default_factory=list[int])
    slots: list[int] = field(default_factory=list[int])
    rows: list[tuple[_Running, int]] = field(default_factory=list[tuple["_Running", int]])
    """Whose next token is in which row."""

    def add(self, running: _Running, tokens: list[int]) -> None:
        self.tokens += tokens
        self.positions += range(running.done, running.done + len(tokens))
        self.slots += [running.slot] * len(tokens)
        self.size += len(tokens)
        running.evaluated += tokens


class BatchLoop:
    """Serves requests on a decoder. `submit` may be called from any thread; `run` is the loop."""

    def __init__(self, decoder: Decoder, send: Callable[[list[Reply]], None], *, deterministic: bool = False) -> None:
        self._decoder = decoder
        self._send = send
        self._deterministic = deterministic
        self._inbox: queue.SimpleQueue[Generate | Cancel | None] = queue.SimpleQueue()
        self._waiting: deque[_Running] = deque()
        self._active: list[_Running] = []
        self._free = list(range(decoder.slots - 1, -1, -1))
        self._replies: list[Reply] = []
        self._flushed = 0.0

    def submit(self, request: Generate | Cancel | None) -> None:
        """Hand a request over; None ends the loop."""
        self._inbox.put(request)

    def run(self) -> None:
        """Serve until None is submitted."""
        while self._take_requests():
            self._admit()
            self._share()
            for group in self._groups():
                self._step(group)
            # Each delivery wakes the server, which needs a core that the next step needs too.
            if len(self._active) < 2 or time.perf_counter() - self._flushed > _PACE:
                self._flush()

    def _take_requests(self) -> bool:
        """Take what has come in, waiting for something when there is nothing to do. False: the loop should end."""
        while True:
            try:
                request = self._inbox.get(block=not (self._active or self._waiting))
            except queue.Empty:
                return True
            match request:
                case None:
                    return False
                case Cancel():
                    self._cancel(request.id)
                case Generate():
                    self._receive(request)
            self._flush()

    def _receive(self, request: Generate) -> None:
        started = time.perf_counter()
        prompt = self._decoder.tokenize(request.prompt)
        limit = min(request.num_ctx, self._decoder.num_ctx)
        prompt, truncated = fit_prompt(prompt, limit, request.num_keep)
        if not prompt:
            self._replies.append(Failed(request.id, "the prompt has no tokens"))
            return
        special = [token for stop in request.stop if (token := self._decoder.special_token(stop)) is not None]
        text = TextStream(request.stop)
        stops = frozenset(special)
        self._waiting.append(
            _Running(request, prompt, limit, truncated, text, started, stops, prompt_tokens=len(prompt))
        )

    def _cancel(self, request_id: int) -> None:
        for running in [*self._active, *self._waiting]:
            if running.request.id == request_id:
                self._release(running)

    def _admit(self) -> None:
        while self._free and self._waiting:
            running = self._waiting.popleft()
            running.slot = self._free.pop()
            running.sampler = self._decoder.sampler(running.request.sampling, running.prompt)
            self._choose_donor(running)
            self._active.append(running)

    def _choose_donor(self, running: _Running) -> None:
        """Find the running prompt that begins most like this one, so that users with one system message read it once."""
        if not self._decoder.can_share or self._deterministic:
            return
        most = len(running.prompt) - 1  # the last token is evaluated, for what follows it
        for other in self._active:
            common = next(
                (i for i, (a, b) in enumerate(zip(running.prompt, other.prompt, strict=False)) if a != b), most
            )
            common = min(common, most, len(other.prompt))
            if common >= _LEAST_SHARED and common > running.shared:
                running.donor, running.shared = other, common

    def _share(self) -> None:
        """Hand over the beginnings that are evaluated by now."""
        for running in self._active:
            donor = running.donor
            if donor is None:
                continue
            if donor.slot < 0:  # it ended before it got so far
                running.donor = None
            elif donor.done >= running.shared:
                self._decoder.share(donor.slot, running.slot, running.shared)
                running.evaluated, running.donor = running.prompt[: running.shared], None

    def _groups(self) -> Iterable[list[_Running]]:
        """The sequences that share a batch: all of them, or each alone where results must not depend on company."""
        return [[running] for running in self._active] if self._deterministic else [list(self._active)]

    def _step(self, group: list[_Running]) -> None:
        batch = self._pack(group)
        if not batch.size:
            return
        wanted = np.zeros(batch.size, np.int8)
        wanted[[row for _, row in batch.rows]] = 1
        try:
            self._decoder.decode(
                np.array(batch.tokens, np.int32),
                np.array(batch.positions, np.int32),
                np.array(batch.slots, np.int32),
                wanted,
            )
        except DecodeError as error:
            for running in group:
                self._replies.append(Failed(running.request.id, str(error)))
                self._release(running)
            return
        for running, row in batch.rows:
            self._emit(running, row)

    def _pack(self, group: list[_Running]) -> _Batch:
        batch = _Batch()
        for running in group:
            if not running.is_prefilling:
                batch.rows.append((running, batch.size))
                batch.add(running, [running.pending])
        for running in group:
            room = self._decoder.num_batch - batch.size
            # A sequence whose token has just been added is past its prompt, so it is not packed twice.
            if running.is_prefilling and room > 0 and running.donor is None:
                batch.add(running, running.prompt[running.done : running.done + room])
                if not running.is_prefilling:
                    batch.rows.append((running, batch.size - 1))
        return batch

    def _emit(self, running: _Running, row: int) -> None:
        assert running.sampler is not None
        token = running.sampler.sample(row)
        if not running.generated:
            running.first_token = time.perf_counter()
        running.generated += 1
        running.pending = token
        ended = token in running.stop_tokens or self._decoder.is_end(token)
        text = running.text.end() if ended else running.text.feed(self._decoder.piece(token))
        predict = running.request.num_predict
        full = 0 < predict <= running.generated or (running.has_shifted and running.generated >= running.limit)
        if running.done >= running.limit and not full:
            full = not running.request.shifts
            if not full and not ended:
                self._shift(running)
        if full and not ended and not running.text.stopped:
            text += running.text.end()
        if text:
            self._replies.append(Chunk(running.request.id, text))
        if ended or running.text.stopped or full:
            self._finish(running, "stop" if ended or running.text.stopped else "length")

    def _shift(self, running: _Running) -> None:
        """Forget the older half of what may be forgotten. The rest is read again, which every kind of model can do."""
        keep, tail = _kept(running.limit, running.request.num_keep)
        running.prompt = [*running.evaluated[:keep], *running.evaluated[-tail:], running.pending]
        running.evaluated, running.has_shifted = [], True
        self._decoder.forget(running.slot)
        for other in self._active:
            if other.donor is running:
                other.donor = None

    def _finish(self, running: _Running, reason: str) -> None:
        now = time.perf_counter()
        self._replies.append(
            Finished(
                running.request.id,
                reason,
                prompt_tokens=running.prompt_tokens,
                prompt_seconds=running.first_token - running.started,
                tokens=running.generated,
                seconds=now - running.first_token,
                truncated=running.truncated,
            )
        )
        self._release(running)

    def _release(self, running: _Running) -> None:
        if running in self._waiting:
            self._waiting.remove(running)
            return
        self._active.remove(running)
        self._decoder.forget(running.slot)
        self._free.append(running.slot)
        running.slot = -1
        if running.sampler:
            running.sampler.close()

    def _flush(self) -> None:
        if self._replies:
            self._send(self._replies)
            self._replies = []
            self._flushed = time.perf_counter()


def fit_prompt(prompt: list[int], limit: int, keep: int) -> tuple[list[int], int]:
    """A prompt that leaves at least one token of room, and how many tokens were left out to make it so.

    As Ollama does, the first `keep` tokens stay and the newest; half of the rest of the context is left to the answer.
    """
    if len(prompt) < limit:
        return prompt, 0
    keep, tail = _kept(limit, keep)
    return prompt[:keep] + prompt[-tail:], len(prompt) - keep - tail


def _kept(limit: int, keep: int) -> tuple[int, int]:
    """How many of the first and of the newest tokens stay when there are too many."""
    keep = max(0, min(keep, limit // 2))
    return keep, max(1, (limit - keep) // 2)
