"""Beginnings in common, with real models that cannot take back what they have read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from corral.runtime.engine.llama.decoder import LlamaDecoder
from corral.runtime.engine.protocol import Generate, LoadOptions, Sampling

from tests.runtime.engine.conftest import Outcome, ask, once, run
from tests.runtime.engine.kinds import recurrent, sliding

KINDS: dict[str, Callable[[Path], Path]] = {
    "sliding": sliding,
    # So small that what is shared does not leave enough of the window's cells to the others.
    "narrow": lambda path: sliding(path, window=16),
    "recurrent": recurrent,
}
BEGINNING = "a beginning in common, longer by far than the window. " * 3
PROMPTS = [BEGINNING + end for end in ("And then?", "What else?", "Why is that so?")]
TEXT = Sampling(temperature=0, logit_bias=dict.fromkeys((0, 1, 2, *range(259, 320)), -1000.0))
"""Only bytes: no end, nothing without a text."""


@pytest.fixture(scope="module", params=KINDS)
def decoder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LlamaDecoder:
    path = KINDS[request.param](tmp_path_factory.mktemp("kinds") / f"{request.param}.gguf")
    return LlamaDecoder(str(path), LoadOptions(num_ctx=512, slots=3, num_batch=64, num_thread=1), lambda _: None)


def asked(number: int, prompt: str) -> Generate:
    return ask(number, prompt, num_predict=12, sampling=TEXT)


def answers(outcome: Outcome) -> list[str]:
    assert outcome.failed == {}
    return [outcome.texts[number] for number in sorted(outcome.finished)]


@pytest.fixture(scope="module")
def alone(decoder: LlamaDecoder) -> list[str]:
    found = [answers(run(decoder, [asked(0, prompt)]))[0] for prompt in PROMPTS]
    assert len(set(found)) == len(PROMPTS)
    return found


def test_they_cannot_roll_back(decoder: LlamaDecoder) -> None:
    assert not decoder.rolls_back


def test_who_arrives_together_shares(decoder: LlamaDecoder, alone: list[str], request: pytest.FixtureRequest) -> None:
    outcome = run(decoder, [asked(number, prompt) for number, prompt in enumerate(PROMPTS)])
    assert answers(outcome) == alone
    if "narrow" not in request.node.name:
        shared = len(decoder.tokenize(BEGINNING))
        assert [outcome.finished[number].cached for number in range(3)] == [0, shared, shared]


def test_a_conversation_goes_on_where_it_was(decoder: LlamaDecoder, alone: list[str]) -> None:
    # Of the answer the last token was never evaluated.
    longer = PROMPTS[0] + alone[0].encode()[:11].decode("utf-8", "ignore") + " Go on."
    expected = answers(run(decoder, [asked(0, longer)]))[0]
    outcome = run(
        decoder, [asked(1, PROMPTS[0])], meanwhile=once(asked(2, longer), lambda outcome: 1 in outcome.finished)
    )
    assert outcome.texts[2] == expected


def test_who_comes_later_gets_the_right_answer_whatever_is_left(decoder: LlamaDecoder, alone: list[str]) -> None:
    later = once(asked(2, PROMPTS[2]), lambda outcome: {0, 1} <= set(outcome.finished))
    outcome = run(decoder, [asked(number, PROMPTS[number]) for number in range(2)], meanwhile=later)
    assert answers(outcome) == alone


def test_more_than_fits_is_served_in_turns(decoder: LlamaDecoder, alone: list[str]) -> None:
    outcome = run(decoder, [asked(number, f"{number}{PROMPTS[number % 3]}") for number in range(12)])
    assert len(answers(outcome)) == 12
    assert all(finished.tokens == 12 for finished in outcome.finished.values())
    assert answers(run(decoder, [asked(0, PROMPTS[1])])) == [alone[1]]
