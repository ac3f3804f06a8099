"""Metadata that llama.cpp would die of is refused, and what only looks like it is not."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from corral.store import gguf
from corral.store.errors import InvalidGGUFError

from tests import weights
from tests.weights import ARRAY, BOOL, FLOAT, INT, STRING, UINT, pair, text_pair


def number(key: str, value: int) -> bytes:
    return pair(f"llama.{key}", UINT, struct.pack("<I", value))


def fraction(key: str, value: float) -> bytes:
    return pair(f"llama.{key}", FLOAT, struct.pack("<f", value))


def numbers(key: str, *values: int) -> bytes:
    return pair(f"llama.{key}", ARRAY, struct.pack(f"<IQ{len(values)}i", INT, len(values), *values))


def tokens(count: int, *more: bytes) -> list[bytes]:
    texts = b"".join(weights.string(f"t{i}") for i in range(count))
    return [pair("tokenizer.ggml.tokens", ARRAY, struct.pack("<IQ", STRING, count) + texts), *more]


def token_list(key: str, kind: int, count: int) -> bytes:
    return pair(f"tokenizer.ggml.{key}", ARRAY, struct.pack("<IQ", kind, count) + bytes(4 * count))


EXPERTS = [number("expert_count", 8), number("expert_used_count", 2)]

FATAL: dict[str, tuple[list[bytes], str]] = {
    "block count 0": ([number("block_count", 0)], "block_count is 0, expected 1 to 512"),
    "block count 513": ([number("block_count", 513)], "block_count is 513"),
    "block count 2**31": ([number("block_count", 1 << 31)], "block_count is 2147483648"),
    "block count 2**32-1": ([number("block_count", 2**32 - 1)], "block_count is 4294967295"),
    "block count true": ([pair("llama.block_count", BOOL, b"\1")], "block_count is True"),
    "block count text": ([text_pair("llama.block_count", "\x1b[2J")], "block_count is "),
    "block counts": ([numbers("block_count", 1)], "block_count is Array"),
    "an embedding of 0": ([number("embedding_length", 0)], "embedding_length is 0"),
    "head count 0": ([number("attention.head_count", 0)], "head_count is 0, expected a positive number"),
    "head count text": ([text_pair("llama.attention.head_count", "4")], "head_count is"),
    "head count 0.0": ([fraction("attention.head_count", 0.0)], "head_count is 0.0"),
    "head counts below 0": ([numbers("attention.head_count", 4, -1)], "head_count is Array"),
    "epsilon NaN": ([fraction("attention.layer_norm_rms_epsilon", float("nan"))], "epsilon is nan"),
    "epsilon below 0": ([fraction("attention.layer_norm_epsilon", -1e-5)], "epsilon is -"),
    "epsilon infinite": ([fraction("attention.group_norm_epsilon", float("inf"))], "epsilon is inf"),
    "a vocabulary of 2**32-1": ([number("vocab_size", 2**32 - 1)], "vocab_size is 4294967295"),
    "rope scaling of another kind": ([text_pair("llama.rope.scaling.type", "su")], 'rope.scaling.type is "su"'),
    "more prediction layers than layers": (
        [number("block_count", 2), number("nextn_predict_layers", 3)],
        "nextn_predict_layers is 3, there are 2 blocks",
    ),
    "1025 experts": ([number("expert_count", 1025), number("expert_used_count", 1)], "expert_count is 1025"),
    "experts of which none is used": ([number("expert_count", 8)], "expert_used_count is None, of 8 experts"),
    "more experts used than there are": ([number("expert_used_count", 1)], "expert_used_count is 1, of 0 experts"),
    "experts used in no layer": ([EXPERTS[0], numbers("expert_used_count", 0, 0)], "of 8 experts"),
    "more experts used in one layer": ([EXPERTS[0], numbers("expert_used_count", 2, 9)], "of 8 experts"),
    "as many groups as experts": ([*EXPERTS, number("expert_group_count", 8)], "expert_group_count is 8"),
    "groups without experts": ([number("expert_group_count", 1)], "expert_group_count is 1, of 0 experts"),
    "groups that do not divide": (
        [*EXPERTS, number("expert_group_count", 3), number("expert_group_used_count", 1)],
        "expert_group_used_count is 1, of 3 groups of 8 experts",
    ),
    "groups of which none is used": ([*EXPERTS, number("expert_group_count", 4)], "expert_group_used_count is 0"),
    "tokens that are one text": ([text_pair("tokenizer.ggml.tokens", "a")], "tokens is"),
    "tokens that are numbers": ([token_list("tokens", INT, 2)], "expected a list of texts"),
    "fewer types than tokens": (
        tokens(3, token_list("token_type", INT, 2)),
        "token_type has 2 items, there are 3 tokens",
    ),
    "types that are fractions": (tokens(1, token_list("token_type", FLOAT, 1)), "expected a list of numbers"),
    "fewer scores than tokens": (tokens(99, token_list("scores", FLOAT, 98)), "scores has 98 items"),
    "scores that are one number": (
        tokens(1, pair("tokenizer.ggml.scores", UINT, bytes(4))),
        "tokenizer.ggml.scores is 0",
    ),
}


@pytest.mark.parametrize("case", FATAL)
def test_error_for_what_would_abort_the_engine(tmp_path: Path, case: str) -> None:
    pairs, words = FATAL[case]
    path = tmp_path / "x.gguf"
    path.write_bytes(weights.gguf(*pairs))
    with pytest.raises(InvalidGGUFError) as caught:
        gguf.read(path)
    assert words in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("context", [0, 2**31 + 1])
def test_error_for_a_context_of_nothing_or_of_too_much(tmp_path: Path, context: int) -> None:
    path = tmp_path / "x.gguf"
    path.write_bytes(weights.gguf(context=context))
    with pytest.raises(InvalidGGUFError, match=f"context_length is {context}, expected 1 to"):
        gguf.read(path)


SOUND: dict[str, list[bytes]] = {
    "512 blocks": [number("block_count", 512), number("nextn_predict_layers", 512)],
    "heads by layer, none in some": [numbers("attention.head_count", 0, 4, 4)],
    "experts": [*EXPERTS, number("expert_group_count", 4), number("expert_group_used_count", 2)],
    "experts in one group": [*EXPERTS, number("expert_group_count", 1), number("expert_group_used_count", 1)],
    "experts by layer, none in some": [EXPERTS[0], numbers("expert_used_count", 0, 2)],
    "experts after a long beginning without": [EXPERTS[0], numbers("expert_used_count", *[0] * 64, 2)],
    "yarn": [text_pair("llama.rope.scaling.type", "yarn")],
    "more types than tokens": tokens(2, token_list("token_type", INT, 3), token_list("scores", FLOAT, 3)),
    "token ids beyond the vocabulary": tokens(2, pair("tokenizer.ggml.bos_token_id", UINT, b"\xff" * 4)),
    "an epsilon of 0": [fraction("attention.layer_norm_rms_epsilon", 0.0)],
}


@pytest.mark.parametrize("case", SOUND)
def test_what_the_engine_bears_is_not_refused(tmp_path: Path, case: str) -> None:
    path = tmp_path / "x.gguf"
    path.write_bytes(weights.gguf(*SOUND[case]))
    assert gguf.read(path).architecture == "llama"


def test_one_expert_is_none_to_hunyuan(tmp_path: Path) -> None:
    path = tmp_path / "x.gguf"
    experts = pair("hunyuan-dense.expert_count", UINT, struct.pack("<I", 1))
    path.write_bytes(weights.gguf(experts, architecture="hunyuan-dense"))
    assert gguf.read(path).count("expert_count") == 1


def test_an_adapter_needs_none_of_it(tmp_path: Path) -> None:
    path = tmp_path / "x.gguf"
    path.write_bytes(weights.gguf(text_pair("general.type", "adapter"), number("block_count", 0)))
    assert gguf.read(path).kind == "adapter"
