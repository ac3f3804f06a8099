"""TokenSampler: against llama.cpp's own samplers, and what must hold for any logits and options."""

from __future__ import annotations

import ctypes
import math
import os
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import llama_cpp
import msgspec
import numpy as np
import numpy.typing as npt
import pytest
from corral.runtime.engine.protocol import Sampling
from corral.runtime.engine.sampling import DeadEndError, Ids, Logits, TokenSampler, best, log_probabilities
from hypothesis import given, settings
from hypothesis import strategies as st

SOAK = "CORRAL_SOAK" in os.environ
ROUNDS = settings(derandomize=not SOAK, deadline=None, max_examples=2000 if SOAK else 100)
VOCABULARY = 500
llama: Any = llama_cpp


def logits(seed: int, size: int = VOCABULARY, *, spread: float = 3.0) -> Logits:
    return np.random.default_rng(seed).normal(0, spread, size).astype(np.float32)


def drawn(sampling: Sampling, values: Logits, *, seen: list[int] | None = None, times: int = 4000) -> Counter[int]:
    """How often each token is chosen; each time by a request of its own."""
    counts: Counter[int] = Counter()
    for seed in range(times):
        counts[TokenSampler(msgspec.structs.replace(sampling, seed=seed), seen or [], 64).sample(values.copy())] += 1
    return counts


def engines_choice(sampling: Sampling, values: Logits, seen: list[int]) -> dict[int, float]:
    """The tokens that llama.cpp's chain leaves, with their probabilities."""
    chain = llama.llama_sampler_chain_init(llama.llama_sampler_chain_default_params())
    last = 64 if sampling.repeat_last_n < 0 else sampling.repeat_last_n
    for sampler in (
        llama.llama_sampler_init_penalties(
            len(values), last, sampling.repeat_penalty, sampling.frequency_penalty, sampling.presence_penalty
        ),
        llama.llama_sampler_init_top_k(sampling.top_k),
        llama.llama_sampler_init_typical(sampling.typical_p, 1),
        llama.llama_sampler_init_top_p(sampling.top_p, 1),
        llama.llama_sampler_init_min_p(sampling.min_p, 1),
        llama.llama_sampler_init_temp(sampling.temperature),
    ):
        llama.llama_sampler_chain_add(chain, sampler)
    for token in seen:
        llama.llama_sampler_accept(chain, token)
    candidates = np.zeros(len(values), np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)]))
    candidates["id"], candidates["logit"] = np.arange(len(values)), values
    array = llama.llama_token_data_array(
        data=ctypes.cast(candidates.ctypes.data, llama.llama_token_data_p),
        size=len(values),
        selected=-1,
        sorted=False,
    )
    llama.llama_sampler_apply(chain, ctypes.byref(array))
    left = {array.data[i].id: array.data[i].logit for i in range(array.size)}
    llama.llama_sampler_free(chain)
    highest = max(left.values())
    weights = {token: math.exp(logit - highest) for token, logit in left.items() if logit > -math.inf}
    total = sum(weights.values())
    return {token: weight / total for token, weight in weights.items()}


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(),
        Sampling(top_k=5, top_p=1.0),
        Sampling(top_k=0, top_p=0.5),
        Sampling(top_k=0, top_p=1.0, min_p=0.1),
        Sampling(top_k=0, top_p=0.8, typical_p=0.4),
        Sampling(top_k=30, typical_p=0.7, temperature=1.5),
        Sampling(top_k=30, typical_p=0.2, top_p=0.99, min_p=0.01),
        Sampling(repeat_penalty=1.5, top_k=10),
        Sampling(presence_penalty=2.0, frequency_penalty=1.0, top_k=10, repeat_last_n=-1),
        Sampling(repeat_penalty=2.0, repeat_last_n=2, top_k=10),
        Sampling(temperature=5.0, top_k=3),
    ],
)
def test_it_chooses_as_llama_cpp_would(sampling: Sampling) -> None:
    values = logits(1)
    likely = [int(token) for token in best(values, 6)]
    seen = [likely[0], likely[0], likely[1], 3, likely[2]]
    expected = engines_choice(sampling, values.copy(), seen)
    counts = drawn(sampling, values, seen=seen)
    assert set(counts) <= set(expected)
    for token, probability in expected.items():
        # Five standard deviations of so many draws, and one draw.
        noise = 5 * math.sqrt(probability * (1 - probability) / 4000) + 1 / 4000
        assert abs(counts[token] / 4000 - probability) <= noise, token


@pytest.mark.parametrize("size", [3, 100, 5000, 50_000])
@pytest.mark.parametrize("count", [1, 3, 40, 1000, 100_000])
@pytest.mark.parametrize("is_coarse", [False, True])
def test_the_best_are_found_in_their_order(size: int, count: int, is_coarse: bool) -> None:  # noqa: FBT001 - a parameter
    values = np.round(logits(2, size)) if is_coarse else logits(2, size)
    assert best(values, count).tolist() == np.argsort(-values, kind="stable")[:count].tolist()


def test_without_top_k_whatever_mass_is_asked_for_is_found_in_a_large_vocabulary() -> None:
    values = logits(3, 20_000, spread=0.1)  # so flat that no few tokens have it
    probabilities = np.exp(values.astype(np.float64)) / np.exp(values.astype(np.float64)).sum()
    nucleus = np.argsort(-probabilities)[: int(np.searchsorted(np.sort(probabilities)[::-1].cumsum(), 0.5)) + 1]
    assert len(nucleus) > 5000
    chosen = drawn(Sampling(top_k=0, top_p=0.5, temperature=1.0), values, times=200)
    assert set(chosen) <= set(nucleus.tolist())
    assert len(chosen) > 150


