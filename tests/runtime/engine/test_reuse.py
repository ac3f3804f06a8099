"""What stays in the cache and who begins with it, on a decoder that counts what it evaluates."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from corral.runtime.engine.batch import BatchLoop
from corral.runtime.engine.decoder import CacheFullError, Tokens
from corral.runtime.engine.fake import FakeDecoder
from corral.runtime.engine.protocol import Cancel, Chunk, Finished, LoadOptions, Reply, Sampling

from tests.runtime.conftest import eventually
from tests.runtime.engine.conftest import ask, cancel, once, run

SYSTEM = "the same long system message for everyone, "


def decoder(
    *, slots: int = 2, num_ctx: int = 256, num_batch: int = 512, rolls_back: bool = True, deterministic: bool = False
) -> FakeDecoder:
    options = LoadOptions(num_ctx=num_ctx, slots=slots, num_batch=num_batch, deterministic=deterministic)
    return FakeDecoder(options, rolls_back=rolls_back)


def after(number: int, prompt: str, *, prompt_of: int, **options: bool) -> tuple[FakeDecoder, Finished]:
    """One request after another is done; what the second one's end says."""
    model = decoder(**options)
    first = once(ask(number, prompt), lambda outcome: prompt_of in outcome.finished)
    outcome = run(model, [ask(prompt_of, SYSTEM + "say:one;")], meanwhile=first)
    return model, outcome.finished[number]


def test_what_ended_is_not_evaluated_again() -> None:
    model, finished = after(2, SYSTEM + "say:two;", prompt_of=1)
    assert finished.cached == len(SYSTEM) + 1 + len("say:")
    assert finished.prompt_tokens == len(SYSTEM) + 1 + len("say:two;")
    assert model.evaluated < 2 * len(SYSTEM)


def test_a_conversation_goes_on_where_it_was() -> None:
    model = decoder()
    said = SYSTEM + "say:one;"
    more = once(ask(2, said + "one" + "\nand now?", num_predict=4), lambda outcome: 1 in outcome.finished)
    outcome = run(model, [ask(1, said)], meanwhile=more)
    # Of the first answer the last token was never evaluated.
    assert outcome.finished[2].cached == len(said) + 1 + len("one")


def test_an_equal_prompt_evaluates_its_last_token_only() -> None:
    model = decoder()
    again = once(ask(2, SYSTEM + "say:x;"), lambda outcome: 1 in outcome.finished)
    outcome = run(model, [ask(1, SYSTEM + "say:x;")], meanwhile=again)
    assert outcome.texts[2] == "x"
    assert outcome.finished[2].cached == outcome.finished[2].prompt_tokens - 1


def test_deterministic_reuses_nothing() -> None:
    _, finished = after(2, SYSTEM + "say:two;", prompt_of=1, deterministic=True)
    assert finished.cached == 0


def test_a_model_that_cannot_roll_back_reuses_only_what_ends_there() -> None:
    _, finished = after(2, SYSTEM + "say:two;", prompt_of=1, rolls_back=False)
    assert finished.cached == 0
    _, finished = after(2, SYSTEM + "say:one;one, and more", prompt_of=1, rolls_back=False)
    assert finished.cached == len(SYSTEM) + 1 + len("say:one;one")


@pytest.mark.parametrize("rolls_back", [True, False])
@pytest.mark.parametrize("num_batch", [7, 512])
def test_who_arrives_together_has_the_beginning_evaluated_once(*, rolls_back: bool, num_batch: int) -> None:
    model = decoder(slots=4, num_batch=num_batch, rolls_back=rolls_back)
    requests = [ask(number, f"{SYSTEM}say:{number};") for number in range(4)]
    outcome = run(model, requests)
    assert outcome.texts == {number: str(number) for number in range(4)}
    assert [outcome.finished[number].cached for number in range(4)] == [0, *[len(SYSTEM) + 1 + len("say:")] * 3]


def test_who_arrives_while_the_first_is_answered_begins_with_its_beginning() -> None:
    late = once(ask(2, SYSTEM + "say:two;"), lambda outcome: len(outcome.order) == 2)
    outcome = run(decoder(), [ask(1, SYSTEM + "say:a long answer;")], meanwhile=late)
    assert outcome.finished[2].cached == len(SYSTEM) + 1 + len("say:")


def test_a_cancelled_request_leaves_what_it_evaluated() -> None:
    model = decoder()
    stop = cancel(1, after=2)
    later = once(ask(2, SYSTEM + "say:two;"), lambda outcome: len(outcome.order) >= 2)
    outcome = run(model, [ask(1, SYSTEM + "endless")], meanwhile=lambda seen: [*stop(seen), *later(seen)])
    assert outcome.finished[2].cached == len(SYSTEM) + 1


