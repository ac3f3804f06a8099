"""Decoder: the seam between the batching loop and a model. llama/decoder.py is the real one, fake.py the double."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from ...store.errors import MachineError
from .protocol import Loaded
from .sampling import Grammar, Logits

Tokens: TypeAlias = Sequence[int] | npt.NDArray[np.integer]


class DecodeError(MachineError):
    """The model could not evaluate a batch; what of it is in the cache is unknown, and the requests in it fail."""


class CacheFullError(DecodeError):
    """The cache has no place for a batch, none of which was evaluated."""


class AbortedError(DecodeError):
    """An evaluation was ended by abort(); what of the batch is in the cache is unknown."""


class GrammarError(MachineError):
    """A grammar that cannot be read."""


class Decoder(Protocol):
    """A loaded model with one KV cache for several sequences.

    Used by one thread only, but for `tokenize`, `special_token` and `abort`.
    """

    num_ctx: int
    """Tokens a sequence may hold."""
    slots: int
    """Sequences that are to be generated at once."""
    sequences: int
    """Sequences the cache can tell apart, at least one for each slot."""
    cells: int
    """Tokens the cache holds for all sequences together; one that sequences share counts once."""
    num_batch: int
    """Tokens a batch may hold, at least one for each slot."""
    can_share: bool
    """Whether a sequence may be given the beginning of another."""
    rolls_back: bool
    """Whether that beginning may end anywhere; else it depends, and is sure only where the other ends at that moment."""

    vocabulary: int
    """How many tokens there are."""
    begin: int
    """The token that the tokenizer puts before prompts; -1 where it puts none."""
    threads: list[int]
    """The numbers of threads it may be worth to evaluate with, at least one."""

    def describe(self) -> Loaded:
        """What the server needs to know of the model."""
        ...

    def tokenize(self, text: str) -> list[int]:
        """The prompt's tokens, special tokens recognised, with the model's begin token if it wants one.

        For any thread, also while a batch is evaluated.
        """
        ...

    def piece(self, token: int) -> bytes:
        """The bytes a generated token stands for; special tokens have none."""
        ...

    def spelling(self, token: int) -> bytes:
        """What a token is spelled as, special ones too."""
        ...

    def special_token(self, text: str) -> int | None:
        """The special token that is spelled exactly so, if there is one. For any thread."""
        ...

    def is_end(self, token: int) -> bool:
        """Whether the model says with this token that it is done."""
        ...

    def grammar(self, text: str, shown: frozenset[int], /) -> Grammar:
        """A grammar in GBNF whose first rule is `root`; of special tokens it allows those that are `shown`, and the end.

        Raises GrammarError.
        """
        ...

    def use_threads(self, count: int) -> None:
        """Evaluate the next batches with so many threads."""
        ...

    def decode(self, tokens: Tokens, positions: Tokens, sequences: Tokens, wanted: Tokens) -> None:
        """Evaluate a batch; of those that are `wanted`, not 0, there are logits then.

        Raises DecodeError, CacheFullError, AbortedError.
        """
        ...

    def logits(self, index: int) -> Logits:
        """Those of the last batch's `index`-th token that was wanted; valid, and free to be changed, until the next."""
        ...

    def abort(self) -> None:
        """Make the batch that is being evaluated fail with AbortedError, soon. For any thread."""
        ...

    def allow(self) -> None:
        """Take an abort() back, which else would meet the next batch."""
        ...

    def share(self, source: int, target: int, count: int) -> bool:
        """Give an empty sequence the first `count` tokens of another. False where the cache no longer has all it needs."""
        ...

    def forget(self, sequence: int) -> None:
        """Clear a sequence from the cache."""
        ...
