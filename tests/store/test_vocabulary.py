"""The special tokens of a GGUF, read without an engine."""

from __future__ import annotations

from pathlib import Path

import pytest
from corral.store import gguf
from corral.store.vocabulary import Vocabulary, read_vocabulary

from tests import weights

TOKENS = {
    "<s>": weights.CONTROL,
    "</s>": weights.CONTROL,
    "hi": weights.NORMAL,
    "<tool>": 4,
    "<|im_end|>": weights.CONTROL,
}


def read(path: Path, *pairs: bytes) -> Vocabulary | None:
    path.write_bytes(weights.gguf(*pairs))
    return read_vocabulary(path, gguf.read(path))


def test_special_tokens_and_those_that_end_a_turn(tmp_path: Path) -> None:
    known = read(tmp_path / "m.gguf", *weights.vocabulary(TOKENS, bos="<s>", eos="</s>", adds_bos=True))
    assert known == Vocabulary(
        frozenset({"<s>", "</s>", "<tool>", "<|im_end|>"}),
        frozenset({"</s>", "<|im_end|>"}),
        "<s>",
        "</s>",
        adds_bos=True,
    )


@pytest.mark.parametrize(("kind", "adds"), [("llama", True), ("gpt2", False), ("bert", True), ("t5", False)])
def test_whether_a_beginning_is_added_goes_by_the_kind_unless_it_is_said(
    tmp_path: Path, kind: str, *, adds: bool
) -> None:
    known = read(tmp_path / "m.gguf", *weights.vocabulary(TOKENS, kind=kind))
    assert known
    assert known.adds_bos is adds
    known = read(tmp_path / "n.gguf", *weights.vocabulary(TOKENS, kind=kind, adds_bos=not adds))
    assert known
    assert known.adds_bos is not adds


def test_a_file_without_tokens_has_no_vocabulary(tmp_path: Path) -> None:
    assert read(tmp_path / "m.gguf") is None


def test_ids_beyond_the_vocabulary_name_nothing(tmp_path: Path) -> None:
    strange = weights.pair("tokenizer.ggml.eot_token_id", weights.UINT, (2**32 - 1).to_bytes(4, "little"))
    known = read(tmp_path / "m.gguf", *weights.vocabulary(TOKENS), strange)
    assert known
    assert (known.bos, known.eos) == ("", "")


def test_a_real_model(smollm2: Path) -> None:
    known = read_vocabulary(smollm2, gguf.read(smollm2))
    assert known
    assert (known.bos, known.eos, known.adds_bos) == ("<|im_start|>", "<|im_end|>", False)
    assert known.ends == {"<|im_end|>", "<|endoftext|>"}
