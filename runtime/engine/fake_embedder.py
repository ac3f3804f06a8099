"""FakeEmbedder: a model without weights that gives embeddings, for tests of everything around one.

Its tokens are bytes between a begin and an end. A text's vector counts its tokens by their value modulo the vector's
length, so equal texts have equal vectors, whatever batch they are in. A text can steer it: one with `fail;` cannot be
evaluated, and one with `nan;` has no numbers for a vector.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from .decoder import DecodeError
from .embedding import Vector
from .protocol import Loaded, LoadOptions

LENGTH = 8
"""Of its vectors."""
_BEGIN, _END = 256, 257


class FakeEmbedder:
    """See the module. `step_seconds` is how long a batch takes."""

    ending = 1

    def __init__(self, options: LoadOptions, *, step_seconds: float = 0.0) -> None:
        self.num_ctx = options.num_ctx
        self.num_batch = options.num_batch
        self.slots = options.slots
        self.batches: list[list[bytes]] = []
        """The texts of each batch."""
        self._step_seconds = step_seconds

    def describe(self) -> Loaded:
        """What a real model would say of itself."""
        return Loaded(
            num_ctx=self.num_ctx, train_ctx=self.num_ctx, bos="<s>", eos="</s>", memory=1, embedding_length=LENGTH
        )

    def tokenize(self, text: str) -> list[int]:
        """The bytes, between a begin and an end."""
        return [_BEGIN, *text.encode("utf-8", "replace"), _END]

    def embed(self, texts: Sequence[Sequence[int]]) -> list[Vector]:
        """Check what llama.cpp would: no text is longer than the context, nor are there too many of them."""
        time.sleep(self._step_seconds)
        self.batches.append([bytes(token for token in text if token < _BEGIN) for text in texts])
        sizes = [len(text) for text in texts]
        if not 1 <= len(sizes) <= self.slots or not 1 <= min(sizes) <= max(sizes) <= self.num_ctx:
            raise DecodeError(f"the engine could not evaluate {len(sizes)} texts of {sum(sizes)} tokens: code -1")
        if len(sizes) > 1 and sum(sizes) > self.num_batch:
            raise DecodeError(f"the engine could not evaluate {len(sizes)} texts of {sum(sizes)} tokens: code -1")
        if any(b"fail;" in text for text in self.batches[-1]):
            raise DecodeError(f"the engine could not evaluate {len(sizes)} texts of {sum(sizes)} tokens: code -3")
        return [_vector(text) for text in texts]


def _vector(text: Sequence[int]) -> Vector:
    if b"nan;" in bytes(token for token in text if token < _BEGIN):
        return np.full(LENGTH, np.nan, np.float32)
    return np.bincount(np.array(text) % LENGTH, minlength=LENGTH).astype(np.float32)
