"""LlamaDecoder: llama.cpp through llama-cpp-python's low-level bindings. The one file that touches llama_cpp.

The bindings' names and structs follow llama.cpp and drift, so their version is pinned exactly and compared here.
"""

from __future__ import annotations

import ctypes
import os
import secrets
import sys
import time
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import llama_cpp
import numpy as np
import numpy.typing as npt
import psutil

from ...store.errors import MachineError
from .decoder import DecodeError, Sampler, Tokens
from .protocol import Loaded, LoadOptions, Sampling

PINNED = "0.3.36"
_ERROR_LEVEL = 4
_CONTINUED = 5
_SMALL_MODEL = 512 << 20  # bytes
_NEAR_BEST = 1.2

# The bindings are untyped; they are called through this name so that the rest of the file stays strictly checked.
_llama: Any = llama_cpp


class LoadError(MachineError):
    """The engine refused the model; its reasons are on stderr."""


class LlamaDecoder:
    """A model and a context with a KV cache that `slots` sequences share. Used by one thread only, but for `tokenize`."""

    def __init__(self, path: str, options: LoadOptions, on_progress: Callable[[float], None]) -> None:
        """Load. Raises LoadError."""
        _start_engine()
        self._model = self._load(path, options, on_progress)
        vocabulary = self._vocabulary = LlamaVocabulary(self._model)
        self.tokenize, self.piece = vocabulary.tokenize, vocabulary.piece
        self.special_token, self.is_end = vocabulary.special_token, vocabulary.is_end
        self._context = self._make_context(options)
        self._memory = _llama.llama_get_memory(self._context)
        self.num_ctx = options.num_ctx
        self.slots = options.slots
        # A sliding window or a recurrent state keeps no beginning that could be copied.
        keeps_all = not _llama.llama_model_n_swa(self._model) and not _llama.llama_model_is_hybrid(self._model)
        keeps_all = keeps_all and not _llama.llama_model_is_recurrent(self._model)
        self.can_share = keeps_all and not options.deterministic
        self.num_batch: int = _llama.llama_n_batch(self._context)
        self._batch = _Batch(self.num_batch)
        threads = options.num_thread or default_threads()
        if threads > 1 and not options.deterministic and _llama.llama_model_size(self._model) < _SMALL_MODEL:
            self._choose_threads(threads)

    def _load(self, path: str, options: LoadOptions, on_progress: Callable[[float], None]) -> Any:
        params = _llama.llama_model_default_params()
        params.n_gpu_layers = options.num_gpu
        params.main_gpu = options.main_gpu
        params.load_mode = _llama.LLAMA_LOAD_MODE_MMAP if options.use_mmap else _llama.LLAMA_LOAD_MODE_NONE

        def progress(fraction: float, _: object) -> bool:
            on_progress(fraction)
            return True

        callback = _llama.llama_progress_callback(progress)
        params.progress_callback = callback
        model = _llama.llama_model_load_from_file(os.fsencode(path), params)
        if not model:
            raise LoadError("the engine cannot load this model")
        return model

    def _make_context(self, options: LoadOptions) -> Any:
        params = _llama.llama_context_default_params()
        params.n_ctx = options.num_ctx * options.slots
        params.n_batch = params.n_ubatch = min(max(options.num_batch, options.slots), params.n_ctx)
        params.n_seq_max = options.slots
        params.n_threads = params.n_threads_batch = options.num_thread or default_threads()
        # With a cache of its own, a sequence's arithmetic does not depend on which cells its neighbours occupy.
        params.kv_unified = not options.deterministic
        params.no_perf = True
        context = _llama.llama_init_from_model(self._model, params)
        if not context:
            raise LoadError(f"the engine cannot make a context of {params.n_ctx} tokens")
        return context

    def _choose_threads(self, most: int) -> None:
        """A small model's steps are so short that its threads mostly wait for each other. Single tokens are evaluated
        by the fewest threads that come near the best time, which leaves the other cores to other work; batches, where
        there is enough to share, by all.
        """
        candidates = [1 << i for i in range((most - 1).bit_length())] + [most]
        times = {threads: self._token_seconds(threads, most) for threads in candidates}
        enough = next(threads for threads in candidates if times[threads] <= _NEAR_BEST * min(times.values()))
        _llama.llama_set_n_threads(self._context, enough, most)

    def _token_seconds(self, threads: int, batch_threads: int) -> float:
        _llama.llama_set_n_threads(self._context, threads, batch_threads)
        one, none = np.ones(1, np.int8), np.zeros(1, np.int32)
        times: list[float] = []
        for position in range(4):
            started = time.perf_counter()
            self.decode(none, none + position, none, one)
            times.append(time.perf_counter() - started)
        self.forget(0)
        return min(times)

    def describe(self) -> Loaded:
        """What the server needs to know of the model."""
        layers, heads = _llama.llama_model_n_layer(self._model), max(1, _llama.llama_model_n_head(self._model))
        width = _llama.llama_model_n_embd(self._model) // heads * _llama.llama_model_n_head_kv(self._model)
        cache = 2 * 2 * layers * width * _llama.llama_n_ctx(self._context)  # keys and values, two bytes each
        return Loaded(
            num_ctx=self.num_ctx,
            train_ctx=_llama.llama_model_n_ctx_train(self._model),
            bos=self._vocabulary.bos,
            eos=self._vocabulary.eos,
            memory=_llama.llama_model_size(self._model) + cache,
        )

    def sampler(self, sampling: Sampling, prompt: Sequence[int]) -> Sampler:
        """Greedy without penalties is an argmax in numpy, several times faster than the chain in C; else that chain."""
        looks_back = sampling.repeat_last_n != 0 and (
            sampling.repeat_penalty not in (0.0, 1.0)
            or sampling.presence_penalty != 0
            or sampling.frequency_penalty != 0
        )
        if sampling.temperature <= 0 and not looks_back:
            return _GreedySampler(self._context, self._vocabulary.size)
        last = self.num_ctx if sampling.repeat_last_n < 0 else sampling.repeat_last_n
        return _ChainSampler(self._context, self._vocabulary.size, sampling, prompt[-last:] if looks_back else (), last)

    def decode(self, tokens: Tokens, positions: Tokens, sequences: Tokens, wanted: npt.NDArray[np.int8]) -> None:
        """One llama_decode; the GIL is released while it runs."""
        result = _llama.llama_decode(self._context, self._batch.filled(tokens, positions, sequences, wanted))
        if result:
            reasons = {1: "the KV cache is full", 2: "it was aborted"}
            raise DecodeError(
                f"the engine could not evaluate a batch of {len(tokens)}: {reasons.get(result, f'code {result}')}"
            )

    def share(self, source: int, target: int, count: int) -> None:
        """Enter the target in the source's first cells; nothing is copied in a unified cache."""
        _llama.llama_memory_seq_cp(self._memory, source, target, 0, count)

    def forget(self, sequence: int) -> None:
        """Clear a sequence from the KV cache."""
        _llama.llama_memory_seq_rm(self._memory, sequence, -1, -1)


