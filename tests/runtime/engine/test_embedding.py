"""EmbedLoop on the double: batches, turns, what is cut, what fails and what is cancelled."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import pytest
from corral.runtime.engine.embedding import EmbedLoop, normalised
from corral.runtime.engine.fake_embedder import LENGTH, FakeEmbedder
from corral.runtime.engine.protocol import Cancel, Embed, Embedded, Failed, LoadOptions, Reply

OPTIONS = LoadOptions(num_ctx=64, slots=4, num_batch=32, embeds=True)
PATIENCE = 20.0

_T = TypeVar("_T", bound=Reply)


@dataclass
class Loop:
    """A loop on a double, whose replies are kept."""

    embedder: FakeEmbedder
    loop: EmbedLoop
    replies: queue.Queue[Reply] = field(default_factory=queue.Queue[Reply])

    def next(self, kind: type[_T]) -> _T:
        reply = self.replies.get(timeout=PATIENCE)
        assert isinstance(reply, kind)
        return reply


def made(options: LoadOptions = OPTIONS, *, deterministic: bool = False) -> Loop:
    embedder = FakeEmbedder(options)
    replies: queue.Queue[Reply] = queue.Queue()

    def send(sent: list[Reply]) -> None:
        for reply in sent:
            replies.put(reply)

    return Loop(embedder, EmbedLoop(embedder, send, deterministic=deterministic), replies)


@contextmanager
def running(made: Loop) -> Generator[Loop]:
    """The loop runs in a thread while the block does; what was submitted before is taken at once."""
    thread = threading.Thread(target=made.loop.run)
    thread.start()
    try:
        yield made
    finally:
        made.loop.submit(None)
        thread.join(PATIENCE)
    assert not thread.is_alive()


def vector_of(text: str) -> bytes:
    """What a text gives alone, by another loop."""
    other = made(deterministic=True)
    other.loop.submit(Embed(1, [text]))
    with running(other):
        return other.next(Embedded).vectors[0]


def as_floats(raw: bytes) -> npt.NDArray[np.float32]:
    return np.frombuffer(raw, "<f4")


def test_texts_have_their_vectors_in_order_and_of_length_one() -> None:
    with running(made()) as loop:
        loop.loop.submit(Embed(7, ["one", "", "two", "one"]))
        reply = loop.next(Embedded)
    assert reply.id == 7
    assert reply.vectors == [vector_of(text) for text in ("one", "", "two", "one")]
    assert reply.vectors[0] == reply.vectors[3] != reply.vectors[2]
    assert [round(float(np.linalg.norm(as_floats(vector))), 6) for vector in reply.vectors] == [1] * 4
    assert reply.tokens == sum(len(text) + 2 for text in ("one", "", "two", "one"))
    assert len(as_floats(reply.vectors[0])) == LENGTH


def test_no_text_is_answered_at_once() -> None:
    with running(made()) as loop:
        loop.loop.submit(Embed(1, []))
        assert loop.next(Embedded) == Embedded(1, [], 0)
    assert loop.embedder.batches == []


def test_texts_of_several_requests_share_a_batch_and_take_turns() -> None:
    loop = made()
    for number, texts in enumerate((["a1", "a2", "a3", "a4", "a5"], ["b1"], ["c1", "c2"])):
        loop.loop.submit(Embed(number, texts))
    with running(loop):
        done = [loop.next(Embedded) for _ in range(3)]
    assert loop.embedder.batches == [[b"a1", b"b1", b"c1", b"a2"], [b"c2", b"a3", b"a4", b"a5"]]
    assert [reply.id for reply in done] == [1, 2, 0]
    assert done[2].vectors == [vector_of(f"a{i}") for i in range(1, 6)]


def test_a_batch_holds_no_more_tokens_than_it_may_but_a_text_of_its_own() -> None:
    loop = made()
    long, short = "l" * 40, "s" * 10
    loop.loop.submit(Embed(1, [short, long, short]))
    loop.loop.submit(Embed(2, [long, short]))
    with running(loop):
        assert {loop.next(Embedded).id, loop.next(Embedded).id} == {1, 2}
    assert [len(batch) for batch in loop.embedder.batches] == [1, 1, 1, 2]


def test_a_text_that_is_too_long_keeps_its_beginning_and_the_token_at_the_end() -> None:
    with running(made()) as loop:
        loop.loop.submit(Embed(1, ["x" * 500]))
        reply = loop.next(Embedded)
    assert loop.embedder.batches == [[b"x" * 62]]
    assert reply.tokens == 64
    assert reply.vectors == [vector_of("x" * 62)]


def test_error_a_text_that_is_too_long_and_may_not_be_cut() -> None:
    with running(made()) as loop:
        loop.loop.submit(Embed(1, ["x", "x" * 63], truncates=False))
        failed = loop.next(Failed)
        loop.loop.submit(Embed(2, ["x" * 62], truncates=False))
        assert loop.next(Embedded).id == 2
    assert failed.error == (
        "the input length exceeds the context length: text 2 of 2 has 65 tokens, at most 64 are taken"
    )
    assert failed.is_input
    assert failed.hint is not None
    assert loop.embedder.batches == [[b"x" * 62]]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("fail;", "the engine could not evaluate 1 texts of 7 tokens: code -3"),
        ("nan;", "embedding contains NaN or Inf values"),
    ],
)
def test_error_a_bad_text_fails_its_own_request_only(text: str, error: str) -> None:
    loop = made()
    for number, texts in enumerate((["a", "b"], ["c", text, "d", "e"], ["f"])):
        loop.loop.submit(Embed(number, texts))
    with running(loop):
        replies = [loop.replies.get(timeout=PATIENCE) for _ in range(3)]
        loop.loop.submit(Embed(9, ["g"]))
        assert loop.next(Embedded).id == 9
    assert Embedded(0, [vector_of("a"), vector_of("b")], 6) in replies
    assert Failed(1, error) in replies
    assert Embedded(2, [vector_of("f")], 3) in replies
    assert loop.replies.empty()


def test_a_cancelled_request_is_not_evaluated_any_more() -> None:
    loop = made()
    loop.loop.submit(Embed(1, ["a"] * 100))
    loop.loop.submit(Embed(2, ["b"]))
    loop.loop.submit(Cancel(1))
    loop.loop.submit(Cancel(77))
    with running(loop):
        assert loop.next(Embedded).id == 2
    assert loop.embedder.batches == [[b"b"]]
    assert loop.replies.empty()


def test_a_cancel_may_overtake_its_request_and_leaves_nothing_behind() -> None:
    loop = made()
    loop.loop.submit(Cancel(2))
    for number in range(1, 4):
        loop.loop.submit(Embed(number, [f"{number}"]))
    loop.loop.submit(Cancel(1))
    with running(loop):
        assert loop.next(Embedded).id == 3
    assert loop.embedder.batches == [[b"3"]]


def test_a_thousand_cancelled_requests_leave_nothing_behind() -> None:
    loop = made()
    for number in range(1000):
        loop.loop.submit(Embed(number, ["a", "b"]))
        loop.loop.submit(Cancel(number))
    loop.loop.submit(Embed(1000, ["c"]))
    with running(loop):
        assert loop.next(Embedded).id == 1000
        loop.loop.submit(Embed(1001, ["d"]))
        assert loop.next(Embedded).id == 1001
    assert loop.embedder.batches == [[b"c"], [b"d"]]


def test_deterministic_is_one_text_a_batch() -> None:
    loop = made(deterministic=True)
    loop.loop.submit(Embed(1, ["a", "b"]))
    loop.loop.submit(Embed(2, ["c"]))
    with running(loop):
        assert {loop.next(Embedded).id, loop.next(Embedded).id} == {1, 2}
    assert loop.embedder.batches == [[b"a"], [b"c"], [b"b"]]


def test_a_zero_vector_stays_zero_and_a_tiny_one_has_length_one() -> None:
    assert normalised(np.zeros(3, np.float32)).tolist() == [0, 0, 0]
    assert normalised(np.array([0, 1e-30], np.float32)).tolist() == [0, 1]
