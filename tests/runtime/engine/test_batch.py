"""The batching loop, on a decoder whose answers are known."""

from __future__ import annotations

import math

import pytest
from corral.runtime.engine.decoder import DecodeError, Tokens
from corral.runtime.engine.fake import FakeDecoder
from corral.runtime.engine.protocol import LoadOptions, Sampling
from corral.runtime.engine.sampling import Grammar, Logits
from corral.runtime.engine.sequence import fit_prompt
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.runtime.engine.conftest import ask, cancel, once, run


def decoder(*, num_ctx: int = 64, slots: int = 2, num_batch: int = 512) -> FakeDecoder:
    return FakeDecoder(LoadOptions(num_ctx=num_ctx, slots=slots, num_batch=num_batch))


def test_an_answer_ends_where_the_model_ends_it() -> None:
    outcome = run(decoder(), [ask(1, "say:yes;")])
    assert outcome.texts[1] == "yes"
    finished = outcome.finished[1]
    assert (finished.reason, finished.prompt_tokens, finished.tokens, finished.truncated) == ("stop", 9, 4, 0)
    assert finished.prompt_seconds >= 0
    assert finished.seconds >= 0


def test_an_answer_of_nothing_has_no_text() -> None:
    outcome = run(decoder(), [ask(1, "say:;")])
    assert outcome.order == []
    assert outcome.finished[1].reason == "stop"


def test_characters_come_whole() -> None:
    outcome = run(decoder(), [ask(1, "say:a€😀;")])
    assert outcome.texts[1] == "a€😀"
    assert len(outcome.order) == 3


def test_two_requests_share_each_decode() -> None:
    model = decoder()
    outcome = run(model, [ask(1, "say:abcd;"), ask(2, "say:efgh;")])
    assert outcome.texts == {1: "abcd", 2: "efgh"}
    assert set(model.batches) == {2}


def test_no_more_sequences_run_than_there_are_slots() -> None:
    model = decoder(slots=2)
    outcome = run(model, [ask(number, f"say:{number}{number};") for number in range(5)])
    assert outcome.texts == {number: f"{number}{number}" for number in range(5)}
    assert max(model.batches) == 2


def test_those_who_wait_are_served_in_order() -> None:
    outcome = run(decoder(slots=1), [ask(number, "say:x;") for number in (4, 2, 3, 1)])
    assert outcome.order == [4, 2, 3, 1]


def test_a_request_joins_while_another_runs() -> None:
    model = decoder()
    late = once(ask(2, "say:b;"), lambda outcome: len(outcome.order) == 3)
    outcome = run(model, [ask(1, "say:aaaaaaaa;")], meanwhile=late)
    assert outcome.order.index(2) < len(outcome.order) - 1
    assert {1, 2} == set(model.batches)


def test_generation_goes_on_while_a_long_prompt_is_read() -> None:
    long = once(ask(2, "x" * 40 + "say:b;"), lambda outcome: len(outcome.order) == 1)
    outcome = run(decoder(num_batch=8), [ask(1, "say:" + "a" * 30 + ";")], meanwhile=long)
    assert outcome.order.index(2) >= 6  # 47 tokens of prompt, in batches that always held a token of the other


def test_a_prompt_larger_than_a_batch_gets_the_same_answer() -> None:
    small, large = decoder(num_batch=5), decoder()
    prompt = "a prompt of more than five tokens"
    assert run(small, [ask(1, prompt)]).texts == run(large, [ask(1, prompt)]).texts
    assert len(small.batches) > len(large.batches)


def test_many_prompts_at_once_fill_no_batch_over_its_size() -> None:
    requests = [ask(number, f"say:{number};" + "z" * 20) for number in range(4)]
    outcome = run(decoder(slots=4, num_batch=6), requests)
    assert outcome.texts == {number: str(number) for number in range(4)}


def test_company_does_not_change_an_answer() -> None:
    prompts = ["one", "another", "a third one"]
    alone = [run(decoder(), [ask(1, prompt)]).texts[1] for prompt in prompts]
    together = run(decoder(slots=3), [ask(number, prompt) for number, prompt in enumerate(prompts)])
    assert list(together.texts.values()) == alone


