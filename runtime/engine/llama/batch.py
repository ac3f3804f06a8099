"""LlamaBatch: a llama_batch whose C arrays are numpy's."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from ..decoder import Tokens
from .library import llama


class LlamaBatch:
    """Filling it is one copy an array."""

    def __init__(self, size: int) -> None:
        self._tokens, self._positions, self._sequences = (np.zeros(size, np.int32) for _ in range(3))
        self._counts = np.ones(size, np.int32)
        self._wanted = np.zeros(size, np.int8)
        first = self._sequences.ctypes.data
        self._pointers = np.array([first + 4 * i for i in range(size)] + [0], np.uint64)
        self._batch = llama.llama_batch()
        for field, array in (
            ("token", self._tokens),
            ("pos", self._positions),
            ("n_seq_id", self._counts),
            ("seq_id", self._pointers),
            ("logits", self._wanted),
        ):
            pointer: Any = getattr(self._batch, field)
            setattr(self._batch, field, ctypes.cast(array.ctypes.data, pointer.__class__))

    def filled(self, tokens: Tokens, positions: Tokens, sequences: Tokens, wanted: Tokens) -> Any:
        """The batch with these tokens; at most as many as it was made for."""
        size = len(tokens)
        self._tokens[:size], self._positions[:size], self._sequences[:size] = tokens, positions, sequences
        self._wanted[:size] = wanted
        self._batch.n_tokens = size
        return self._batch
