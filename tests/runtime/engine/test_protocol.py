"""Frames between server and worker: whole, in pieces, cut short and hostile."""

from __future__ import annotations

import os
import random
import struct

import msgspec
import pytest
from corral.runtime.engine.protocol import (
    MAX_FRAME,
    Cancel,
    Chunk,
    Count,
    Counted,
    Failed,
    Finished,
    Frames,
    Generate,
    Loaded,
    LoadFailed,
    LoadProgress,
    Reply,
    Sampling,
    decode_reply,
    decode_request,
    frame,
)
from corral.store.errors import BugError

REPLIES: list[Reply] = [
    LoadProgress(0.5),
    Loaded(num_ctx=4096, train_ctx=8192, bos="<s>", eos="", memory=1 << 40),
    LoadFailed("no such file"),
    Chunk(7, "text, 10 € and \0"),
    Chunk(8, ""),
    Finished(7, "stop", prompt_tokens=3, prompt_seconds=0.1, tokens=9, seconds=1.5, truncated=0),
    Counted(9, 1 << 20),
    Failed(8, "the KV cache is full"),
]


def test_every_reply_comes_back_as_it_was_sent() -> None:
    wire = b"".join(frame(reply) for reply in REPLIES)
    assert [decode_reply(body) for body in Frames().feed(wire)] == REPLIES


def test_every_request_comes_back_as_it_was_sent() -> None:
    generate = Generate(1, "Say: é", Sampling(seed=-1), ["</s>", ""], num_predict=-1, num_ctx=8, num_keep=4)
    requests = [generate, Count(2, "How long, 10 €?"), Cancel(1)]
    wire = b"".join(map(frame, requests))
    assert [decode_request(body) for body in Frames().feed(wire)] == requests


@pytest.mark.parametrize("size", [1, 2, 3, 5, 64])
def test_the_pieces_do_not_matter(size: int) -> None:
    wire = b"".join(frame(reply) for reply in REPLIES)
    frames = Frames()
    bodies = [body for at in range(0, len(wire), size) for body in frames.feed(wire[at : at + size])]
    assert [decode_reply(body) for body in bodies] == REPLIES


@pytest.mark.parametrize("missing", range(1, len(frame(REPLIES[3])) + 1))
def test_a_frame_cut_short_gives_nothing(missing: int) -> None:
    wire = frame(REPLIES[3])
    frames = Frames()
    assert frames.feed(wire[:-missing]) == []
    assert len(frames.feed(wire[-missing:])) == 1


def test_an_empty_frame_is_a_frame() -> None:
    assert Frames().feed(struct.pack(">I", 0)) == [b""]
    with pytest.raises(BugError, match="a frame of 0 bytes is no message"):
        decode_reply(b"")


@pytest.mark.parametrize("length", [MAX_FRAME + 1, 0x7FFFFFFF, 0xFFFFFFFF])
def test_error_a_length_nobody_sends_is_refused_before_it_is_waited_for(length: int) -> None:
    with pytest.raises(BugError, match=f"frame of {length} bytes, at most {MAX_FRAME}"):
        Frames().feed(struct.pack(">I", length))


def test_error_a_message_too_large_is_not_sent() -> None:
    with pytest.raises(BugError, match="at most"):
        frame(Chunk(1, "x" * MAX_FRAME))


@pytest.mark.parametrize(
    "body",
    [
        b"\xc1",
        b"garbage",
        msgspec.msgpack.encode({"type": "shout", "id": 1}),
        msgspec.msgpack.encode({"type": "chunk", "id": 1}),
        msgspec.msgpack.encode({"type": "chunk", "id": "1", "text": "a"}),
        msgspec.msgpack.encode({"type": "chunk", "id": 1, "text": None}),
        msgspec.msgpack.encode(["chunk", 1, "a"]),
        msgspec.msgpack.encode({"type": "chunk", "id": 1, "text": "a"})[:-1],
        b"\xdd\xff\xff\xff\xff",
        b"\x81" * 100_000,
        msgspec.msgpack.encode({"type": "chunk", "id": 1, "text": "abc"}).replace(b"abc", b"\xff\xfe\xfd"),
        msgspec.msgpack.encode({"type": "chunk", "more": 1})[:-1] + b"\x91" * 100_000,
    ],
)
def test_error_a_body_that_is_no_reply_is_refused(body: bytes) -> None:
    for decode in (decode_reply, decode_request):
        with pytest.raises(BugError, match=f"a frame of {len(body)} bytes is no message"):
            decode(body)


@pytest.mark.soak
def test_whatever_bytes_come_only_one_error_is_raised() -> None:
    soak = "CORRAL_SOAK" in os.environ
    chance = random.Random(None if soak else 7)
    wire = b"".join(frame(reply) for reply in REPLIES)
    refused = 0
    for _ in range(200_000 if soak else 4_000):
        data = bytearray(wire)
        for _ in range(chance.randint(1, 4)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        try:
            for body in Frames().feed(bytes(data[: chance.randrange(len(data))])):
                decode_reply(body)
        except BugError:
            refused += 1
    assert refused
