"""A specimen: a model of nothing, 400 KB, for trying an engine out. Its words mean nothing and its weights are noise.

It has the architecture of Llama with one layer, a token for each byte, and a weight matrix of each kind that an engine may
repack for its processor, large enough that it does.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ....store.ggml import TENSOR_NUMBERS, TENSOR_TYPES

TOKENS = 288
"""A multiple of what the kernels take at once; the last ones are never met."""
WIDTH = 256
"""Numbers for each token; the largest blocks of weights have so many."""
_STRING, _ARRAY, _FLOAT, _UINT, _INT = 8, 9, 6, 4, 5
_NORMAL, _UNKNOWN, _CONTROL, _BYTE = 1, 2, 3, 6
_ALIGNMENT = 32

_MATRICES = {
    "token_embd.weight": ("Q8_0", (WIDTH, TOKENS)),
    "output.weight": ("Q4_0", (WIDTH, TOKENS)),
    "blk.0.attn_q.weight": ("Q4_0", (WIDTH, WIDTH)),
    "blk.0.attn_k.weight": ("Q8_0", (WIDTH, WIDTH // 2)),
    "blk.0.attn_v.weight": ("Q4_K", (WIDTH, WIDTH // 2)),
    "blk.0.attn_output.weight": ("Q4_1", (WIDTH, WIDTH)),
    "blk.0.ffn_gate.weight": ("Q5_K", (WIDTH, WIDTH)),
    "blk.0.ffn_up.weight": ("Q6_K", (WIDTH, WIDTH)),
    "blk.0.ffn_down.weight": ("IQ4_XS", (WIDTH, WIDTH)),
}
_NORMS = ("output_norm.weight", "blk.0.attn_norm.weight", "blk.0.ffn_norm.weight")
_SCALES = {
    "Q4_0": ((0, 0.01),),
    "Q4_1": ((0, 0.01), (2, -0.075)),
    "Q8_0": ((0, 0.001),),
    "Q4_K": ((0, 0.0003), (2, 0.00007)),
    "Q5_K": ((0, 0.00015), (2, 0.00007)),
    "Q6_K": ((208, 0.00005),),
    "IQ4_XS": ((0, 0.00003),),
}
"""Where in a block its half-precision scales are, and values with which noise makes weights of the usual size."""


def write_specimen(path: Path) -> None:
    """Write one; it is the same every time."""
    path.write_bytes(specimen())


def specimen() -> bytes:
    """Its bytes."""
    noise = np.random.default_rng(7)
    data = {name: np.ones(WIDTH, "<f4").tobytes() for name in _NORMS}
    data |= {name: _weights(kind, math.prod(shape), noise) for name, (kind, shape) in _MATRICES.items()}
    shapes = dict.fromkeys(_NORMS, ("F32", (WIDTH,))) | _MATRICES
    pairs = _pairs()
    header = b"GGUF" + struct.pack("<IQQ", 3, len(shapes), len(pairs)) + b"".join(pairs)
    body = b""
    for name, (kind, shape) in shapes.items():
        header += _string(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, TENSOR_NUMBERS[kind], len(body))
        body += _padded(data[name])
    return _padded(header) + body


def _weights(kind: str, count: int, noise: np.random.Generator) -> bytes:
    layout = TENSOR_TYPES[TENSOR_NUMBERS[kind]]
    blocks = noise.integers(0, 256, (count // layout.block, layout.block_bytes), np.uint8)
    for at, scale in _SCALES[kind]:
        blocks[:, at : at + 2] = np.frombuffer(np.array(scale, "<f2").tobytes(), np.uint8)
    return blocks.tobytes()


def _pairs() -> list[bytes]:
    texts = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    kinds = [_UNKNOWN, _CONTROL, _CONTROL, *[_BYTE] * 256]
    texts += [f"\N{LOWER ONE EIGHTH BLOCK}{number}" for number in range(TOKENS - len(texts))]
    kinds += [_NORMAL] * (TOKENS - len(kinds))
    counts = {
        "llama.block_count": 1,
        "llama.context_length": 512,
        "llama.embedding_length": WIDTH,
        "llama.feed_forward_length": WIDTH,
        "llama.attention.head_count": 4,
        "llama.attention.head_count_kv": 2,
        "llama.rope.dimension_count": WIDTH // 4,
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.unknown_token_id": 0,
    }
    return [
        _pair("general.architecture", _STRING, _string("llama")),
        *(_pair(key, _UINT, struct.pack("<I", count)) for key, count in counts.items()),
        _pair("llama.attention.layer_norm_rms_epsilon", _FLOAT, struct.pack("<f", 1e-5)),
        _pair("tokenizer.ggml.model", _STRING, _string("llama")),
        _pair("tokenizer.ggml.tokens", _ARRAY, _array(_STRING, [_string(text) for text in texts])),
        _pair("tokenizer.ggml.scores", _ARRAY, _array(_FLOAT, [struct.pack("<f", -n) for n in range(TOKENS)])),
        _pair("tokenizer.ggml.token_type", _ARRAY, _array(_INT, [struct.pack("<i", kind) for kind in kinds])),
    ]


def _pair(key: str, kind: int, value: bytes) -> bytes:
    return _string(key) + struct.pack("<I", kind) + value


def _array(kind: int, items: Sequence[bytes]) -> bytes:
    return struct.pack("<IQ", kind, len(items)) + b"".join(items)


def _string(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % _ALIGNMENT)
