"""LlamaDecoder: a model, and a context whose KV cache several sequences share."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np

from ..decoder import AbortedError, CacheFullError, DecodeError, Tokens
from ..protocol import Loaded, LoadOptions
from ..sampling import Logits
from ..threads import available_cores
from ..tuner import candidates
from .adapters import apply_adapters
from .batch import LlamaBatch
from .description import describe
from .grammar import LlamaGrammar
from .library import LoadError, llama, load_model
from .vocabulary import LlamaVocabulary

_SPARE = 28
"""Sequences, besides those that are generated, that may be kept for what begins like them."""
_MOST_SEQUENCES = 256
_CACHE_TYPES = ("f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl")


class LlamaDecoder:
    """See the module. Used by one thread only, but for `tokenize`, `special_token` and `abort`."""

    def __init__(self, path: str, options: LoadOptions, on_progress: Callable[[float], None]) -> None:
        """Load. Raises LoadError."""
        self._model = load_model(path, options, on_progress)
        vocabulary = self._vocabulary = LlamaVocabulary(self._model)
        self.tokenize, self.piece, self.spelling = vocabulary.tokenize, vocabulary.piece, vocabulary.spelling
        self.special_token, self.is_end = vocabulary.special_token, vocabulary.is_end
        self.begin = vocabulary.begin
        self.vocabulary = vocabulary.size
        self.num_ctx = options.num_ctx
        self.slots = options.slots
        self.cells = options.num_ctx * options.slots
        self.can_share = not options.deterministic
        # A sliding window, and a recurrent state, have forgotten what was before the end.
        self.rolls_back = not llama.llama_model_n_swa(self._model) and not llama.llama_model_is_hybrid(self._model)
        self.rolls_back = self.rolls_back and not llama.llama_model_is_recurrent(self._model)
        # A sequence costs such models memory, whoever uses it; others only a number.
        spare = (_SPARE if self.rolls_back else options.slots) if self.can_share else 0
        self.sequences = min(options.slots + spare, max(options.slots, _MOST_SEQUENCES))
        self.num_batch = min(max(options.num_batch, options.slots), self.cells)
        self._context = self._make_context(options)
        self._memory = llama.llama_get_memory(self._context)
        self._batch = LlamaBatch(self.num_batch)
        self._row: Any = ctypes.c_float * vocabulary.size
        self._adapters = apply_adapters(self._model, self._context, options.adapters)
        self._listen_for_abort()
        most = options.num_thread or available_cores()
        # Who names a number gets it; in deterministic mode nothing may depend on how long something takes.
        self.threads = [most] if options.num_thread or options.deterministic else candidates(most)

    def _make_context(self, options: LoadOptions) -> Any:
        params = llama.llama_context_default_params()
        params.n_ctx = self.cells
        params.n_batch = params.n_ubatch = max(self.num_batch, self.sequences)
        params.n_seq_max = self.sequences
        params.n_outputs_max = max(options.slots, self.sequences)
        params.n_threads = params.n_threads_batch = options.num_thread or available_cores()
        params.type_k = params.type_v = _cache_type(options.kv_cache_type)
        if options.flash_attention is not None:
            params.flash_attn_type = int(options.flash_attention)
        # With a cache of its own, a sequence's arithmetic does not depend on which cells its neighbours occupy.
        params.kv_unified = not options.deterministic
        params.swa_full = False
        params.no_perf = True
        context = llama.llama_init_from_model(self._model, params)
        if not context:
            raise LoadError(f"the engine cannot make a context of {params.n_ctx} tokens")
        return context

    def _listen_for_abort(self) -> None:
        """The engine asks after every operation whether to go on: too often to ask Python. It asks libc's strlen, whose
        answer is 0 as long as the byte it is shown is.
        """
        self._aborts = (ctypes.c_char * 2)()
        libc = ctypes.CDLL(None)
        callback = ctypes.cast(libc.strlen, llama.ggml_abort_callback)
        llama.llama_set_abort_callback(self._context, callback, ctypes.addressof(self._aborts))

    def describe(self) -> Loaded:
        """What the server needs to know of the model."""
        return describe(self._model, self._vocabulary, self.num_ctx)

    def use_threads(self, count: int) -> None:
        """Evaluate the next batches with so many."""
        llama.llama_set_n_threads(self._context, count, count)

    def grammar(self, text: str, shown: frozenset[int]) -> LlamaGrammar:
        """A grammar in GBNF whose first rule is `root`. Raises GrammarError."""
        return LlamaGrammar(self._vocabulary, text, shown)

    def decode(self, tokens: Tokens, positions: Tokens, sequences: Tokens, wanted: Tokens) -> None:
        """One llama_decode; the GIL is released while it runs."""
        result = llama.llama_decode(self._context, self._batch.filled(tokens, positions, sequences, wanted))
        if result:
            what = f"the engine could not evaluate a batch of {len(tokens)}"
            if result == 1:
                raise CacheFullError(f"{what}: the KV cache is full")
            if result == 2:
                raise AbortedError(f"{what}: it was aborted")
            raise DecodeError(f"{what}: code {result}")

    def logits(self, index: int) -> Logits:
        """A row of the engine's own memory."""
        rows = llama.llama_get_logits(self._context)
        if not rows:
            raise DecodeError("the engine gave no logits")
        address = ctypes.addressof(rows.contents) + index * ctypes.sizeof(self._row)
        return np.frombuffer(self._row.from_address(address), np.float32)

    def abort(self) -> None:
        """Make the batch that is being evaluated fail with AbortedError, soon."""
        self._aborts[0] = b"\1"

    def allow(self) -> None:
        """Take an abort() back."""
        self._aborts[0] = b"\0"

    def share(self, source: int, target: int, count: int) -> bool:
        """Enter the target in the source's first cells; nothing is copied in a unified cache."""
        oldest = llama.llama_memory_seq_pos_min(self._memory, source)
        newest = llama.llama_memory_seq_pos_max(self._memory, source)
        # What the next token looks at must all be there; llama.cpp's own server asks the same.
        needed = max(0, count - llama.llama_model_n_swa(self._model)) if not self.rolls_back else 0
        is_whole = newest == count - 1
        if newest < count - 1 or (oldest > needed and not is_whole):
            return False
        llama.llama_memory_seq_cp(self._memory, source, target, 0, -1 if is_whole else count)
        if llama.llama_memory_seq_pos_max(self._memory, target) == count - 1:
            return True
        self.forget(target)  # a recurrent state knows its end only
        return False

    def forget(self, sequence: int) -> None:
        """Clear a sequence from the KV cache."""
        llama.llama_memory_seq_rm(self._memory, sequence, -1, -1)


def _cache_type(name: str) -> int:
    if name not in _CACHE_TYPES:
        raise LoadError(f"{name!r} is no type of KV cache: {', '.join(_CACHE_TYPES)}")
    return int(getattr(llama, f"GGML_TYPE_{name.upper()}"))