class LlamaVocabulary:
    """A model's tokenizer."""

    def __init__(self, model: object) -> None:
        self._vocab = _llama.llama_model_get_vocab(model)
        self._pieces: dict[tuple[int, bool], bytes] = {}
        self.size: int = _llama.llama_vocab_n_tokens(self._vocab)
        self._bos: int = _llama.llama_vocab_bos(self._vocab)
        self.bos = self._special_text(self._bos)
        self.eos = self._special_text(_llama.llama_vocab_eos(self._vocab))

    @classmethod
    def load(cls, path: str) -> LlamaVocabulary:
        """That of a GGUF file, without its weights. Raises LoadError."""
        _start_engine()
        params = _llama.llama_model_default_params()
        params.vocab_only = True
        model = _llama.llama_model_load_from_file(os.fsencode(path), params)
        if not model:
            raise LoadError("the engine cannot load this model")
        return cls(model)

    def tokenize(self, text: str) -> list[int]:
        """The prompt's tokens; a begin token that the template wrote itself is not doubled."""
        tokens = self._tokens(text, add_special=True)
        return tokens[1:] if tokens[:2] == [self._bos, self._bos] else tokens

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
        return bool(_llama.llama_vocab_is_eog(self._vocab, token))

    def _tokens(self, text: str, *, add_special: bool) -> list[int]:
        raw = text.encode("utf-8", "replace")
        room = len(raw) + 8
        while True:
            buffer = (ctypes.c_int32 * room)()
            count = _llama.llama_tokenize(self._vocab, raw, len(raw), buffer, room, add_special, True)  # noqa: FBT003 - C
            if count >= 0:
                return buffer[:count]
            room = -count

    def _piece(self, token: int, *, special: bool) -> bytes:
        known = self._pieces.get((token, special))
        if known is None:
            buffer = ctypes.create_string_buffer(256)
            size = _llama.llama_token_to_piece(self._vocab, token, buffer, len(buffer), 0, special)
            if size < 0:
                buffer = ctypes.create_string_buffer(-size)
                size = _llama.llama_token_to_piece(self._vocab, token, buffer, len(buffer), 0, special)
            known = self._pieces[token, special] = buffer.raw[: max(0, size)]
        return known

    def _special_text(self, token: int) -> str:
        return "" if token < 0 else self.spelling(token).decode("utf-8", "replace")


