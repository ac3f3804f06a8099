"""Vocabulary: the special tokens of a GGUF's tokenizer, read from its header without an engine.

Which tokens end a turn, and whether the tokenizer puts a beginning before a text, are llama.cpp's rules (llama-vocab.cpp).
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from .files import open_regular
from .gguf import GGUF, Array

MAX_BYTES = 64 << 20
"""Of all tokens' texts."""
_TOKENS, _TYPES = "tokenizer.ggml.tokens", "tokenizer.ggml.token_type"
_CONTROL, _USER_DEFINED = 3, 4
_LENGTH = struct.Struct("<Q")
_BEFORE_ITEMS = 8 + 4 + 4 + 8
"""Bytes of a pair besides its key and its items: the key's length, type, the items' type, their number."""
_END_TEXTS = """
    </s> <EOT> <eos> <turn|> <|call|> <|calls|> <|end_of_text|> <|endoftext|> <|end|> <|eom_id|> <|eot_id|> <|flush|>
    <|im_end|> <|return|> <end_of_turn> <end_of_utterance> [EOS] [EOT] _<EOT> <｜end▁of▁sentence｜>
"""
_ENDS = frozenset(_END_TEXTS.split())
_BPE_WITH_BOS = frozenset(("llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2"))
"""The byte-pair tokenizers that begin a text with a token unless the file says otherwise."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What a template needs to know of a tokenizer."""

    special: frozenset[str]
    """The texts of the tokens that stand for themselves: control tokens, and those the makers added."""
    ends: frozenset[str]
    """Those of them that end the model's turn."""
    bos: str
    """The token that begins a text, "" without one."""
    eos: str
    adds_bos: bool
    """Whether the tokenizer puts `bos` before every text."""


def read_vocabulary(path: Path, header: GGUF) -> Vocabulary | None:
    """The vocabulary of a GGUF whose header is `header`; None when it has none, or one too large to look through.

    Raises FileError.
    """
    with open_regular(path) as file:
        texts = _items(file, header, _TOKENS)
        types = _items(file, header, _TYPES)
    if not texts:
        return None
    kinds = array("i", types[: len(types) // 4 * 4])
    bos, eos, *others = (_id(header, name) for name in ("bos", "eos", "eot", "eom"))
    named = {bos, eos, *others}
    found = {
        number: text.decode("utf-8", "replace")
        for number, text in enumerate(_strings(texts))
        if number in named or (number < len(kinds) and kinds[number] in (_CONTROL, _USER_DEFINED))
    }
    special = frozenset(found.values())
    ends = frozenset(found[number] for number in (eos, *others) if number in found) | (special & _ENDS)
    return Vocabulary(special, ends, found.get(bos, ""), found.get(eos, ""), _adds_bos(header))


def _items(file: BinaryIO, header: GGUF, key: str) -> bytes:
    """An array's items as the file has them; the reader of the header has checked their counts and lengths."""
    start, end = header.pairs.get(key, (0, 0))
    start += len(key.encode()) + _BEFORE_ITEMS
    if not isinstance(header.metadata.get(key), Array) or end - start > MAX_BYTES:
        return b""
    file.seek(start)
    return file.read(end - start)


def _strings(data: bytes) -> Iterator[bytes]:
    at = 0
    while at + _LENGTH.size <= len(data):
        (length,) = _LENGTH.unpack_from(data, at)
        at += _LENGTH.size
        yield data[at : at + length]
        at += length


def _id(header: GGUF, name: str) -> int:
    number = header.metadata.get(f"tokenizer.ggml.{name}_token_id")
    return number if isinstance(number, int) else -1


def _adds_bos(header: GGUF) -> bool:
    said = header.metadata.get("tokenizer.ggml.add_bos_token")
    if isinstance(said, bool):
        return said
    kind = header.text("tokenizer.ggml.model")
    return kind in ("llama", "bert") or (kind == "gpt2" and header.text("tokenizer.ggml.pre") in _BPE_WITH_BOS)
