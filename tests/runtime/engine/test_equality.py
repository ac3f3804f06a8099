"""What company does to a model's arithmetic: nothing in deterministic mode, else little, and always the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from corral.runtime.engine.llama.decoder import LlamaDecoder
from corral.runtime.engine.protocol import LoadOptions, Sampling

from tests.runtime.engine.conftest import ask, run

TOLERANCE = 0.3
"""Root mean square of what company changes in a step's logits, in their standard deviations; docs/engine.md states it."""
TEXT = "Once upon a time there was a village by the sea, whose fishermen went out every night to count the stars."
FIRST = 10
"""Tokens that are evaluated at once; the others one by one, as an answer's are."""
SLOTS = 8


@pytest.fixture(scope="module")
def decoder(smollm2: Path) -> LlamaDecoder:
    return LlamaDecoder(str(smollm2), LoadOptions(num_ctx=256, slots=SLOTS, num_thread=1), lambda _: None)


def logits(decoder: LlamaDecoder, company: int) -> npt.NDArray[np.float32]:
    """Those after each token of TEXT, while other texts are evaluated in the same batches."""
    text = decoder.tokenize(TEXT)
    texts = [text, *([(token * 7 + number) % 40_000 for token in text] for number in range(company))]
    for number in range(decoder.sequences):
        decoder.forget(number)
    found: list[npt.NDArray[np.float32]] = []
    for start, end in [(0, FIRST), *((at, at + 1) for at in range(FIRST, len(text)))]:
        size = end - start
        tokens = np.array([token for other in texts for token in other[start:end]], np.int32)
        positions = np.tile(np.arange(start, end, dtype=np.int32), len(texts))
        numbers = np.repeat(np.arange(len(texts), dtype=np.int32), size)
        wanted = np.tile(np.arange(1, size + 1) == size, len(texts)).astype(np.int8)
        decoder.decode(tokens, positions, numbers, wanted)
        found.append(decoder.logits(0).copy())
    return np.array(found)


@pytest.mark.parametrize("company", [0, 1, SLOTS - 1])
def test_the_same_company_gives_the_same_numbers(decoder: LlamaDecoder, company: int) -> None:
    assert np.array_equal(logits(decoder, company), logits(decoder, company))


@pytest.mark.parametrize("company", [1, 3, SLOTS - 1])
def test_company_changes_little(decoder: LlamaDecoder, company: int) -> None:
    alone, together = logits(decoder, 0), logits(decoder, company)
    change = np.sqrt(((alone - together) ** 2).mean(axis=1)) / alone.std(axis=1)
    assert change.max() <= TOLERANCE


def test_deterministic_answers_are_equal_alone_in_company_and_after_a_reload(smollm2: Path) -> None:
    options = LoadOptions(num_ctx=256, slots=4, num_thread=1, deterministic=True)
    asked = [ask(1, TEXT, num_predict=24), ask(1, TEXT, num_predict=24, sampling=Sampling(temperature=1.2, seed=5))]
    said: list[list[str]] = []
    for _ in range(2):
        decoder = LlamaDecoder(str(smollm2), options, lambda _: None)
        for request in asked:
            company = [ask(number, f"{number} and {TEXT}", num_predict=30) for number in (2, 3)]
            alone = run(decoder, [request], deterministic=True).texts[1]
            late = run(decoder, [company[0], request, company[1]], deterministic=True).texts[1]
            again = run(decoder, [*company, request], deterministic=True).texts[1]
            said.append([alone, late, again])
    assert len(set(said[0] + said[2])) == len(set(said[1] + said[3])) == 1
    assert said[0][0] != said[1][0]
