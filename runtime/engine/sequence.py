"""Sequence: one request on its way: its prompt, what of it is evaluated, and the answer as it becomes text."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from .decoder import DecodeError, Decoder
from .protocol import Chunk, Finished, Generate, TokenLogprobs, TokenProbability
from .sampling import Logits, TokenSampler, log_probabilities
from .text import TextStream

_MOST_REPEATS = 30
"""A model that says the same token more often in a row has lost its way (Ollama's number)."""
_LONGEST_SPECIAL = 256
"""Characters of a special token; longer stop texts are none."""
_DAMAGED_HINT = "check the file with `corral verify --deep`, and pull or create the model again"
_MOST_CONTEXTS = 10
"""An answer is at most so many times as long as the context, whatever was asked for."""


@dataclass(frozen=True, slots=True)
class Tokenized:
    """What of a request is a matter of its model's tokens."""

    prompt: list[int]
    keep: int
    """num_keep; the token that the model's prompts begin with is kept besides, and below 0 all of the prompt is."""
    shown: frozenset[int]
    """Special tokens that are text."""
    stops: frozenset[int]
    """Special tokens that are stop texts; they have no text of their own to find one in."""

    @classmethod
    def of(cls, request: Generate, decoder: Decoder) -> Tokenized:
        """For any thread; a long text takes a while."""
        prompt = decoder.tokenize(request.prompt)
        if request.before:
            prompt = request.before + prompt[prompt[:1] == [decoder.begin] :]
        keep = len(prompt) if request.num_keep < 0 else request.num_keep + (prompt[:1] == [decoder.begin])
        return cls(prompt, keep, _special(decoder, request.shown), _special(decoder, request.stop))


@dataclass(slots=True, eq=False)
class Sequence:
    """See the module. The loop gives it its place in the cache."""

    request: Generate
    prompt: list[int]
    """What has to be evaluated before the next token; after a shift that is what was kept."""
    limit: int
    """Tokens the sequence may hold."""
    truncated: int
    """Tokens of the request's prompt that are left out."""
    keep: int
    """Tokens that stay at its start when there are too many."""
    shown: frozenset[int]
    stops: frozenset[int]
    text: TextStream
    started: float = 0.0
    prompt_tokens: int = 0
    evaluated: list[int] = field(default_factory=list[int])
    """The tokens that are in the cache."""
    sampler: TokenSampler | None = None
    number: int = -1
    """Its number in the cache; -1 while it has none."""
    pending: int = -1
    """The last token sampled, not yet evaluated."""
    generated: int = 0
    first_token: float = 0.0
    donor: Sequence | None = None
    """Who is evaluating the first `shared` tokens of this prompt too."""
    shared: int = 0
    cached: int = 0
    has_taken: bool = False
    """Whether some of its cells were another's."""
    may_share: bool = True
    to_evaluate: int = 0
    """Tokens of the prompt nobody has evaluated before."""
    _certain: str = ""
    """Text that has not been told yet."""
    _repeats: int = 0
    _stop: str | None = None
    _logprobs: list[TokenLogprobs] = field(default_factory=list[TokenLogprobs])

    @classmethod
    def of(cls, request: Generate, tokenized: Tokenized, limit: int) -> Sequence:
        """The sequence of a request that is just taken up."""
        prompt, truncated = fit_prompt(tokenized.prompt, limit, tokenized.keep)
        return cls(
            request,
            prompt,
            limit,
            truncated,
            tokenized.keep,
            tokenized.shown,
            tokenized.stops,
            TextStream(request.stop),
            prompt_tokens=len(prompt),
        )

    @property
    def done(self) -> int:
        """How many tokens are in the cache."""
        return len(self.evaluated)

    @property
    def is_prefilling(self) -> bool:
        """Whether something has to be evaluated before the next token."""
        return self.done < len(self.prompt)

    @property
    def is_full(self) -> bool:
        """Whether the context can hold no further token."""
        return self.done >= self.limit

    def next_token(self, logits: Logits, decoder: Decoder, now: float) -> str:
        """Choose a token; how the answer ends with it: `stop`, `length`, or "" if it goes on.

        Raises DeadEndError, and DecodeError where the model has lost count.
        """
        assert self.sampler is not None
        if not math.isfinite(logits.max()):
            raise DecodeError("the model's output is not a number: its weights are damaged", hint=_DAMAGED_HINT)
        wanted = self.request.logprobs
        before = logits.copy() if wanted >= 0 else logits
        token = self.sampler.sample(logits)
        ends = token in self.stops or (decoder.is_end(token) and token not in self.shown)
        if wanted >= 0 and not ends:
            self._logprobs.append(_logprobs(before, token, wanted, decoder))
        self._repeats = self._repeats + 1 if token == self.pending and self.generated else 0
        self.pending = token
        if not self.generated:
            self.first_token = now
        self.generated += 1
        if ends:
            self._stop = decoder.spelling(token).decode("utf-8", "replace") if token in self.stops else None
            return "stop"
        self._certain += self.text.feed(decoder.spelling(token) if token in self.shown else decoder.piece(token))
        if self.text.stop is not None:
            self._stop = self.text.stop
            return "stop"
        predict = self.request.num_predict
        is_enough = 0 < predict <= self.generated or self.generated >= _MOST_CONTEXTS * self.limit
        if is_enough or self._repeats > _MOST_REPEATS or (self.is_full and not self.request.shifts):
            return "length"
        return ""

    def chunk(self, *, ends: bool = False) -> Chunk | None:
        """The text that is certain by now, if any."""
        if ends:
            self._certain += self.text.end()
        if not self._certain and not (ends and self._logprobs):
            return None
        chunk = Chunk(self.request.id, self._certain, self._logprobs, self.truncated)
        self._certain, self._logprobs = "", []
        return chunk

    def finished(self, reason: str, now: float) -> Finished:
        """What is to be told at the end."""
        unread = [self.pending] if reason == "length" else []
        return Finished(
            self.request.id,
            reason,
            prompt_tokens=self.prompt_tokens,
            prompt_seconds=self.first_token - self.started,
            tokens=self.generated,
            seconds=now - self.first_token,
            truncated=self.truncated,
            cached=self.cached,
            context=self.evaluated + unread if self.request.wants_tokens else [],
            stop=self._stop,
        )

    def shift(self) -> None:
        """Forget the older half of what may be forgotten. The rest is evaluated again, which every model can do."""
        keep, tail = _kept(self.limit, self.keep)
        self.prompt = [*self.evaluated[:keep], *self.evaluated[-tail:], self.pending]
        self._forget()

    def begin_again(self) -> None:
        """Nothing of it is in the cache any more."""
        if not self.is_prefilling:
            self.prompt = [*self.evaluated, self.pending]
        self._forget()

    def _forget(self) -> None:
        self.evaluated, self.donor, self.shared = [], None, 0


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


def _special(decoder: Decoder, texts: Iterable[str]) -> frozenset[int]:
    found = (decoder.special_token(text) for text in texts if len(text) <= _LONGEST_SPECIAL)
    return frozenset(token for token in found if token is not None)


def _logprobs(logits: Logits, token: int, count: int, decoder: Decoder) -> TokenLogprobs:
    logprob, tops = log_probabilities(logits, token, count)
    return TokenLogprobs(
        TokenProbability(decoder.spelling(token), logprob),
        [TokenProbability(decoder.spelling(top), value) for top, value in tops],
    )
