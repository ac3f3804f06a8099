"""The bindings, started once a process: their version compared, their log taken over, models loaded from files.

The bindings' names and structs follow llama.cpp and drift, so their version is pinned exactly and compared here.
"""

from __future__ import annotations

import ctypes
import os
import re
import sys
from collections.abc import Callable
from functools import cache
from typing import Any

import llama_cpp

from ....store.errors import MachineError
from ..protocol import LoadOptions

PINNED = "0.3.36"
_ERROR_LEVEL = 4
_CONTINUED = 5
_ABORTED = (b"failed to compute graph, compute status: 1", b"failed to decode, ret = 2")
"""No error: somebody wanted that."""

# The bindings are untyped; they are called through this name so that the rest of the folder stays strictly checked.
llama: Any = llama_cpp


class LoadError(MachineError):
    """The engine refused the model; its reasons are on stderr."""


def load_model(path: str, options: LoadOptions, on_progress: Callable[[float], None]) -> Any:
    """The model in a GGUF file. Raises LoadError."""
    params = llama.llama_model_default_params()
    params.n_gpu_layers = options.num_gpu
    if options.main_gpu >= 0 and options.num_gpu and llama.llama_supports_gpu_offload():
        params.split_mode, params.main_gpu = llama.LLAMA_SPLIT_MODE_NONE, options.main_gpu
    params.load_mode = llama.LLAMA_LOAD_MODE_MMAP if options.use_mmap else llama.LLAMA_LOAD_MODE_NONE
    params.use_extra_bufts = options.use_extra_buffers

    def progress(fraction: float, _: object) -> bool:
        on_progress(fraction)
        return True

    callback = llama.llama_progress_callback(progress)
    params.progress_callback = callback
    return _loaded(path, params)


def load_vocabulary(path: str) -> Any:
    """The model in a GGUF file without its weights. Raises LoadError."""
    params = llama.llama_model_default_params()
    params.vocab_only = True
    return _loaded(path, params)


def _loaded(path: str, params: Any) -> Any:
    start_engine()
    model = llama.llama_model_load_from_file(os.fsencode(path), params)
    if not model:
        raise LoadError("the engine cannot load this model")
    return model


@cache
def start_engine() -> object:
    """Compare versions and take over the engine's log, once; what is returned must live as long as the engine."""
    if llama.__version__ != PINNED:
        raise LoadError(f"llama-cpp-python is {llama.__version__}, expected {PINNED}: run `make setup`")
    log = llama.llama_log_callback(_Log())
    llama.llama_log_set(log, ctypes.c_void_p(0))
    llama.llama_backend_init()
    return log


def allocated() -> tuple[int, int, int]:
    """Bytes of all that the engine has allocated so far, of them those on GPUs, and those of the weights' file in use.

    Its log is the only place that tells. What was repacked lies beside the file, which then nobody looks at any more.
    """
    repacked = sum(size for place, size in _buffers.items() if place.endswith("_REPACK"))
    mapped = max(0.0, sum(size for place, size in _buffers.items() if place == "CPU_Mapped") - repacked)
    others = {place: size for place, size in _buffers.items() if place != "CPU_Mapped"}
    on_gpus = sum(size for place, size in others.items() if not (place.startswith("CPU") or place.endswith("_Host")))
    return round(sum(others.values()) + mapped), round(on_gpus), round(mapped)


_BUFFER = re.compile(rb": +(\S+) +(?:\w+ )+buffer size = +([0-9.]+) MiB")
_buffers: dict[str, float] = {}


class _Log:
    """Passes the engine's errors on to stderr, where the server looks for the cause when a worker fails."""

    def __init__(self) -> None:
        self._shows = False

    def __call__(self, level: int, text: bytes, _: object) -> None:
        if found := _BUFFER.search(text):
            place = found[1].decode("utf-8", "replace")
            _buffers[place] = _buffers.get(place, 0.0) + float(found[2]) * (1 << 20)
        self._shows = level == _ERROR_LEVEL or (level == _CONTINUED and self._shows)
        self._shows = self._shows and not any(words in text for words in _ABORTED)
        if self._shows:
            sys.stderr.write(text.decode("utf-8", "replace"))
            sys.stderr.flush()
