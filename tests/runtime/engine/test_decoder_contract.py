"""What every decoder keeps to: the same tests on the real model and on its double."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from corral.runtime.engine.decoder import AbortedError, DecodeError, Decoder
from corral.runtime.engine.fake import FakeDecoder
from corral.runtime.engine.llama.decoder import LlamaDecoder
from corral.runtime.engine.protocol import LoadOptions, Sampling
from corral.runtime.engine.sequence import Tokenized

from tests.runtime.engine.conftest import ask, cancel, run

OPTIONS = LoadOptions(num_ctx=128, slots=2, num_batch=64, num_thread=1)
TEXT = "Wörter, 10 € und 😀: the quick brown fox."
SENTENCE = "The capital of France is the city of"


@pytest.fixture(scope="module", params=["fake", "llama"])
def decoder(request: pytest.FixtureRequest, smollm2: Path) -> Decoder:
    if request.param == "fake":
        return FakeDecoder(OPTIONS)
    return LlamaDecoder(str(smollm2), OPTIONS, lambda _: None)


@pytest.fixture(autouse=True)
def _empty(decoder: Decoder) -> None:  # pyright: ignore[reportUnusedFunction]
    for slot in range(decoder.sequences):
        decoder.forget(slot)


def evaluate(decoder: Decoder, tokens: list[int], *, slot: int = 0, start: int = 0) -> int:
    """Evaluate tokens of one sequence; the greedy next one."""
    count = len(tokens)
    wanted = np.zeros(count, np.int8)
    wanted[-1] = 1
    positions = np.arange(start, start + count, dtype=np.int32)
    decoder.decode(np.array(tokens, np.int32), positions, np.full(count, slot, np.int32), wanted)
    return int(decoder.logits(0).argmax())


def test_it_says_what_it_is(decoder: Decoder) -> None:
    facts = decoder.describe()
    assert facts.num_ctx == decoder.num_ctx == OPTIONS.num_ctx
    assert facts.train_ctx >= facts.num_ctx
    assert facts.memory > 0
    assert decoder.slots == OPTIONS.slots
    assert decoder.num_batch == OPTIONS.num_batch


@pytest.mark.parametrize("num_batch", [-1, 1])
def test_a_batch_has_room_for_every_slot(decoder: Decoder, smollm2: Path, num_batch: int) -> None:
    options = LoadOptions(num_ctx=64, slots=3, num_batch=num_batch, num_thread=1)
    small = FakeDecoder(options) if isinstance(decoder, FakeDecoder) else LlamaDecoder(str(smollm2), options, print)
    assert small.num_batch == 3
    small.decode(np.full(3, 5, np.int32), np.zeros(3, np.int32), np.arange(3, dtype=np.int32), np.ones(3, np.int8))


def test_the_end_text_is_the_end_token(decoder: Decoder) -> None:
    token = decoder.special_token(decoder.describe().eos)
    assert token is not None
    assert decoder.is_end(token)
    assert decoder.piece(token) == b""


def test_tokens_stand_for_the_text(decoder: Decoder) -> None:
    tokens = decoder.tokenize(TEXT)
    assert b"".join(decoder.piece(token) for token in tokens).decode().strip() == TEXT
    assert not any(decoder.is_end(token) for token in tokens)


def test_special_tokens_of_a_prompt_are_recognised_once(decoder: Decoder) -> None:
    begin = decoder.describe().bos
    tokens = decoder.tokenize("a")
    assert decoder.tokenize("a") == tokens
    assert decoder.special_token(begin) is not None


def test_prompts_begin_with_the_begin_token_where_there_is_one(decoder: Decoder) -> None:
    assert (decoder.tokenize("a")[0] == decoder.begin) == (decoder.begin >= 0)


def test_what_follows_other_tokens_is_all_of_its_text(decoder: Decoder) -> None:
    before, text = decoder.tokenize("a"), decoder.describe().bos + "b"
    prompt = Tokenized.of(ask(1, text, before=before), decoder).prompt
    assert prompt[: len(before)] == before
    assert b"".join(map(decoder.spelling, prompt[len(before) :])).decode() == text


def test_any_thread_may_ask_for_tokens_while_the_loop_runs(decoder: Decoder) -> None:
    texts = ["", TEXT, SENTENCE * 20]
    expected = [decoder.tokenize(text) for text in texts]
    alone = run(decoder, [ask(1, SENTENCE, num_predict=20)]).texts[1]
    with ThreadPoolExecutor(3) as pool:
        asked = [pool.submit(lambda: [decoder.tokenize(text) for text in texts]) for _ in range(60)]
        assert run(decoder, [ask(1, SENTENCE, num_predict=20)]).texts[1] == alone
        assert all(done.result() == expected for done in asked)


@pytest.mark.parametrize("text", ["", "a", "no such token", "é€", "\0", "<|nothing|>"])
def test_ordinary_text_is_no_special_token(decoder: Decoder, text: str) -> None:
    assert decoder.special_token(text) is None


def test_equal_tokens_have_equal_continuations_in_any_slot(decoder: Decoder) -> None:
    tokens = decoder.tokenize(SENTENCE)
    first = evaluate(decoder, tokens, slot=0)
    assert evaluate(decoder, tokens, slot=1) == first
    decoder.forget(0)
    assert evaluate(decoder, tokens, slot=0) == first


def test_a_sequence_goes_on_where_it_was(decoder: Decoder) -> None:
    tokens = decoder.tokenize(SENTENCE)
    whole = evaluate(decoder, tokens, slot=0)
    evaluate(decoder, tokens[:3], slot=1)
    assert evaluate(decoder, tokens[3:], slot=1, start=3) == whole


def test_a_sequence_may_begin_with_anothers_beginning(decoder: Decoder) -> None:
    assert decoder.can_share
    tokens = decoder.tokenize(SENTENCE)
    whole = evaluate(decoder, tokens, slot=0)
    assert decoder.share(0, 1, 4)
    decoder.forget(0)
    assert evaluate(decoder, tokens[4:], slot=1, start=4) == whole


def test_a_beginning_that_is_not_there_is_not_given(decoder: Decoder) -> None:
    tokens = decoder.tokenize(SENTENCE)
    evaluate(decoder, tokens[:3], slot=0)
    assert not decoder.share(0, 1, 4)
    first = evaluate(decoder, tokens, slot=2)
    assert evaluate(decoder, tokens, slot=1) == first


def test_there_is_a_sequence_for_every_slot_and_each_is_its_own(decoder: Decoder) -> None:
    assert decoder.sequences >= decoder.slots
    tokens = decoder.tokenize("a b c")
    first = evaluate(decoder, tokens, slot=0)
    for number in range(1, decoder.sequences):
        assert evaluate(decoder, tokens, slot=number) == first


def test_error_an_evaluation_can_be_aborted_and_the_next_is_not(decoder: Decoder) -> None:
    tokens = decoder.tokenize(SENTENCE)
    first = evaluate(decoder, tokens)
    decoder.abort()
    with pytest.raises(AbortedError, match="it was aborted"):
        evaluate(decoder, tokens, slot=1)
    decoder.allow()
    decoder.forget(1)
    assert evaluate(decoder, tokens, slot=1) == first


def test_any_number_of_threads_offered_gives_the_same_token(decoder: Decoder) -> None:
    tokens = decoder.tokenize(SENTENCE)
    first = evaluate(decoder, tokens)
    for number, threads in enumerate(decoder.threads, 1):
        decoder.use_threads(threads)
        assert evaluate(decoder, tokens, slot=number) == first


def test_a_grammar_is_kept_to(decoder: Decoder) -> None:
    keeping = Sampling(grammar='root ::= "Lyon, not Paris"')
    outcome = run(decoder, [ask(1, SENTENCE, sampling=keeping), ask(2, SENTENCE, num_predict=3)])
    assert outcome.texts[1] == "Lyon, not Paris"
    assert outcome.finished[1].reason == "stop"


DEEP = f'root ::= "{")" * 99}" | {"(" * 99}"a"{")" * 99}'


@pytest.mark.parametrize("text", ["rubbish", 'other ::= "a"', "root ::= [", 'root ::= "a" absent', DEEP])
def test_error_a_grammar_that_is_none_fails_its_request_alone(decoder: Decoder, text: str) -> None:
    asked = [ask(1, SENTENCE, sampling=Sampling(grammar=text)), ask(2, SENTENCE, num_predict=3)]
    outcome = run(decoder, asked)
    assert "the grammar cannot be read" in outcome.failed[1]
    assert outcome.finished[2].tokens == 3


def test_logprobs_are_of_the_tokens_that_were_said(decoder: Decoder) -> None:
    outcome = run(decoder, [ask(1, SENTENCE, num_predict=6, logprobs=3)])
    said = outcome.logprobs[1]
    assert len(said) == 6
    assert b"".join(item.chosen.token for item in said).decode() == outcome.texts[1]
    for item in said:
        assert item.top[0] == item.chosen  # it is greedy
        assert [other.logprob for other in item.top] == sorted((other.logprob for other in item.top), reverse=True)
        assert 0 < sum(math.exp(other.logprob) for other in item.top) <= 1.0001


def test_a_special_token_is_text_where_that_is_wanted(decoder: Decoder) -> None:
    end = decoder.describe().eos
    token = decoder.special_token(end)
    assert token is not None
    assert decoder.spelling(token).decode() == end
    certain = Sampling(temperature=0, logit_bias={token: math.inf})
    shown = run(decoder, [ask(1, SENTENCE, num_predict=2, sampling=certain, shown=[end])])
    assert (shown.texts[1], shown.finished[1].reason) == (end * 2, "length")
    hidden = run(decoder, [ask(1, SENTENCE, num_predict=2, sampling=certain)])
    assert (hidden.texts[1], hidden.finished[1].reason) == ("", "stop")


def test_a_grammars_text_is_written_without_special_tokens_unless_they_are_shown(decoder: Decoder) -> None:
    begin = decoder.describe().bos
    token = decoder.special_token(begin)
    assert token is not None
    likely = Sampling(temperature=0, logit_bias={token: math.inf}, grammar=f'root ::= "{begin}"')
    outcome = run(decoder, [ask(1, SENTENCE, sampling=likely), ask(2, SENTENCE, sampling=likely, shown=[begin])])
    assert outcome.texts == {1: begin, 2: begin}
    if isinstance(decoder, LlamaDecoder):
        assert outcome.finished[2].tokens == 2 < outcome.finished[1].tokens


def test_error_a_gap_in_the_positions_is_refused_and_does_no_harm(decoder: Decoder) -> None:
    tokens = decoder.tokenize(SENTENCE)
    first = evaluate(decoder, tokens)
    with pytest.raises(DecodeError, match=f"could not evaluate a batch of {len(tokens)}"):
        evaluate(decoder, tokens, start=len(tokens) + 5)
    decoder.forget(0)
    assert evaluate(decoder, tokens) == first


def test_the_loop_ends_at_num_predict(decoder: Decoder) -> None:
    finished = run(decoder, [ask(1, SENTENCE, num_predict=5)]).finished[1]
    assert (finished.reason, finished.tokens, finished.truncated) == ("length", 5, 0)


def test_the_loop_ends_when_the_context_is_full(decoder: Decoder) -> None:
    finished = run(decoder, [ask(1, SENTENCE, num_ctx=48)]).finished[1]
    # The last token is answered but never evaluated, so it needs no room.
    assert (finished.reason, finished.prompt_tokens + finished.tokens) == ("length", 48 + 1)


def test_the_loop_cuts_a_prompt_that_is_too_long(decoder: Decoder) -> None:
    outcome = run(decoder, [ask(1, SENTENCE * 50, num_predict=3, shifts=True)])
    finished = outcome.finished[1]
    assert finished.prompt_tokens + finished.truncated == len(decoder.tokenize(SENTENCE * 50))
    assert finished.prompt_tokens < decoder.num_ctx
    assert finished.tokens == 3


def test_the_loop_ends_at_a_stop_text(decoder: Decoder) -> None:
    text = run(decoder, [ask(1, SENTENCE, num_predict=8)]).texts[1]
    stop = text[len(text) // 2 :][:3]
    outcome = run(decoder, [ask(1, SENTENCE, num_predict=8, stop=["never said", stop])])
    assert outcome.finished[1].reason == "stop"
    assert outcome.texts[1] == text.partition(stop)[0]


def test_two_requests_and_one_that_waits_are_all_answered(decoder: Decoder) -> None:
    outcome = run(decoder, [ask(number, f"{SENTENCE} {number}", num_predict=4) for number in range(3)])
    assert {number: done.tokens for number, done in outcome.finished.items()} == {0: 4, 1: 4, 2: 4}


def test_a_cancelled_request_leaves_nothing_behind(decoder: Decoder) -> None:
    alone = run(decoder, [ask(1, SENTENCE, num_predict=6)]).texts[1]
    requests = [ask(1, "Once upon a time", num_predict=100), ask(2, "Long ago", num_predict=2)]
    run(decoder, requests, meanwhile=cancel(1, after=4))
    assert run(decoder, [ask(1, SENTENCE, num_predict=6)]).texts[1] == alone


def test_alone_and_in_company_deterministic_answers_are_equal(decoder: Decoder) -> None:
    asked = ask(1, SENTENCE, num_predict=8)
    alone = run(decoder, [asked], deterministic=True).texts[1]
    company = [ask(2, "Once upon a time there was", num_predict=8), asked, ask(3, "1, 2, 3, 4,", num_predict=8)]
    assert run(decoder, company, deterministic=True).texts[1] == alone


def test_a_seed_repeats_an_answer(decoder: Decoder) -> None:
    def answer(seed: int) -> str:
        return run(decoder, [ask(1, SENTENCE, num_predict=12, sampling=Sampling(temperature=1.5, seed=seed))]).texts[1]

    assert answer(42) == answer(42)
    if isinstance(decoder, LlamaDecoder):
        assert len({answer(seed) for seed in range(4)}) > 1


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(temperature=0, repeat_penalty=1.3),
        Sampling(temperature=0, presence_penalty=1.0, frequency_penalty=0.5, repeat_last_n=-1),
        Sampling(temperature=float("inf"), top_k=-5, top_p=-1.0, min_p=5.0, typical_p=-1.0),
        Sampling(temperature=-1.0, top_k=0, repeat_penalty=-2.0, seed=(1 << 63) - 1),
        Sampling(temperature=1e-30, top_k=-(1 << 63), repeat_last_n=0, repeat_penalty=float("inf")),
        Sampling(temperature=1.0, top_p=0.0, min_p=1.0, typical_p=0.0, frequency_penalty=-2.0),
    ],
)
def test_no_sampling_setting_is_too_strange(decoder: Decoder, sampling: Sampling) -> None:
    outcome = run(decoder, [ask(1, SENTENCE, num_predict=4, sampling=sampling)])
    assert outcome.finished[1].reason in ("stop", "length")