def test_the_cache_makes_room_for_who_needs_it() -> None:
    model = decoder(slots=1, num_ctx=64)
    prompts = [f"{number}: a prompt of its own, say:{number};" for number in range(20)]
    outcome = run(model, [ask(number, prompt) for number, prompt in enumerate(prompts)])
    assert outcome.texts == {number: str(number) for number in range(20)}
    assert outcome.failed == {}


def test_what_was_used_last_is_kept_longest() -> None:
    model = decoder(slots=1, num_ctx=160)
    texts = {1: "first of all, " * 3, 2: "secondly then, " * 3}
    steps = [(1, 1), (2, 2), (3, 1), (4, 3), (5, 1)]
    texts[3] = "something else " * 4
    requests = [ask(number, texts[which] + "say:x;") for number, which in steps]
    outcome = run(model, requests)
    assert outcome.finished[3].cached > len(texts[1])
    assert outcome.finished[5].cached > len(texts[1])


class Strict(FakeDecoder):
    """Its cache is full at some batch, whatever is counted."""

    full_at = 4

    def decode(self, tokens: Tokens, positions: Tokens, sequences: Tokens, wanted: Tokens) -> None:
        if len(self.batches) == self.full_at:
            self.full_at = -1
            raise CacheFullError("the KV cache is full")
        super().decode(tokens, positions, sequences, wanted)


def test_a_cache_that_is_full_before_its_time_gives_up_what_is_not_in_use() -> None:
    model = Strict(LoadOptions(num_ctx=256, slots=1))
    outcome = run(model, [ask(1, SYSTEM + "say:a;"), ask(2, "say:another one;")])
    assert outcome.texts == {1: "a", 2: "another one"}
    assert outcome.failed == {}


def test_error_a_cache_that_is_full_of_what_is_in_use_fails_the_batch() -> None:
    model = Strict(LoadOptions(num_ctx=256, slots=1))
    outcome = run(model, [ask(1, "say:long enough;"), ask(2, "say:b;")])
    assert outcome.failed == {1: "the KV cache is full"}
    assert outcome.texts[2] == "b"


def test_a_long_evaluation_nobody_waits_for_is_ended() -> None:
    model = FakeDecoder(LoadOptions(num_ctx=256, slots=1), step_seconds=3600)
    replies: list[Reply] = []
    loop = BatchLoop(model, replies.extend)
    thread = threading.Thread(target=loop.run)
    thread.start()
    loop.submit(ask(1, SYSTEM))
    eventually(lambda: bool(loop._evaluating))
    loop.submit(Cancel(1))
    loop.submit(None)
    thread.join(60)
    assert not thread.is_alive()
    assert replies == []


def test_a_cancellation_may_overtake_its_request() -> None:
    loop_replies: list[Reply] = []
    loop = BatchLoop(decoder(), loop_replies.extend)
    loop.submit(Cancel(2))
    for number in (1, 2, 3):
        loop.submit(ask(number, f"say:{number};"))
    thread = threading.Thread(target=loop.run)
    thread.start()
    eventually(lambda: sum(isinstance(reply, Finished) for reply in loop_replies) == 2)
    loop.submit(None)
    thread.join(60)
    assert {reply.id for reply in loop_replies if isinstance(reply, Chunk)} == {1, 3}


def test_a_grammar_decides_what_is_said() -> None:
    sampling = Sampling(grammar='root ::= "{}"')
    outcome = run(decoder(), [ask(1, "say:no;", sampling=sampling), ask(2, "say:yes;")])
    assert outcome.texts == {1: "{}", 2: "yes"}


def test_error_a_grammar_nobody_can_read_fails_its_request_alone() -> None:
    outcome = run(decoder(), [ask(1, "a", sampling=Sampling(grammar="rubbish")), ask(2, "say:b;")])
    assert "the grammar cannot be read" in outcome.failed[1]
    assert outcome.texts == {2: "b"}


def test_special_tokens_are_text_where_that_is_wanted() -> None:
    sampling = Sampling(logit_bias={258: np.inf}, temperature=0)
    shown = run(decoder(), [ask(1, "go", sampling=sampling, num_predict=2, shown=["<call>"])])
    hidden = run(decoder(), [ask(1, "go", sampling=sampling, num_predict=2)])
    assert (shown.texts[1], hidden.texts[1]) == ("<call><call>", "")