def test_a_beginning_in_common_is_evaluated_once() -> None:
    decoder = FakeDecoder(LoadOptions(num_ctx=256, slots=3, num_batch=512))
    evaluated: list[int] = []
    decode = decoder.decode

    def counted(tokens: Tokens, positions: Tokens, sequences: Tokens, wanted: Tokens) -> None:
        evaluated.append(len(tokens))
        decode(tokens, positions, sequences, wanted)

    decoder.decode = counted
    beginning = "the same long system message for everyone, "
    prompts = [beginning + end for end in ("say:one;", "say:two;", "and so on")]
    alone = [
        run(FakeDecoder(LoadOptions(num_ctx=256, slots=1)), [ask(0, prompt, num_predict=4)]).texts[0]
        for prompt in prompts
    ]
    together = run(decoder, [ask(number, prompt, num_predict=4) for number, prompt in enumerate(prompts)])
    assert [together.texts[number] for number in range(3)] == alone
    assert [together.finished[number].prompt_tokens for number in range(3)] == [len(prompt) + 1 for prompt in prompts]
    assert sum(evaluated) < 2 * len(beginning)


def test_who_waits_for_a_beginning_goes_on_when_its_reader_is_cancelled() -> None:
    decoder = FakeDecoder(LoadOptions(num_ctx=256, slots=3, num_batch=16))
    long = "a prompt that takes several batches to read, because it is so long, "
    first = [ask(0, "say:abc;"), ask(1, long + "say:x;"), ask(2, long + "say:yes;")]
    outcome = run(decoder, first, meanwhile=cancel(1, after=1))
    assert outcome.texts[0] == "abc"
    assert outcome.texts[2] == "yes"
    assert 1 not in outcome.finished


def test_deterministic_evaluates_each_sequence_alone() -> None:
    model = decoder(slots=3)
    outcome = run(model, [ask(number, f"say:{number};") for number in range(3)], deterministic=True)
    assert outcome.texts == {number: str(number) for number in range(3)}
    assert set(model.batches) == {1}


@pytest.mark.parametrize("count", [1, 2, 17])
def test_num_predict_is_the_most_tokens_generated(count: int) -> None:
    outcome = run(decoder(), [ask(1, "go", num_predict=count)])
    assert len(outcome.texts[1]) == count
    assert (outcome.finished[1].reason, outcome.finished[1].tokens) == ("length", count)


@pytest.mark.parametrize(("num_predict", "said"), [(2, "ab"), (-1, "abc")])
def test_the_tokens_of_prompt_and_answer_are_told_to_the_last(num_predict: int, said: str) -> None:
    outcome = run(decoder(), [ask(1, "say:abc;", num_predict=num_predict, wants_tokens=True)])
    assert outcome.finished[1].context == [256, *f"say:abc;{said}".encode()]


@pytest.mark.parametrize("no_limit", [0, -1, -5, -(1 << 63)])
def test_num_predict_of_nothing_is_no_limit_but_the_context(no_limit: int) -> None:
    outcome = run(decoder(num_ctx=64), [ask(1, "go", num_predict=no_limit)])
    finished = outcome.finished[1]
    assert finished.reason == "length"
    # The last token is answered but never evaluated, so it needs no room.
    assert finished.prompt_tokens + finished.tokens == 64 + 1


def test_a_request_may_want_less_context_than_a_slot_has() -> None:
    outcome = run(decoder(num_ctx=64), [ask(1, "go", num_ctx=20), ask(2, "go")])
    assert len(outcome.texts[1]) + 3 == 20 + 1
    assert len(outcome.texts[2]) + 3 == 64 + 1


