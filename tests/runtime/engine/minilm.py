"""MiniLM (all-MiniLM-L6-v2) from its safetensors: as a GGUF, and by a BERT of our own in numpy, the reference.

The sums of the reference are done in 64 bits, and its GELU is the one the model was trained with; the engine's is an
approximation of that.
"""

from __future__ import annotations

import json
import math
import unicodedata
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import gguf
import numpy as np
import numpy.typing as npt

from tests.conftest import ROOT

Array: TypeAlias = npt.NDArray[Any]

LAYERS, HEADS, WIDTH, CONTEXT = 6, 12, 384, 512
_EPSILON = 1e-12
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_PARTS = {
    "attention.self.query": "attn_q",
    "attention.self.key": "attn_k",
    "attention.self.value": "attn_v",
    "attention.output.dense": "attn_output",
    "attention.output.LayerNorm": "attn_output_norm",
    "intermediate.dense": "ffn_up",
    "output.dense": "ffn_down",
    "output.LayerNorm": "layer_output_norm",
}
_NAMES = {
    "embeddings.word_embeddings": "token_embd",
    "embeddings.position_embeddings": "position_embd",
    "embeddings.token_type_embeddings": "token_types",
    "embeddings.LayerNorm": "token_embd_norm",
    **{f"encoder.layer.{i}.{theirs}": f"blk.{i}.{ours}" for i in range(LAYERS) for theirs, ours in _PARTS.items()},
}
"""Tensors of the safetensors, and of a GGUF."""


