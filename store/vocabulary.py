"""Vocabulary: the special tokens of a GGUF's tokenizer, read from its header without an engine.

Which tokens end a turn, and whether the tokenizer puts a beginning before a text, are llama.cpp's rules (llama-vocab.cpp).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from .files import open_regular
from .header import GGUF, Array
from .scanner import MAX_STRINGS, Scanner

MAX_SPECIAL = 1 << 16
"""Special tokens of a tokenizer; the largest have some thousands."""
_TOKENS, _TYPES = "tokenizer.ggml.tokens", "tokenizer.ggml.token_type"
_SPECIAL_KIND = re.compile(rb"[\x03\x04]\0\0\0")
"""The types of a control token and of one that the makers added, as they stand in the file."""
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
    """The vocabulary of a GGUF whose header is `header`; None when it has none, or more special tokens than any real one.

    Raises FileError, and InvalidGGUFError when the file is no longer what its header says.
    """
    tokens = header.metadata.get(_TOKENS)
    if not isinstance(tokens, Array):
        return None
    bos, eos, *others = (_id(header, name) for name in ("bos", "eos", "eot", "eom"))
    with open_regular(path) as file:
        special = _special_numbers(file, path.name, header)
        wanted = sorted({number for number in {*special, bos, eos, *others} if 0 <= number < tokens.count})
        if len(wanted) > MAX_SPECIAL:
            return None
        found = _texts(file, path.name, header, wanted)
    texts = frozenset(found.values())
    ends = frozenset(found[number] for number in (eos, *others) if number in found) | (texts & _ENDS)
    return Vocabulary(texts, ends, found.get(bos, ""), found.get(eos, ""), _adds_bos(header))


def _special_numbers(file: BinaryIO, identity: str, header: GGUF) -> list[int]:
    types = header.metadata.get(_TYPES)
    start, end = _items(header, _TYPES)
    if not isinstance(types, Array) or end - start != 4 * types.count or types.count > MAX_STRINGS:
        return []
    kinds = Scanner(file, end, identity, start).take(end - start)
    # Numbers of four bytes: what is found across two of them does not hide one, for its last three bytes are zeros.
    return [at // 4 for found in _SPECIAL_KIND.finditer(kinds) if (at := found.start()) % 4 == 0]


def _texts(file: BinaryIO, identity: str, header: GGUF, numbers: list[int]) -> dict[int, str]:
    """The texts of the tokens with these numbers, which are in order."""
    start, end = _items(header, _TOKENS)
    scanner = Scanner(file, end, identity, start)
    found: dict[int, str] = {}
    passed = 0
    for number in numbers:
        scanner.skip_strings(_TOKENS, number - passed)
        found[number] = scanner.string(_TOKENS)
        passed = number + 1
    return found


def _items(header: GGUF, key: str) -> tuple[int, int]:
    """From where to where an array's items stand in the file."""
    start, end = header.pairs.get(key, (0, 0))
    return start + len(key.encode()) + _BEFORE_ITEMS, end


def _id(header: GGUF, name: str) -> int:
    number = header.metadata.get(f"tokenizer.ggml.{name}_token_id")
    return number if isinstance(number, int) else -1


def _adds_bos(header: GGUF) -> bool:
    said = header.metadata.get("tokenizer.ggml.add_bos_token")
    if isinstance(said, bool):
        return said
    kind = header.text("tokenizer.ggml.model")
    return kind in ("llama", "bert") or (kind == "gpt2" and header.text("tokenizer.ggml.pre") in _BPE_WITH_BOS)
