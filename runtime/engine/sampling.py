"""TokenSampler: chooses the tokens of one request from the model's logits, by the options of the PARAMETER table.

The order is llama.cpp's: bias, penalties, top_k, typical_p, top_p, min_p, temperature. Whatever the vocabulary, only the
few best tokens are sorted: those that top_k, or the mass that top_p asks for, can reach. A grammar is asked about the
chosen token first, and about others only when it says no, as llama.cpp's own tools do. Pure.
"""

from __future__ import annotations

import math
import random
from collections import Counter, deque
from collections.abc import Sequence
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from .protocol import Sampling

Logits: TypeAlias = npt.NDArray[np.float32]
Ids: TypeAlias = npt.NDArray[np.intp]
_Probabilities: TypeAlias = npt.NDArray[np.float64]

_HEAD = 1024
"""Tokens looked at first where top_k sets no bound."""
_WIDER = 8
_STRIDES = 64
_IMPOSSIBLE = -9999.0
"""The logarithm of no probability at all: JSON has no infinity."""
_SEED_BITS = (1 << 64) - 1


class Grammar(Protocol):
    """What an answer must keep to, token by token."""

    def allowed(self, ids: Ids) -> npt.NDArray[np.bool_]:
        """Which of these tokens may come next."""
        ...

    def accept(self, token: int) -> None:
        """The token, which is allowed, comes next."""
        ...

    def close(self) -> None:
        """Free what it holds."""
        ...


class DeadEndError(Exception):
    """The grammar allows no token at all."""


class TokenSampler:
    """The sampler of one request; its random numbers depend on the request's seed alone."""

    def __init__(self, sampling: Sampling, seen: Sequence[int], num_ctx: int, grammar: Grammar | None = None) -> None:
        """`seen` is the prompt; penalties look back into it, -1 as far as `num_ctx` tokens."""
        self._sampling = sampling
        self._grammar = grammar
        self._random = random.Random(sampling.seed & _SEED_BITS if sampling.seed >= 0 else None)  # noqa: S311 - no secret
        self._bias = {token: bias for token, bias in sampling.logit_bias.items() if token >= 0}
        self._repeat = sampling.repeat_penalty if sampling.repeat_penalty > 0 else 1.0
        last = num_ctx if sampling.repeat_last_n < 0 else min(sampling.repeat_last_n, num_ctx)
        penalises = self._repeat != 1.0 or sampling.presence_penalty != 0 or sampling.frequency_penalty != 0
        self._recent: deque[int] = deque(seen[-last:] if last else (), maxlen=last if penalises else 0)
        self._counts = Counter(self._recent)
        self._is_plain = sampling.temperature <= 0 and not (self._bias or penalises or grammar)

    def sample(self, logits: Logits) -> int:
        """The next token. The logits may be changed. Raises DeadEndError."""
        if self._is_plain:
            return int(logits.argmax())
        with np.errstate(all="ignore"):  # a damaged model's may be infinite, or no numbers
            self._adjust(logits)
            token = self._chosen(logits, *self._head(logits))
            if self._grammar:
                if not self._grammar.allowed(np.array([token]))[0]:
                    token = self._chosen(logits, *self._allowed_head(logits, self._grammar))
                self._grammar.accept(token)
        self._remember(token)
        return token

    def close(self) -> None:
        """Free what it holds."""
        if self._grammar:
            self._grammar.close()
            self._grammar = None

    def _adjust(self, logits: Logits) -> None:
        for token, bias in self._bias.items():
            if token < len(logits):
                logits[token] += bias
        if self._counts:
            ids = np.fromiter(self._counts, np.intp, len(self._counts))
            counts = np.fromiter(self._counts.values(), np.float32, len(self._counts))
            values = logits[ids]
            values = np.where(values <= 0, values * self._repeat, values / self._repeat)
            logits[ids] = values - counts * self._sampling.frequency_penalty - self._sampling.presence_penalty

    def _remember(self, token: int) -> None:
        if not self._recent.maxlen:
            return
        if len(self._recent) == self._recent.maxlen:
            oldest = self._recent[0]
            self._counts[oldest] -= 1
            if not self._counts[oldest]:
                del self._counts[oldest]
        self._recent.append(token)
        self._counts[token] += 1

    def _head(self, logits: Logits) -> tuple[Ids, float]:
        """The tokens that may be chosen, best first, and the mass of all the others, in units of the best one's."""
        sampling = self._sampling
        if sampling.temperature <= 0:
            return np.array([int(np.argmax(logits))]), 0.0
        if sampling.top_k > 0:
            return best(logits, sampling.top_k), 0.0
        if sampling.typical_p < 1:
            return best(logits, len(logits)), 0.0
        highest = float(np.max(logits))
        mass = float(np.exp(logits - np.float32(highest)).sum(dtype=np.float64))
        width = _HEAD
        while True:
            ids = best(logits, width)
            masses = np.exp(logits[ids].astype(np.float64) - highest)
            covered = float(masses.sum())
            is_enough = covered >= sampling.top_p * mass or masses[-1] < sampling.min_p
            if is_enough or width >= len(logits) or not math.isfinite(mass):
                return ids, max(0.0, mass - covered)
            width *= _WIDER

    def _allowed_head(self, logits: Logits, grammar: Grammar) -> tuple[Ids, float]:
        """The same of those the grammar allows. Raises DeadEndError."""
        top_k = self._sampling.top_k if self._sampling.temperature > 0 else 1
        needed = top_k if top_k > 0 else len(logits)
        width = max(_STRIDES, 2 * top_k)
        while True:
            ids = best(logits, width)
            allowed = ids[grammar.allowed(ids)]
            if len(allowed) >= needed or width >= len(logits):
                break
            width *= _WIDER
        if not len(allowed):
            raise DeadEndError
        return allowed[:needed], 0.0

    def _chosen(self, logits: Logits, ids: Ids, rest: float) -> int:
        if len(ids) == 1:
            return int(ids[0])
        sampling = self._sampling
        values = logits[ids].astype(np.float64)
        if sampling.typical_p < 1:
            kept = _typical(_probabilities(values), sampling.typical_p)
            ids, values = ids[kept], values[kept]
        probabilities = _probabilities(values, rest)
        kept = len(ids)
        if sampling.top_p < 1:
            kept = int(np.searchsorted(np.cumsum(probabilities), sampling.top_p)) + 1
        if sampling.min_p > 0:
            kept = min(kept, int(np.count_nonzero(probabilities >= sampling.min_p * probabilities[0])))
        kept = max(1, min(kept, len(ids)))
        heated = _probabilities(values[:kept] / sampling.temperature)
        at = int(np.searchsorted(np.cumsum(heated), self._random.random(), side="right"))
        return int(ids[min(at, kept - 1)])


