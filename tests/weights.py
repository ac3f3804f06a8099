"""GGUF files of a few hundred bytes with any metadata."""

from __future__ import annotations

import struct
from collections.abc import Mapping

STRING, ARRAY, FLOAT, UINT, INT, BOOL = 8, 9, 6, 4, 5, 7
CONTROL, NORMAL = 3, 1
"""Types of tokens."""


def string(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def pair(key: str, kind: int, value: bytes) -> bytes:
    """One pair of the metadata."""
    return string(key) + struct.pack("<I", kind) + value


def text_pair(key: str, text: str) -> bytes:
    """A pair whose value is a text."""
    return pair(key, STRING, string(text))


def chat_template(text: str) -> bytes:
    """The pair of a chat template."""
    return text_pair("tokenizer.chat_template", text)


def gguf(*pairs: bytes, architecture: str = "llama", context: int = 256) -> bytes:
    """A model of one tensor with more metadata."""
    first = [
        text_pair("general.architecture", architecture),
        pair(f"{architecture}.rope.scaling.original_context_length", UINT, struct.pack("<I", 99)),
        pair(f"{architecture}.context_length", UINT, struct.pack("<I", context)),
    ]
    tensor = string("token_embd.weight") + struct.pack("<IQIQ", 1, 8, 0, 0)
    every = [*first, *pairs]
    header = b"GGUF" + struct.pack("<IQQ", 3, 1, len(every)) + b"".join(every) + tensor
    return header + bytes(-len(header) % 32) + bytes(32)


def projector() -> bytes:
    """What turns images into embeddings."""
    return gguf(text_pair("general.type", "mmproj"), architecture="clip")


def vocabulary(
    tokens: Mapping[str, int], *, bos: str = "", eos: str = "", adds_bos: bool | None = None, kind: str = "gpt2"
) -> list[bytes]:
    """The pairs of a tokenizer: its tokens with their types."""
    texts = list(tokens)
    head = struct.pack("<IQ", STRING, len(texts))
    types = struct.pack(f"<IQ{len(texts)}i", INT, len(texts), *tokens.values())
    pairs = [
        text_pair("tokenizer.ggml.model", kind),
        pair("tokenizer.ggml.tokens", ARRAY, head + b"".join(map(string, texts))),
        pair("tokenizer.ggml.token_type", ARRAY, types),
    ]
    for name, text in (("bos", bos), ("eos", eos)):
        if text:
            pairs.append(pair(f"tokenizer.ggml.{name}_token_id", UINT, struct.pack("<I", texts.index(text))))
    if adds_bos is not None:
        pairs.append(pair("tokenizer.ggml.add_bos_token", BOOL, struct.pack("<?", adds_bos)))
    return pairs
