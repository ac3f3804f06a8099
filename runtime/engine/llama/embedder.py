"""LlamaEmbedder: a model, and a context that pools the tokens of each text into one vector."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..decoder import DecodeError
from ..embedding import Vector
from ..protocol import Loaded, LoadOptions
from ..threads import available_cores
from .adapters import apply_adapters
from .batch import LlamaBatch
from .description import describe
from .library import LoadError, llama, load_model
from .vocabulary import LlamaVocabulary

_NO_POOLING = {
    0: "it pools no vectors (pooling type none)",
    4: "it is a reranker, which gives scores and no embeddings",
}


class LlamaEmbedder:
    """See the module. Used by one thread only, but for `tokenize`."""

    def __init__(self, path: str, options: LoadOptions, on_progress: Callable[[float], None]) -> None:
        """Load. Raises LoadError."""
        self._model = load_model(path, options, on_progress)
        self._vocabulary = LlamaVocabulary(self._model)
        # Tables of positions end there, and nothing in the engine does.
        self.num_ctx = min(options.num_ctx, max(1, llama.llama_model_n_ctx_train(self._model)))
        self.num_batch = max(1, options.num_batch)
        self.slots = options.slots
        handle = self._vocabulary.handle
        wants_end = llama.llama_vocab_get_add_eos(handle) or llama.llama_vocab_get_add_sep(handle)
        self.ending = int(bool(wants_end) and self.num_ctx > 1)
        self._context = self._make_context(options)
        if reason := _NO_POOLING.get(llama.llama_pooling_type(self._context)):
            raise LoadError(f"this model gives no embeddings: {reason}", hint="use an embedding model")
        self._adapters = apply_adapters(self._model, self._context, options.adapters)
        self._memory = llama.llama_get_memory(self._context)
        self._batch = LlamaBatch(llama.llama_n_batch(self._context))
        self._length: int = llama.llama_model_n_embd_out(self._model)

    def _make_context(self, options: LoadOptions) -> Any:
        params = llama.llama_context_default_params()
        # One batch is all that a cache has to hold, where the model has one at all; no text is ever evaluated in parts.
        params.n_ctx = params.n_batch = params.n_ubatch = max(self.num_batch, self.num_ctx)
        params.n_seq_max = self.slots
        params.n_threads = params.n_threads_batch = options.num_thread or available_cores()
        if options.flash_attention is not None:
            params.flash_attn_type = int(options.flash_attention)
        params.kv_unified = True
        params.embeddings = True
        params.no_perf = True
        context = llama.llama_init_from_model(self._model, params)
        if not context:
            raise LoadError(f"the engine cannot make a context of {params.n_ctx} tokens", hint="set num_ctx lower")
        return context

    def describe(self) -> Loaded:
        """What the server needs to know of the model."""
        return describe(self._model, self._vocabulary, self.num_ctx)

    def tokenize(self, text: str) -> list[int]:
        """The tokens; a text that has none is given the model's end token, so that it has a vector too."""
        return self._vocabulary.tokenize(text) or [max(0, llama.llama_vocab_eos(self._vocabulary.handle))]

    def embed(self, texts: Sequence[Sequence[int]]) -> list[Vector]:
        """One evaluation; the GIL is released while it runs."""
        sizes = [len(text) for text in texts]
        tokens = np.fromiter(itertools.chain.from_iterable(texts), np.int32, sum(sizes))
        positions = np.concatenate([np.arange(size, dtype=np.int32) for size in sizes])
        sequences = np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)
        llama.llama_memory_clear(self._memory, False)  # noqa: FBT003 - C
        batch = self._batch.filled(tokens, positions, sequences, np.ones(len(tokens), np.int8))
        # A model without a cache, as BERT is, is "encoded" by it; the engine decides.
        if result := llama.llama_decode(self._context, batch):
            raise DecodeError(
                f"the engine could not evaluate {len(sizes)} texts of {len(tokens)} tokens: code {result}"
            )
        return [self._vector(sequence) for sequence in range(len(sizes))]

    def _vector(self, sequence: int) -> Vector:
        values = llama.llama_get_embeddings_seq(self._context, sequence)
        if not values:
            raise DecodeError("the engine gave no embedding")
        return np.ctypeslib.as_array(values, (self._length,)).copy()