def best(logits: Logits, count: int) -> Ids:
    """The `count` tokens with the highest logits, best first, of equal ones those with the lower number."""
    size = len(logits)
    if not 0 < count < size:
        return np.argsort(-logits, kind="stable")
    candidates = _above(logits, count) if size >= 2 * _STRIDES * count else None
    if candidates is None:
        # All that are no worse than the last one wanted: argpartition alone would choose among equals by chance.
        lowest = np.partition(logits, size - count)[size - count]
        candidates = np.flatnonzero(logits >= lowest)
    chosen = candidates[np.argsort(-logits[candidates], kind="stable")][:count]
    return chosen if len(chosen) else np.array([0])  # a damaged model's are not numbers


def _above(logits: Logits, count: int) -> Ids:
    """All tokens no worse than a bound that at least `count` reach: one pass, and few come through it."""
    columns = len(logits) // _STRIDES
    tops = logits[: columns * _STRIDES].reshape(_STRIDES, columns).max(axis=0)
    return np.flatnonzero(logits >= np.partition(tops, columns - count)[columns - count])


def log_probabilities(logits: Logits, token: int, count: int) -> tuple[float, list[tuple[int, float]]]:
    """The natural logarithm of the token's probability, and of the `count` best tokens', best first."""
    with np.errstate(all="ignore"):
        highest = np.max(logits)
        base = float(highest) + float(np.log(np.exp(logits - highest).sum(dtype=np.float64)))

    def value(of: int) -> float:
        logarithm = float(logits[of]) - base
        return logarithm if logarithm > _IMPOSSIBLE else _IMPOSSIBLE  # also for what is no number

    tops = best(logits, count) if count else ()
    return value(token), [(int(top), value(int(top))) for top in tops]


def _probabilities(values: _Probabilities, rest: float = 0.0) -> _Probabilities:
    """Softmax; `rest` is the mass of what is not among the values, in units of the highest."""
    weights = np.exp(values - values.max())
    return weights / (weights.sum() + rest)


def _typical(probabilities: _Probabilities, mass: float) -> Ids:
    """Those whose surprise is nearest to what the model expects, up to the mass; best first."""
    surprise = -np.log(probabilities)
    expected = float(np.nansum(probabilities * surprise))
    nearest = np.argsort(np.abs(surprise - expected), kind="stable")
    kept = int(np.searchsorted(np.cumsum(probabilities[nearest]), mass, side="right")) + 1
    return np.sort(nearest[:kept])
