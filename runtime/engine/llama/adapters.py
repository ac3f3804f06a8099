"""LoRA adapters: loaded beside a model and applied to everything a context evaluates.

The engine asserts on much of what an adapter file may say wrongly, which would end the process without a word that helps;
so the file is looked into first.
"""

from __future__ import annotations

import ctypes
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ....store import gguf
from ....store.errors import CorralError
from ....store.header import GGUF
from ..protocol import Adapter
from .library import LoadError, llama

_FLOATS = ("F32", "F16", "BF16")
_A, _B = ".lora_a", ".lora_b"
_ALPHA = "adapter.lora.alpha"
_PAIR_SIZE = 8 + 4
"""Bytes that a pair of the metadata has besides its key and its value."""
_HINT = "use an adapter that was made for this base model, in GGUF; without one: remove ADAPTER from the Modelfile"


def apply_adapters(model: Any, context: Any, adapters: Sequence[Adapter]) -> list[Any]:
    """Apply them to the context; what is returned must live as long as it. Raises LoadError, which names the file."""
    if not adapters:
        return []
    handles = [_loaded(model, adapter.path) for adapter in adapters]
    pointers = (llama.llama_adapter_lora_p_ctypes * len(handles))(*handles)
    scales = (ctypes.c_float * len(handles))(*(adapter.scale for adapter in adapters))
    if result := llama.llama_set_adapters_lora(context, pointers, len(handles), scales):
        raise _refused(adapters[0].path, f"the engine could not apply it: code {result}")
    return handles


def _loaded(model: Any, path: str) -> Any:
    try:
        header = gguf.read(Path(path), f"adapter {Path(path).name}")
    except CorralError as error:
        raise LoadError(str(error), hint=error.hint) from None
    if why := why_wrong(header, _architecture(model)):
        raise _refused(path, why)
    handle = llama.llama_adapter_lora_init(model, os.fsencode(path))
    if not handle:
        raise _refused(path, "its tensors do not fit this model")
    return handle


def why_wrong(header: GGUF, architecture: str) -> str:
    """Why the engine would refuse an adapter for a model of this architecture, or assert on it; "" where nothing is seen."""
    expected = {"general.type": "adapter", "adapter.type": "lora", "general.architecture": architecture}
    for key, value in expected.items():
        if header.metadata.get(key) != value:
            return f"{key} is {header.metadata.get(key)!r:.80}, expected {value!r}"
    if _ALPHA in header.pairs and not _is_single(header, _ALPHA):
        return f"{_ALPHA} is {header.metadata[_ALPHA]!r:.80}, expected a 32-bit number"
    shapes: dict[str, dict[str, tuple[int, ...]]] = {}
    for tensor in header.tensors:
        base, part = tensor.name[: -len(_A)], tensor.name[-len(_A) :]
        if part in (_A, _B):
            shapes.setdefault(base, {})[part] = tensor.shape + (1,) * (4 - len(tensor.shape))
        elif not tensor.name.endswith("_norm.weight"):  # these the engine leaves out
            return f"tensor {tensor.name!r:.80} is neither lora_a nor lora_b"
        if tensor.type not in _FLOATS:
            return f"tensor {tensor.name!r:.80} is of type {tensor.type}, expected one of {', '.join(_FLOATS)}"
    if not shapes:
        return "it changes no tensor"
    return next((why for base, pair in shapes.items() if (why := _why_no_pair(base, pair))), "")


def _why_no_pair(base: str, shapes: dict[str, tuple[int, ...]]) -> str:
    if len(shapes) == 1:
        return f"tensor {base!r:.80} has only one of lora_a and lora_b"
    a, b = shapes[_A], shapes[_B]
    # Both of the embedding table's are rows to be looked up; any other tensor's are multiplied one by the other.
    rank = a[0] if base.endswith("token_embd.weight") else a[1]
    are_matrices = a[2:] == b[2:] and (a[2:] == (1, 1) or "_exps" in base)
    if rank == b[0] and are_matrices:
        return ""
    return f"the parts of {base!r:.80} do not fit together: {list(a)} and {list(b)}"


def _is_single(header: GGUF, key: str) -> bool:
    """Whether the value is a finite number of four bytes."""
    start, end = header.pairs[key]
    value = header.metadata[key]
    return isinstance(value, float) and math.isfinite(value) and end - start == _PAIR_SIZE + len(key) + 4


def _architecture(model: Any) -> str:
    buffer = ctypes.create_string_buffer(128)
    llama.llama_model_meta_val_str(model, b"general.architecture", buffer, len(buffer))
    return buffer.value.decode("utf-8", "replace")


def _refused(path: str, why: str) -> LoadError:
    return LoadError(f"adapter {Path(path).name}: {why}", hint=_HINT)