def test_a_full_context_makes_room_where_that_is_wanted() -> None:
    prompt = "p" * 55
    whole, shifted = ask(1, prompt), ask(2, prompt, shifts=True)
    outcome = run(decoder(num_ctx=64), [whole, shifted])
    assert outcome.finished[1].tokens == 64 - 56 + 1
    # Ten times what the context holds, and the beginning is the same.
    assert outcome.finished[2].tokens == 640
    assert outcome.texts[2].startswith(outcome.texts[1])
    assert {finished.prompt_tokens for finished in outcome.finished.values()} == {56}
    assert {finished.reason for finished in outcome.finished.values()} == {"length"}


def test_what_makes_room_is_forgotten_and_the_rest_is_read_again() -> None:
    model = decoder(num_ctx=32, slots=1)
    outcome = run(model, [ask(1, "abcdefghijklmnopqrstuvwxyz", num_keep=3, num_predict=12, shifts=True)])
    first = outcome.texts[1][:6].encode()
    # The begin token and three more stay, then the newest half of the rest, and the token that did not fit.
    kept = [256, *b"abc", *(b"abcdefghijklmnopqrstuvwxyz" + first[:5])[-14:], first[5]]
    assert outcome.texts[1][6] == chr(ord("a") + (sum(kept) + len(kept)) % 26)
    assert outcome.finished[1].tokens == 12


def test_who_shares_a_beginning_with_one_that_makes_room_reads_it_alone() -> None:
    model = decoder(num_ctx=64, slots=3, num_batch=8)
    prompt = "a beginning in common for all of them, and long enough"
    outcome = run(model, [ask(number, prompt, shifts=True, num_predict=40) for number in (1, 2, 3)])
    assert len(set(outcome.texts.values())) == 1
    assert len(outcome.texts[1]) == 40


def test_what_was_withheld_is_given_when_the_limit_comes() -> None:
    outcome = run(decoder(), [ask(1, "say:a<|en;", stop=["<|end|>"], num_predict=5)])
    assert outcome.texts[1] == "a<|en"
    assert outcome.finished[1].reason == "length"


def test_a_stop_text_ends_the_answer_and_is_not_in_it() -> None:
    outcome = run(decoder(), [ask(1, "say:one. END two;", stop=["END"]), ask(2, "say:END;", stop=["nothing"])])
    assert outcome.texts == {1: "one. ", 2: "END"}
    assert outcome.finished[1].reason == "stop"


def test_a_stop_text_in_the_last_token_allowed_is_a_stop() -> None:
    outcome = run(decoder(), [ask(1, "say:abc;", stop=["c"], num_predict=3)])
    assert (outcome.texts[1], outcome.finished[1].reason) == ("ab", "stop")


def test_a_cancelled_request_frees_its_slot() -> None:
    outcome = run(decoder(slots=1), [ask(1, "endless"), ask(2, "say:next;")], meanwhile=cancel(1, after=3))
    assert outcome.texts[2] == "next"
    assert set(outcome.finished) == {2}
    assert len(outcome.texts[1]) < 10


def test_a_request_cancelled_while_it_waits_is_never_begun() -> None:
    outcome = run(decoder(slots=1), [ask(1, "say:abcdef;"), ask(2, "say:no;")], meanwhile=cancel(2, after=1))
    assert outcome.texts == {1: "abcdef"}
    assert set(outcome.finished) == {1}


def test_cancelling_what_is_over_or_never_was_does_nothing() -> None:
    again = ask(2, "say:still here;")
    first = run(decoder(slots=1), [ask(1, "say:a;"), again], meanwhile=cancel(99, after=1))
    assert first.texts == {1: "a", 2: "still here"}


def test_a_slot_forgets_who_had_it() -> None:
    model = decoder(slots=1)
    alone = run(decoder(slots=1), [ask(1, "again")]).texts[1]
    outcome = run(model, [ask(1, "say:something else;"), ask(2, "again"), ask(3, "again")])
    assert outcome.texts[2] == outcome.texts[3] == alone


class Failing(FakeDecoder):
    """Fails at one decode."""

    def __init__(self, options: LoadOptions, at: int) -> None:
        super().__init__(options)
        self._left = at

    def decode(self, tokens: Tokens, positions: Tokens, sequences: Tokens, wanted: Tokens) -> None:
        self._left -= 1
        if self._left == 0:
            raise DecodeError("the KV cache is full")
        super().decode(tokens, positions, sequences, wanted)