class _Batch:
    """A llama_batch whose C arrays are numpy's, so that filling it is one copy an array."""

    def __init__(self, size: int) -> None:
        self._tokens, self._positions, self._sequences = (np.zeros(size, np.int32) for _ in range(3))
        self._counts = np.ones(size, np.int32)
        self._wanted = np.zeros(size, np.int8)
        first = self._sequences.ctypes.data
        self._pointers = np.array([first + 4 * i for i in range(size)] + [0], np.uint64)
        self._batch = _llama.llama_batch()
        for field, array in (
            ("token", self._tokens),
            ("pos", self._positions),
            ("n_seq_id", self._counts),
            ("seq_id", self._pointers),
            ("logits", self._wanted),
        ):
            pointer: Any = getattr(self._batch, field)
            setattr(self._batch, field, ctypes.cast(array.ctypes.data, pointer.__class__))

    def filled(self, tokens: Tokens, positions: Tokens, sequences: Tokens, wanted: npt.NDArray[np.int8]) -> Any:
        size = len(tokens)
        self._tokens[:size], self._positions[:size], self._sequences[:size] = tokens, positions, sequences
        self._wanted[:size] = wanted
        self._batch.n_tokens = size
        return self._batch


class _GreedySampler:
    def __init__(self, context: object, vocab_size: int) -> None:
        self._context = context
        self._shape = (vocab_size,)

    def sample(self, row: int) -> int:
        logits = _llama.llama_get_logits_ith(self._context, row)
        return int(np.ctypeslib.as_array(logits, self._shape).argmax())

    def close(self) -> None:
        """Nothing is held."""


class _ChainSampler:
    def __init__(self, context: object, vocab_size: int, sampling: Sampling, seen: Sequence[int], last: int) -> None:
        self._context = context
        self._chain = _llama.llama_sampler_chain_init(_llama.llama_sampler_chain_default_params())
        repeat = sampling.repeat_penalty if sampling.repeat_penalty > 0 else 1.0
        seed = sampling.seed if sampling.seed >= 0 else secrets.randbits(32)
        self._add(
            _llama.llama_sampler_init_penalties(
                vocab_size, last, repeat, sampling.frequency_penalty, sampling.presence_penalty
            )
        )
        if sampling.temperature <= 0:
            self._add(_llama.llama_sampler_init_greedy())
        else:
            self._add(_llama.llama_sampler_init_top_k(sampling.top_k))
            self._add(_llama.llama_sampler_init_typical(sampling.typical_p, 1))
            self._add(_llama.llama_sampler_init_top_p(sampling.top_p, 1))
            self._add(_llama.llama_sampler_init_min_p(sampling.min_p, 1))
            self._add(_llama.llama_sampler_init_temp(sampling.temperature))
            self._add(_llama.llama_sampler_init_dist(seed & 0xFFFFFFFF))
        for token in seen:
            _llama.llama_sampler_accept(self._chain, token)

    def _add(self, sampler: object) -> None:
        _llama.llama_sampler_chain_add(self._chain, sampler)

    def sample(self, row: int) -> int:
        return _llama.llama_sampler_sample(self._chain, self._context, row)

    def close(self) -> None:
        _llama.llama_sampler_free(self._chain)


@cache
def _start_engine() -> object:
    """Compare versions and take over the engine's log, once; what is returned must live as long as the engine."""
    if _llama.__version__ != PINNED:
        raise LoadError(f"llama-cpp-python is {_llama.__version__}, expected {PINNED}: run `make setup`")
    log = _llama.llama_log_callback(_Log())
    _llama.llama_log_set(log, ctypes.c_void_p(0))
    _llama.llama_backend_init()
    return log


class _Log:
    """Passes the engine's errors on to stderr, where the server looks for the cause when a worker fails."""

    def __init__(self) -> None:
        self._shows = False

    def __call__(self, level: int, text: bytes, _: object) -> None:
        self._shows = level == _ERROR_LEVEL or (level == _CONTINUED and self._shows)
        if self._shows:
            sys.stderr.write(text.decode("utf-8", "replace"))
            sys.stderr.flush()


def default_threads() -> int:
    """One thread for each physical core this process may use."""
    return max(1, min(psutil.cpu_count(logical=False) or 1, len(os.sched_getaffinity(0))))
