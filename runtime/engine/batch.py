"""BatchLoop: continuous batching. Every step evaluates one batch: a token for each answer that is on its way, and as much
of the waiting prompts as Pace allows. One thread runs the loop and owns the decoder; requests come in by a queue.

What was evaluated stays in the cache when its request is done, until the room is needed. A prompt that begins like it, or
like one that is being evaluated now, begins with the same cells.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import TypeAlias

from .decoder import AbortedError, CacheFullError, DecodeError, Decoder, GrammarError
from .pace import LONG, Pace, shares
from .prefix import PrefixTree, common_length
from .protocol import Cancel, Failed, Generate, Reply
from .sampling import DeadEndError, TokenSampler
from .sequence import Sequence, Tokenized
from .tuner import ThreadTuner

_DELIVERY = 0.025
"""Seconds between deliveries while several sequences run."""
_LEAST_SHARED = 8
"""A beginning of fewer tokens is evaluated faster than anybody could wait for it."""
_TOO_LONG = (
    "the prompt is longer than the context length currently available to the model: "
    "{} tokens and one of the answer, it holds {}; "
    "shorten the prompt, raise num_ctx, use a model with a longer context, or let it be cut: truncate and shift true"
)

_Item: TypeAlias = "tuple[Generate, Tokenized] | Cancel | None"
_Piece: TypeAlias = tuple[Sequence, list[int]]


class BatchLoop:
    """Serves requests on a decoder. `submit` may be called from any thread; `run` is the loop."""

    def __init__(self, decoder: Decoder, send: Callable[[list[Reply]], None], *, deterministic: bool = False) -> None:
        self._decoder = decoder
        self._send = send
        self._deterministic = deterministic
        self._inbox: queue.SimpleQueue[_Item] = queue.SimpleQueue()
        self._waiting: deque[Sequence] = deque()
        self._active: list[Sequence] = []
        self._tree = PrefixTree()
        self._free = list(range(decoder.sequences - 1, -1, -1))
        """Numbers of sequences that hold nothing."""
        self._kept: dict[int, None] = {}
        """Numbers of sequences whose requests are done, those unused for longest first."""
        self._pace = Pace()
        self._tuner = ThreadTuner(decoder.threads)
        self._threads = 0
        self._replies: list[Reply] = []
        self._delivered = 0.0
        self._guard = threading.Lock()
        self._evaluating: frozenset[int] = frozenset()
        """The requests in the batch of this moment."""
        self._cancelled: set[int] = set()
        """Requests nobody waits for, that the loop has not let go yet."""

    def submit(self, request: Generate | Cancel | None) -> None:
        """Hand a request over; None ends the loop. A prompt is cut into tokens here, in the caller's thread."""
        if isinstance(request, Generate):
            self._inbox.put((request, Tokenized.of(request, self._decoder)))
            return
        if isinstance(request, Cancel):
            with self._guard:
                self._cancelled.add(request.id)
                if self._evaluating and self._evaluating <= self._cancelled:
                    self._decoder.abort()
        self._inbox.put(request)

    def run(self) -> None:
        """Serve until None is submitted."""
        for number in self._free:
            self._decoder.forget(number)
        while self._take_requests():
            self._admit()
            self._share()
            for group in self._groups():
                self._step(group)
            # Each delivery wakes the server, which needs a core that the next step needs too.
            if len(self._active) < 2 or time.perf_counter() - self._delivered > _DELIVERY:
                self._deliver()

    def _take_requests(self) -> bool:
        """Take what has come in, waiting for something when there is nothing to do. False: the loop should end."""
        while not (self._inbox.empty() and (self._active or self._waiting)):
            item = self._inbox.get()
            if item is None:
                return False
            if isinstance(item, Cancel):
                self._cancel(item.id)
            else:
                self._receive(*item)
            self._deliver()
        return True

    def _receive(self, request: Generate, tokenized: Tokenized) -> None:
        with self._guard:
            is_cancelled = request.id in self._cancelled
            # Prompts come in their order; whoever was cancelled before and is not known by now had been answered.
            open_ids = {sequence.request.id for sequence in [*self._active, *self._waiting]}
            self._cancelled = {other for other in self._cancelled if other > request.id or other in open_ids}
        if is_cancelled:
            return
        limit, prompt = min(request.num_ctx, self._decoder.num_ctx), tokenized.prompt
        if not prompt:
            self._fail(request, "the prompt has no tokens", is_input=True)
        elif request.before and not 0 <= min(request.before) <= max(request.before) < self._decoder.vocabulary:
            self._fail(request, "the context has tokens that the model does not have", is_input=True)
        elif len(prompt) >= limit and not (request.shifts and request.truncates):
            self._fail(request, _TOO_LONG.format(len(prompt), limit), is_input=True)
        else:
            self._waiting.append(Sequence.of(request, tokenized, limit))

    def _cancel(self, request_id: int) -> None:
        for sequence in [*self._active, *self._waiting]:
            if sequence.request.id == request_id:
                self._release(sequence)

    def _fail(self, request: Generate, error: str, *, is_input: bool = False, hint: str | None = None) -> None:
        self._replies.append(Failed(request.id, error, is_input=is_input, hint=hint))

    def _admit(self) -> None:
        while self._waiting and len(self._active) < self._decoder.slots:
            sequence = self._waiting.popleft()
            if sequence.sampler is None and not self._give_sampler(sequence):
                continue
            if not self._free:
                self._drop(self._least_useful(sequence.prompt))
            sequence.number = self._free.pop()
            sequence.started = sequence.started or time.perf_counter()
            self._active.append(sequence)
            self._begin(sequence)

    def _give_sampler(self, sequence: Sequence) -> bool:
        request = sequence.request
        text = request.sampling.grammar
        try:
            grammar = self._decoder.grammar(text, sequence.shown) if text else None
        except GrammarError as error:
            self._fail(request, str(error), is_input=True, hint=error.hint)
            return False
        sequence.sampler = TokenSampler(request.sampling, sequence.prompt, sequence.limit, grammar)
        return True

    def _least_useful(self, prompt: list[int]) -> int:
        """Of the kept ones unused for long, that which is evaluated again most easily; not the one that begins like this."""
        source, _ = self._tree.longest(prompt)
        others = [number for number in self._kept if number != source] or list(self._kept)
        return min(others[: (len(others) + 1) // 2], key=self._tree.own)

    def _begin(self, sequence: Sequence) -> None:
        """Take over the longest beginning that is evaluated, or wait for one that is about to be."""
        sequence.to_evaluate = len(sequence.prompt)
        if not (self._decoder.can_share and sequence.may_share):
            return
        prompt = sequence.prompt[:-1]  # the last token is evaluated, for what follows it
        source, count = self._tree.longest(prompt)
        for other in self._active:
            if other is not sequence and other.is_prefilling and other.donor is None:
                common = common_length(other.prompt, prompt)
                if common >= max(count, sequence.shared) + _LEAST_SHARED:
                    sequence.donor, sequence.shared = other, common
        if sequence.donor is None and not self._take_over(sequence, source, count) and not self._decoder.rolls_back:
            self._take_over(sequence, *self._tree.whole(prompt))
        sequence.to_evaluate -= max(sequence.shared, sequence.done)

    def _take_over(self, sequence: Sequence, source: int, count: int) -> bool:
        if count < _LEAST_SHARED or not self._decoder.share(source, sequence.number, count):
            return False
        self._tree.share(source, sequence.number, count)
        sequence.has_taken = True
        sequence.evaluated = sequence.prompt[:count]
        if not sequence.generated:
            sequence.cached = count
        if source in self._kept:
            self._kept[source] = self._kept.pop(source)
        return True

    def _share(self) -> None:
        """Hand over the beginnings that are evaluated by now."""
        for sequence in self._active:
            donor = sequence.donor
            if donor is None:
                continue
            is_lost = donor.number < 0 or common_length(donor.prompt, sequence.prompt) < sequence.shared
            if is_lost or donor.done >= sequence.shared:
                count, sequence.donor, sequence.shared = sequence.shared, None, 0
                if is_lost:
                    self._begin(sequence)
                elif not self._take_over(sequence, donor.number, count):
                    sequence.to_evaluate = len(sequence.prompt)

    def _groups(self) -> Iterable[list[Sequence]]:
        """The sequences that share a batch: all of them, or each alone where results must not depend on company."""
        return [[sequence] for sequence in self._active] if self._deterministic else [list(self._active)]

    def _step(self, group: list[Sequence]) -> None:
        pieces = self._pieces(group)
        if not pieces:
            return
        started, busy = time.perf_counter(), time.process_time()
        try:
            self._evaluate(pieces)
        except AbortedError:
            for sequence, _ in pieces:
                self._begin_again(sequence)
            return
        except DecodeError as error:
            if isinstance(error, CacheFullError) and self._part():
                return
            for sequence, _ in pieces:
                self._fail(sequence.request, str(error))
                self._release(sequence, keeps=False)
            return
        now = time.perf_counter()
        self._measured(pieces, now - started, time.process_time() - busy)
        for sequence, tokens in pieces:
            sequence.evaluated += tokens
            self._tree.extend(sequence.number, tokens)
        ready = [sequence for sequence, _ in pieces if not sequence.is_prefilling]
        for index, sequence in enumerate(ready):
            self._answer(sequence, index, now)

    def _measured(self, pieces: list[_Piece], seconds: float, busy: float) -> None:
        answers = sum(sequence.generated > 0 and len(tokens) == 1 for sequence, tokens in pieces)
        size = sum(len(tokens) for _, tokens in pieces)
        self._pace.observe(answers, size - answers, seconds)
        self._tuner.observe(self._threads, size, seconds, busy)

    def _pieces(self, group: list[Sequence]) -> list[_Piece]:
        """What the next batch holds: of each sequence these tokens."""
        pieces: list[_Piece] = [(one, [one.pending]) for one in group if not one.is_prefilling]
        room, answers = self._decoder.num_batch - len(pieces), len(pieces)
        prompts = [one for one in group if one.is_prefilling and one.donor is None]
        if not prompts:
            return pieces
        lengths = [self._length(one) for one in prompts]
        long_room = self._pace.room(answers, room) if any(whole > LONG for _, whole in lengths) else 0
        for one, count in zip(prompts, shares(lengths, room, long_room), strict=True):
            end = one.done + count
            if not self._decoder.rolls_back:
                # Whoever waits for its beginning can have it only while that is all there is.
                ends = [other.shared for other in group if other.donor is one and one.done < other.shared < end]
                end = min([end, *ends])
            if end > one.done:
                pieces.append((one, one.prompt[one.done : end]))
        return pieces

    def _length(self, sequence: Sequence) -> tuple[int, int]:
        """Tokens of a prompt to evaluate, what is left of them and all; at first those only that short prompts wait for."""
        waited = [other.shared - sequence.done for other in self._active if other.donor is sequence]
        if waited and min(waited) <= LONG:
            return min(waited), min(waited)
        return len(sequence.prompt) - sequence.done, sequence.to_evaluate

    def _evaluate(self, pieces: list[_Piece]) -> None:
        tokens: list[int] = []
        positions: list[int] = []
        numbers: list[int] = []
        wanted: list[int] = []
        for sequence, piece in pieces:
            done, count = sequence.done, len(piece)
            tokens += piece
            positions += range(done, done + count)
            numbers += [sequence.number] * count
            wanted += [0] * (count - 1)
            wanted.append(done + count >= len(sequence.prompt))
        size = len(tokens)
        while self._kept and self._tree.cells + size > self._decoder.cells:
            self._drop(next(iter(self._kept)))
        self._use_threads(self._tuner.choose(size))
        with self._guard:
            self._evaluating = frozenset(sequence.request.id for sequence, _ in pieces)
            self._decoder.allow()
        try:
            while True:
                try:
                    self._decoder.decode(tokens, positions, numbers, wanted)
                except CacheFullError:
                    if not self._kept:
                        raise
                    self._drop(next(iter(self._kept)))
                else:
                    return
        finally:
            with self._guard:
                self._evaluating = frozenset()

    def _use_threads(self, count: int) -> None:
        if count != self._threads:
            self._threads = count
            self._decoder.use_threads(count)

    def _answer(self, sequence: Sequence, index: int, now: float) -> None:
        try:
            reason = sequence.next_token(self._decoder.logits(index), self._decoder, now)
        except DeadEndError:
            self._fail(sequence.request, "the grammar allows nothing that could come next", is_input=True)
            self._release(sequence)
            return
        except DecodeError as error:
            self._fail(sequence.request, str(error), hint=error.hint)
            self._release(sequence, keeps=False)
            return
        if chunk := sequence.chunk(ends=bool(reason)):
            self._replies.append(chunk)
        if reason:
            self._replies.append(sequence.finished(reason, now))
            self._release(sequence)
        elif sequence.is_full:
            sequence.shift()
            self._empty(sequence.number)
            self._begin(sequence)

    def _begin_again(self, sequence: Sequence) -> None:
        """Evaluate anew what may be in the cache only in part."""
        self._empty(sequence.number)
        sequence.begin_again()
        sequence.to_evaluate = len(sequence.prompt)

    def _part(self) -> bool:
        """Have somebody evaluate anew what he took over: of a window, cells that several hold stay when all have moved on."""
        sharer = next((one for one in reversed(self._active) if one.may_share and one.has_taken), None)
        if sharer:
            sharer.may_share = False
            sharer.cached = 0
            self._begin_again(sharer)
        return sharer is not None

    def _release(self, sequence: Sequence, *, keeps: bool = True) -> None:
        """Let a request go; what it has evaluated is kept for others if it may be."""
        if sequence.sampler:
            sequence.sampler.close()
        if sequence in self._waiting:
            self._waiting.remove(sequence)
            return
        self._active.remove(sequence)
        number, sequence.number = sequence.number, -1
        if keeps and self._decoder.can_share and sequence.done >= _LEAST_SHARED:
            self._kept[number] = None
            for other in list(self._kept) if self._decoder.rolls_back else ():
                if not self._tree.own(other):  # another one begins like all of it
                    self._drop(other)
        else:
            self._empty(number)
            self._free.append(number)

    def _drop(self, number: int) -> None:
        del self._kept[number]
        self._empty(number)
        self._free.append(number)

    def _empty(self, number: int) -> None:
        self._decoder.forget(number)
        self._tree.release(number)

    def _deliver(self) -> None:
        if self._replies:
            self._send(self._replies)
            self._replies = []
            self._delivered = time.perf_counter()