def test_greedy_takes_the_best_after_bias_and_penalties() -> None:
    values = np.array([1.0, 3.0, 2.9, -1.0], np.float32)
    assert TokenSampler(Sampling(temperature=0), [], 8).sample(values.copy()) == 1
    assert TokenSampler(Sampling(temperature=0, repeat_penalty=1.2), [1], 8).sample(values.copy()) == 2
    bias = {3: 10.0, 1: -0.5, 99: 50.0, -1: 50.0}
    assert TokenSampler(Sampling(temperature=0, logit_bias=bias), [], 8).sample(values.copy()) == 3


@pytest.mark.parametrize(("last", "num_ctx"), [(2, 8), (-1, 2), ((1 << 63) - 1, 2)])
def test_penalties_look_at_what_was_just_said_and_no_farther_back(last: int, num_ctx: int) -> None:
    values = np.array([3.0, 2.9, 2.8, 0.0], np.float32)
    sampler = TokenSampler(Sampling(temperature=0, presence_penalty=1.0, repeat_last_n=last), [], num_ctx)
    assert [sampler.sample(values.copy()) for _ in range(6)] == [0, 1, 2, 0, 1, 2]


def test_the_seed_alone_decides() -> None:
    def said(seed: int, sampling: Sampling) -> list[int]:
        sampler = TokenSampler(msgspec.structs.replace(sampling, seed=seed), [], 64)
        return [sampler.sample(logits(step)) for step in range(30)]

    warm = Sampling(temperature=1.0)
    assert said(7, warm) == said(7, warm)
    assert said(7, warm) != said(8, warm)
    assert said(-1, warm) != said(-1, warm)
    assert said((1 << 63) - 1, warm) == said((1 << 63) - 1, warm)


@dataclass
class Only:
    """A grammar that allows some tokens, always the same."""

    tokens: set[int]
    accepted: list[int] = field(default_factory=list[int])
    asked: int = 0

    def allowed(self, ids: Ids) -> npt.NDArray[np.bool_]:
        self.asked += len(ids)
        return np.array([int(token) in self.tokens for token in ids], bool)

    def accept(self, token: int) -> None:
        assert token in self.tokens
        self.accepted.append(token)

    def close(self) -> None:
        self.tokens = set()


@pytest.mark.parametrize("sampling", [Sampling(temperature=0), Sampling(seed=1), Sampling(top_k=0, seed=1)])
def test_a_grammar_is_kept_to_however_unlikely_what_it_allows(sampling: Sampling) -> None:
    values = logits(4)
    worst = [int(token) for token in best(values, VOCABULARY)[-3:]]
    grammar = Only(set(worst))
    sampler = TokenSampler(sampling, [], 64, grammar)
    chosen = [sampler.sample(values.copy()) for _ in range(20)]
    assert grammar.accepted == chosen
    assert set(chosen) <= set(worst)
    if sampling.temperature == 0:
        assert set(chosen) == {worst[0]}


def test_a_grammar_that_agrees_is_asked_about_one_token() -> None:
    values = logits(4)
    grammar = Only(set(range(VOCABULARY)))
    assert TokenSampler(Sampling(temperature=0), [], 64, grammar).sample(values.copy()) == int(values.argmax())
    assert grammar.asked == 1


def test_error_a_grammar_that_allows_nothing_is_a_dead_end() -> None:
    with pytest.raises(DeadEndError):
        TokenSampler(Sampling(), [], 64, Only(set())).sample(logits(5))


def test_log_probabilities_are_those_of_the_softmax() -> None:
    values = logits(6)
    expected = values.astype(np.float64) - np.log(np.exp(values.astype(np.float64)).sum())
    logprob, tops = log_probabilities(values, 17, 3)
    assert logprob == pytest.approx(expected[17], abs=1e-4)
    assert [token for token, _ in tops] == np.argsort(-expected)[:3].tolist()
    assert [value for _, value in tops] == pytest.approx(np.sort(expected)[::-1][:3], abs=1e-4)
    assert log_probabilities(values, 17, 0)[1] == []


STRANGE = st.sampled_from([0.0, -1.0, 1.0, 1e-30, 1e30, math.inf, -math.inf, math.nan])
VALUE = st.one_of(st.floats(width=32), st.sampled_from([math.nan, math.inf, -math.inf, 0.0]))


@pytest.mark.soak
@ROUNDS
@given(
    values=st.lists(VALUE, min_size=1, max_size=40),
    numbers=st.tuples(STRANGE, STRANGE, STRANGE, STRANGE, STRANGE, STRANGE, STRANGE),
    top_k=st.integers(-3, 50),
    seen=st.lists(st.integers(0, 0), max_size=5),
)
def test_whatever_the_model_and_the_request_say_a_token_comes(
    values: list[float], numbers: tuple[float, ...], top_k: int, seen: list[int]
) -> None:
    names = ("temperature", "top_p", "min_p", "typical_p", "repeat_penalty", "presence_penalty", "frequency_penalty")
    sampling = Sampling(top_k=top_k, seed=3, **dict(zip(names, numbers, strict=True)))
    sampler = TokenSampler(sampling, seen, 64)
    for _ in range(3):
        token = sampler.sample(np.array(values, np.float32))
        assert 0 <= token < len(values)
        logprob, tops = log_probabilities(np.array(values, np.float32), token, 2)
        assert all(math.isfinite(value) for value in [logprob, *(value for _, value in tops)])