class MiniLM:
    """The model in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.words = (folder / "vocab.txt").read_text().splitlines()
        self._numbers = {word: number for number, word in enumerate(self.words)}

    @cached_property
    def weights(self) -> dict[str, Array]:
        """Every tensor, by its name; all are of 32 bits."""
        raw = (self._folder / "model.safetensors").read_bytes()
        start = 8 + int.from_bytes(raw[:8], "little")
        tensors: dict[str, Array] = {}
        for name, entry in json.loads(raw[8:start]).items():
            if name != "__metadata__" and entry["dtype"] == "F32":
                first, last = entry["data_offsets"]
                values = np.frombuffer(raw[start + first : start + last], np.float32)
                tensors[name] = values.reshape(entry["shape"])
        return tensors

    def convert(self, target: Path, *, halved: bool, pooling: gguf.PoolingType = gguf.PoolingType.MEAN) -> Path:
        """Write it as a GGUF; `halved` makes its matrices 16 bits wide, `pooling` is what is made of a text's rows."""
        writer = gguf.GGUFWriter(str(target), "bert")
        writer.add_context_length(CONTEXT)
        writer.add_embedding_length(WIDTH)
        writer.add_feed_forward_length(4 * WIDTH)
        writer.add_block_count(LAYERS)
        writer.add_head_count(HEADS)
        writer.add_layer_norm_eps(_EPSILON)
        writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16 if halved else gguf.LlamaFileType.ALL_F32)
        writer.add_causal_attention(value=False)
        writer.add_pooling_type(pooling)
        writer.add_token_type_count(2)
        self._write_vocabulary(writer)
        for theirs, ours in _NAMES.items():
            for kind in ("weight", "bias"):
                values = self.weights.get(f"{theirs}.{kind}")
                if values is None:
                    continue
                is_matrix = values.ndim > 1 and ours not in ("token_types", "position_embd")
                writer.add_tensor(f"{ours}.{kind}", values.astype(np.float16) if halved and is_matrix else values)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return target

    def _write_vocabulary(self, writer: gguf.GGUFWriter) -> None:
        types = [gguf.TokenType.CONTROL if word in _SPECIAL else gguf.TokenType.NORMAL for word in self.words]
        writer.add_tokenizer_model("bert")
        writer.add_tokenizer_pre("jina-v2-en")
        writer.add_token_list([_phantom(word) for word in self.words])
        writer.add_token_types(types)
        writer.add_unk_token_id(self._numbers["[UNK]"])
        writer.add_sep_token_id(self._numbers["[SEP]"])
        writer.add_pad_token_id(self._numbers["[PAD]"])
        writer.add_bos_token_id(self._numbers["[CLS]"])
        writer.add_mask_token_id(self._numbers["[MASK]"])

    def tokenize(self, text: str) -> list[int]:
        """WordPiece: the longest known beginning of what is left of a word, again and again."""
        pieces = [piece for word in _words(text) for piece in self._pieces(word)]
        return [self._numbers["[CLS]"], *pieces, self._numbers["[SEP]"]]

    def _pieces(self, word: str) -> list[int]:
        pieces: list[int] = []
        start = 0
        while start < len(word):
            marks = "##" if start else ""
            ends = (end for end in range(len(word), start, -1) if marks + word[start:end] in self._numbers)
            if (end := next(ends, None)) is None:
                return [self._numbers["[UNK]"]]
            pieces.append(self._numbers[marks + word[start:end]])
            start = end
        return pieces

    def embed(self, tokens: Sequence[int]) -> Array:
        """The mean of the last layer's rows, with length 1."""
        return scaled(self.rows(tokens).mean(axis=0))

    def rows(self, tokens: Sequence[int]) -> Array:
        """The last layer's, one for each token."""
        rows = (
            self._of("embeddings.word_embeddings.weight")[list(tokens)]
            + self._of("embeddings.position_embeddings.weight")[: len(tokens)]
            + self._of("embeddings.token_type_embeddings.weight")[0]
        )
        rows = self._norm("embeddings.LayerNorm", rows)
        for i in range(LAYERS):
            layer = f"encoder.layer.{i}."
            rows = self._norm(layer + "attention.output.LayerNorm", rows + self._attention(layer + "attention.", rows))
            inner = self._linear(layer + "intermediate.dense", rows)
            inner *= 0.5 * (1 + np.vectorize(math.erf)(inner / math.sqrt(2)))
            rows = self._norm(layer + "output.LayerNorm", rows + self._linear(layer + "output.dense", inner))
        return rows

    def _attention(self, name: str, rows: Array) -> Array:
        size = WIDTH // HEADS
        query, key, value = (
            self._linear(f"{name}self.{part}", rows).reshape(len(rows), HEADS, size).transpose(1, 0, 2)
            for part in ("query", "key", "value")
        )
        scores = query @ key.transpose(0, 2, 1) / math.sqrt(size)
        scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
        mixed = scores / scores.sum(axis=-1, keepdims=True) @ value
        return self._linear(f"{name}output.dense", mixed.transpose(1, 0, 2).reshape(len(rows), WIDTH))

    def _linear(self, name: str, rows: Array) -> Array:
        return rows @ self._of(f"{name}.weight").T + self._of(f"{name}.bias")

    def _norm(self, name: str, rows: Array) -> Array:
        centred = rows - rows.mean(axis=-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + _EPSILON)
        return scaled * self._of(f"{name}.weight") + self._of(f"{name}.bias")

    def _of(self, name: str) -> Array:
        return self.weights[name].astype(np.float64)


def scaled(vector: Array) -> Array:
    """The vector with length 1."""
    return vector / np.linalg.norm(vector)


def _phantom(word: str) -> str:
    """llama.cpp marks the beginnings of words, where BERT marks what goes on with one."""
    if word in _SPECIAL:
        return word
    return word[2:] if word.startswith("##") else "\u2581" + word


def _words(text: str) -> Iterator[str]:
    """Words and punctuation in lower case, without accents."""
    plain = "".join(c for c in unicodedata.normalize("NFD", text.lower()) if unicodedata.category(c) != "Mn")
    word = ""
    for character in plain:
        is_sign = unicodedata.category(character).startswith("P") or character in "$+<=>^`|~"
        if character.isspace() or is_sign:
            if word:
                yield word
            word = ""
            if is_sign:
                yield character
        else:
            word += character
    if word:
        yield word


def installed() -> MiniLM:
    """The one that `make setup` installs."""
    folder = ROOT / "build" / "models" / "all-MiniLM-L6-v2"
    assert (folder / "model.safetensors").is_file(), "run `make setup` first"
    return MiniLM(folder)