def test_error_a_failed_batch_fails_its_requests_and_the_next_are_served() -> None:
    model = Failing(LoadOptions(num_ctx=64, slots=2), at=3)
    requests = [ask(1, "say:abcdef;"), ask(2, "say:ghijkl;"), ask(3, "say:m;"), ask(4, "say:n;")]
    outcome = run(model, requests)
    assert outcome.failed == {1: "the KV cache is full", 2: "the KV cache is full"}
    assert outcome.texts == {1: "ab", 2: "gh", 3: "m", 4: "n"}


class Damaged(FakeDecoder):
    """Knows no number for one of its tokens, as with a damaged row of weights."""

    def logits(self, index: int) -> Logits:
        logits = super().logits(index)
        logits[7] = self.number
        return logits

    number = math.nan


@pytest.mark.parametrize("number", [math.nan, math.inf])
@pytest.mark.parametrize("sampling", [Sampling(temperature=0), Sampling(temperature=1, top_k=3), Sampling(top_k=0)])
def test_error_what_is_no_number_is_told_however_tokens_are_chosen(number: float, sampling: Sampling) -> None:
    model = Damaged(LoadOptions(num_ctx=64, slots=2))
    model.number = number
    outcome = run(model, [ask(1, "say:ab;", sampling=sampling)])
    assert "its weights are damaged" in outcome.failed[1]
    assert not outcome.texts.get(1)


class Mute(FakeDecoder):
    """Has no begin token."""

    def tokenize(self, text: str) -> list[int]:
        return super().tokenize(text)[1:]


def test_error_a_prompt_without_tokens_is_refused() -> None:
    outcome = run(Mute(LoadOptions(num_ctx=64, slots=1)), [ask(1, ""), ask(2, "say:b;")])
    assert outcome.failed == {1: "the prompt has no tokens"}
    assert outcome.texts == {2: "b"}


class Counting(FakeDecoder):
    """Counts the grammars that are open."""

    open = 0

    def grammar(self, text: str, shown: frozenset[int], /) -> Grammar:
        self.open += 1
        inner, outer = super().grammar(text, shown), self

        class Closing:
            allowed, accept = inner.allowed, inner.accept

            def close(self) -> None:
                outer.open -= 1

        return Closing()


def test_every_grammar_is_closed() -> None:
    model = Counting(LoadOptions(num_ctx=64, slots=2))
    keeping = Sampling(temperature=0, grammar='root ::= "abcdefgh"')
    requests = [ask(number, "go", sampling=keeping) for number in (1, 2, 3)]
    outcome = run(model, requests, meanwhile=cancel(2, after=2))
    assert outcome.texts[1] == outcome.texts[3] == "abcdefgh"
    assert model.open == 0


def test_a_prompt_too_long_keeps_its_start_and_its_newest_tokens() -> None:
    outcome = run(decoder(num_ctx=32), [ask(1, "x" * 100 + "say:cut;", num_keep=4, shifts=True)])
    finished = outcome.finished[1]
    assert outcome.texts[1] == "cut"
    assert (finished.prompt_tokens, finished.truncated) == (5 + 13, 109 - 18)


def test_a_prompt_that_just_fits_is_not_cut() -> None:
    assert fit_prompt(list(range(31)), 32, 4) == (list(range(31)), 0)
    kept, cut = fit_prompt(list(range(32)), 32, 4)
    assert kept == [0, 1, 2, 3, *range(18, 32)]
    assert cut == 14


@settings(derandomize=True, deadline=None, max_examples=200)
@given(size=st.integers(0, 300), limit=st.integers(4, 200), keep=st.integers(-10, 1 << 40))
def test_a_cut_prompt_leaves_room_to_answer(size: int, limit: int, keep: int) -> None:
    kept, cut = fit_prompt(list(range(size)), limit, keep)
    assert len(kept) + cut == size
    assert len(kept) < limit
    assert kept == sorted(set(kept))
    assert kept[-1:] == list(range(size))[-1:]