def test_each_token_has_its_logprobs() -> None:
    outcome = run(decoder(), [ask(1, "say:ab€;", logprobs=2), ask(2, "say:cd;", logprobs=0), ask(3, "say:ef;")])
    said = outcome.logprobs[1]
    assert b"".join(item.chosen.token for item in said) == "ab€".encode()
    assert all(item.chosen.logprob == 0 and len(item.top) == 2 for item in said)
    assert [item.top for item in outcome.logprobs[2]] == [[]] * 2
    assert outcome.logprobs[3] == []


def test_a_model_that_repeats_itself_is_stopped() -> None:
    sampling = Sampling(logit_bias={ord("x"): np.inf}, temperature=0)
    outcome = run(decoder(), [ask(1, "go", sampling=sampling)])
    assert outcome.texts[1] == "x" * 32
    assert outcome.finished[1].reason == "length"


def test_error_a_prompt_too_long_is_refused_where_it_must_not_be_cut() -> None:
    outcome = run(decoder(num_ctx=32), [ask(1, "x" * 31), ask(2, "say:b;"), ask(3, "x" * 30)])
    (refused,) = outcome.failed.values()
    assert refused.startswith(
        "the prompt is longer than the context length currently available to the model: "
        "32 tokens and one of the answer, it holds 32; shorten the prompt, raise num_ctx"
    )
    assert outcome.texts[2] == "b"


def test_a_short_prompt_does_not_wait_behind_a_long_one_that_begins_like_it() -> None:
    """One answer is on its way; then a very long prompt comes, a long one, and a short one that begins like the latter."""
    model = decoder(slots=4, num_ctx=4096)
    beginning = "second of all, " * 5
    late = [ask(2, "L" * 3000), ask(3, beginning + "M" * 2000), ask(4, beginning + "say:short;")]
    outcome = run(
        model,
        [ask(1, "say:" + "a very long answer " * 60 + ";")],
        meanwhile=lambda seen: [late.pop(0)] if late and seen.order else [],
    )
    assert outcome.texts[4] == "short"
    assert outcome.order.index(4) < len([number for number in outcome.order if number == 1]) / 2


def test_a_conversation_is_not_dropped_to_make_room_for_itself() -> None:
    model = decoder(slots=1, num_ctx=4096)
    talks = [f"{number}: a conversation of its own, " * 3 for number in range(model.sequences)]
    numbers = iter(range(100))
    first = [ask(next(numbers), talk + "say:x;") for talk in talks]
    again = ask(next(numbers), talks[0] + "say:x; and more say:y;")
    outcome = run(model, first, meanwhile=once(again, lambda seen: len(seen.finished) == len(first)))
    assert outcome.finished[again.id].cached > len(talks[0])


def test_what_cannot_roll_back_is_kept_beside_what_goes_on_from_it() -> None:
    model = decoder(slots=2, rolls_back=False)
    shared = SYSTEM + "say:a;a"
    second = once(ask(2, shared + " one more", num_predict=3), lambda seen: 1 in seen.finished)
    third = once(ask(3, shared + " another", num_predict=3), lambda seen: 2 in seen.finished)
    outcome = run(model, [ask(1, SYSTEM + "say:a;")], meanwhile=lambda seen: [*second(seen), *third(seen)])
    assert outcome.finished[2].cached > len(SYSTEM)
    assert outcome.finished[3].cached == outcome.finished[2].cached


def test_who_evaluates_alone_again_keeps_the_pace_of_others() -> None:
    class Tight(FakeDecoder):
        """Has no place once, for what several hold."""

        refuses = True

        def decode(self, tokens: Tokens, positions: Tokens, sequences: Tokens, wanted: Tokens) -> None:
            if self.refuses and self.evaluated > 2000 and len(set(map(int, sequences))) > 1:
                self.refuses = False
                raise CacheFullError("the KV cache is full")
            self.sizes.append(len(tokens))
            super().decode(tokens, positions, sequences, wanted)

        def __init__(self, options: LoadOptions) -> None:
            super().__init__(options)
            self.sizes: list[int] = []

    model = Tight(LoadOptions(num_ctx=4096, slots=3, num_batch=2048))
    long = "a long beginning, " * 100
    late = once(ask(2, long + "say:two;"), lambda seen: len(seen.order) > 2)
    outcome = run(model, [ask(1, long + "say:" + "one " * 300 + ";")], meanwhile=late)
    assert outcome.texts[2] == "two"
    assert not model.refuses
    assert outcome.finished[2].cached == 0
    assert max(model.sizes[2:]) < len(long)
