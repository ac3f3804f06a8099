"""Decoder: the seam between the batching loop and a model. llama.py is the real one, fake.py the double."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from ...store.errors import MachineError
from .protocol import Loaded, Sampling

Tokens: TypeAlias = npt.NDArray[np.int32]


class DecodeError(MachineError):
    """The model could not evaluate a batch; the requests in it fail."""


class Sampler(Protocol):
    """Chooses tokens for one request."""

    def sample(self, row: int) -> int:
        """The next token, from the logits of this row of the last batch."""
        ...

    def close(self) -> None:
        """Free what it holds."""
        ...


class Decoder(Protocol):
    """A loaded model with one KV cache for several sequences. Used by one thread only, but for `tokenize`."""

    num_ctx: int
    """Tokens a sequence may hold."""
    slots: int
    num_batch: int
    """Tokens a batch may hold, at least one for each slot."""
    can_share: bool
    """Whether a sequence may be given the beginning of another."""

    def describe(self) -> Loaded:
        """What the server needs to know of the model."""
        ...

    def tokenize(self, text: str) -> list[int]:
        """The prompt's tokens, special tokens recognised, with the model's begin token if it wants one.

        For any thread, also while a batch is evaluated.
        """
        ...

    def piece(self, token: int) -> bytes:
        """The bytes a generated token stands for."""
        ...

    def special_token(self, text: str) -> int | None:
        """The special token that is spelled exactly so, if there is one."""
        ...

    def is_end(self, token: int) -> bool:
        """Whether the model says with this token that it is done."""
        ...

    def sampler(self, sampling: Sampling, prompt: Sequence[int]) -> Sampler:
        """A sampler for one request."""
        ...

    def decode(self, tokens: Tokens, positions: Tokens, sequences: Tokens, wanted: npt.NDArray[np.int8]) -> None:
        """Evaluate a batch; rows with `wanted` set can be sampled afterwards. Raises DecodeError."""
        ...

    def share(self, source: int, target: int, count: int) -> None:
        """Give an empty sequence the first `count` tokens of another, without evaluating them again."""
        ...

    def forget(self, sequence: int) -> None:
        """Clear a sequence from the cache."""
        ...
