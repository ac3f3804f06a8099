"""LlamaGrammar: llama.cpp's grammars, asked about a few tokens at a time."""

from __future__ import annotations

import ctypes
from itertools import accumulate

import numpy as np
import numpy.typing as npt

from ..decoder import GrammarError
from ..sampling import Ids
from .library import llama

_CANDIDATE = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])
_LONGEST, _DEEPEST = 1 << 16, 64
"""Characters, and parentheses in one another: the engine's parser calls itself for each."""


class LlamaGrammar:
    """A grammar and where in it the answer is."""

    def __init__(self, vocabulary: object, text: str) -> None:
        """Raises GrammarError."""
        if len(text) > _LONGEST or _depth(text) > _DEEPEST:
            raise GrammarError(f"the grammar cannot be read: at most {_LONGEST} characters and {_DEEPEST} levels are")
        self._sampler = llama.llama_sampler_init_grammar(vocabulary, text.encode("utf-8", "replace"), b"root")
        if not self._sampler:
            raise GrammarError("the grammar cannot be read: it is not GBNF, or has no rule `root`")

    def allowed(self, ids: Ids) -> npt.NDArray[np.bool_]:
        """Which of these tokens may come next."""
        candidates = np.zeros(len(ids), _CANDIDATE)
        candidates["id"] = ids
        array = llama.llama_token_data_array(
            data=ctypes.cast(candidates.ctypes.data, llama.llama_token_data_p),
            size=len(ids),
            selected=-1,
            sorted=False,
        )
        llama.llama_sampler_apply(self._sampler, ctypes.byref(array))
        allowed: npt.NDArray[np.bool_] = candidates["logit"] > -np.inf
        return allowed

    def accept(self, token: int) -> None:
        """The token comes next; one that is not allowed would end the process."""
        llama.llama_sampler_accept(self._sampler, token)

    def close(self) -> None:
        """Free it."""
        llama.llama_sampler_free(self._sampler)


def _depth(text: str) -> int:
    """At least how deep the parentheses go; those in texts count too."""
    return max(accumulate(1 if letter == "(" else -1 for letter in text if letter in "()"), default=0)
