"""LlamaVocabulary: a model's tokenizer."""

from __future__ import annotations

import ctypes
from functools import cached_property

import numpy as np
import numpy.typing as npt

from .library import LoadError, llama, load_vocabulary


class LlamaVocabulary:
    """A model's tokenizer."""

    def __init__(self, model: object) -> None:
        self.handle = llama.llama_model_get_vocab(model)
        self._pieces: dict[tuple[int, bool], bytes] = {}
        self.size: int = llama.llama_vocab_n_tokens(self.handle)
        bos: int = llama.llama_vocab_bos(self.handle)
        self.begin = bos if llama.llama_vocab_get_add_bos(self.handle) else -1
        self.bos = self._special_text(bos)
        self.eos = self._special_text(llama.llama_vocab_eos(self.handle))
        self._check_progress()
        self.infill = self._infill()

    @classmethod
    def load(cls, path: str) -> LlamaVocabulary:
        """That of a GGUF file, without its weights. Raises LoadError."""
        return cls(load_vocabulary(path))

    def _check_progress(self) -> None:
        """llama.cpp never gets past a text that begins a token of an RWKV vocabulary and completes none. Raises LoadError."""
        if llama.llama_vocab_type(self.handle) != llama.LLAMA_VOCAB_TYPE_RWKV:
            return
        spelled = {self.spelling(token) for token in range(self.size)}
        if {one[:1] for one in spelled if one} - spelled:
            raise LoadError("its RWKV vocabulary lacks bytes that its tokens begin with")

    def tokenize(self, text: str) -> list[int]:
        """The prompt's tokens; a begin token that the template wrote itself is not doubled."""
        tokens = self._tokens(text, add_special=True)
        return tokens[1:] if tokens[:2] == [self.begin, self.begin] else tokens

    def piece(self, token: int) -> bytes:
        """The bytes of a token; special tokens have none."""
        return self._piece(token, special=False)

    def spelling(self, token: int) -> bytes:
        """What a token is spelled as, special ones too."""
        return self._piece(token, special=True)

    def special_token(self, text: str) -> int | None:
        """The special token that is spelled exactly so."""
        tokens = self._tokens(text, add_special=False)
        return tokens[0] if len(tokens) == 1 and not self.piece(tokens[0]) else None

    def is_end(self, token: int) -> bool:
        """Whether the token ends a generation."""
        return bool(llama.llama_vocab_is_eog(self.handle, token))

    @cached_property
    def sayable(self) -> npt.NDArray[np.bool_]:
        """Of each token, whether it has text or ends a generation."""
        special = llama.LLAMA_TOKEN_ATTR_CONTROL | llama.LLAMA_TOKEN_ATTR_UNKNOWN
        kind = llama.llama_vocab_get_attr
        return np.array([not kind(self.handle, token) & special or self.is_end(token) for token in range(self.size)])

    def _tokens(self, text: str, *, add_special: bool) -> list[int]:
        raw = text.encode("utf-8", "replace")
        room = len(raw) + 8
        while True:
            buffer = (ctypes.c_int32 * room)()
            count = llama.llama_tokenize(self.handle, raw, len(raw), buffer, room, add_special, True)  # noqa: FBT003 - C
            if count >= 0:
                return buffer[:count]
            room = -count

    def _piece(self, token: int, *, special: bool) -> bytes:
        known = self._pieces.get((token, special))
        if known is None:
            buffer = ctypes.create_string_buffer(256)
            size = llama.llama_token_to_piece(self.handle, token, buffer, len(buffer), 0, special)
            if size < 0:
                buffer = ctypes.create_string_buffer(-size)
                size = llama.llama_token_to_piece(self.handle, token, buffer, len(buffer), 0, special)
            known = self._pieces[token, special] = buffer.raw[: max(0, size)]
        return known

    def _infill(self) -> tuple[str, str, str] | None:
        ask = llama.llama_vocab_fim_pre, llama.llama_vocab_fim_suf, llama.llama_vocab_fim_mid
        before, after, middle = (self._special_text(token(self.handle)) for token in ask)
        return (before, after, middle) if before and after and middle else None

    def _special_text(self, token: int) -> str:
        return "" if token < 0 else self.spelling(token).decode("utf-8", "replace")
