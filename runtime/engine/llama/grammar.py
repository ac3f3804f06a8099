"""LlamaGrammar: llama.cpp's grammars, asked about a few tokens at a time."""

from __future__ import annotations

import ctypes

import numpy as np
import numpy.typing as npt

from ..decoder import GrammarError
from ..sampling import Ids
from .library import llama
from .vocabulary import LlamaVocabulary

_CANDIDATE = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])
_LONGEST, _DEEPEST = 1 << 16, 64
"""Characters, and opening parentheses, those in texts too: the engine's parser calls itself for each."""


class LlamaGrammar:
    """A grammar and where in it the answer is."""

    def __init__(self, vocabulary: LlamaVocabulary, text: str, shown: frozenset[int]) -> None:
        """Of special tokens only those that are `shown` can be part of a text. Raises GrammarError."""
        if len(text) > _LONGEST or text.count("(") > _DEEPEST:
            raise GrammarError(f"the grammar cannot be read: at most {_LONGEST} characters and {_DEEPEST} '(' are")
        self._sampler = llama.llama_sampler_init_grammar(vocabulary.handle, text.encode("utf-8", "replace"), b"root")
        if not self._sampler:
            raise GrammarError("the grammar cannot be read: it is not GBNF, or has no rule `root`")
        # To the engine a special token is what it is spelled as, which is text like any other.
        self._sayable = vocabulary.sayable.copy()
        self._sayable[list(shown)] = True

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
        allowed: npt.NDArray[np.bool_] = (candidates["logit"] > -np.inf) & self._sayable[ids]
        return allowed

    def accept(self, token: int) -> None:
        """The token comes next; one that is not allowed would end the process."""
        llama.llama_sampler_accept(self._sampler, token)

    def close(self) -> None:
        """Free it."""
        llama.llama_sampler_free(self._sampler)
