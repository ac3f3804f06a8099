"""LoRA adapters of random numbers, which change what a model says and teach it nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import numpy.typing as npt

WIDTH, LAYERS = 576, 30
"""Of SmolLM2-135M."""
RANK = 4

Tensors = Mapping[str, npt.NDArray[Any]]


def random_tensors(seed: int = 7, *, size: float = 0.05, layers: int = LAYERS) -> dict[str, npt.NDArray[Any]]:
    """Both parts for the query and output projections of the first layers."""
    source = np.random.default_rng(seed)
    tensors: dict[str, npt.NDArray[Any]] = {}
    for layer in range(layers):
        for part in ("attn_q", "attn_output"):
            name = f"blk.{layer}.{part}.weight"
            tensors[f"{name}.lora_a"] = source.normal(0, size, (RANK, WIDTH)).astype(np.float32)
            tensors[f"{name}.lora_b"] = source.normal(0, size, (WIDTH, RANK)).astype(np.float32)
    return tensors


def write(
    path: Path,
    tensors: Tensors | None = None,
    *,
    architecture: str = "llama",
    kind: str = "adapter",
    adapter: str = "lora",
    alpha: object = 8.0,
) -> Path:
    """An adapter file."""
    writer = gguf.GGUFWriter(str(path), architecture)
    writer.add_type(kind)
    writer.add_string("adapter.type", adapter)
    match alpha:
        case float():
            writer.add_float32("adapter.lora.alpha", alpha)
        case int():
            writer.add_uint32("adapter.lora.alpha", alpha)
        case str():
            writer.add_float64("adapter.lora.alpha", float(alpha))
        case _:
            pass
    for name, values in (random_tensors() if tensors is None else tensors).items():
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
