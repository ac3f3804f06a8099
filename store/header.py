"""Header: what a GGUF says of itself before its weights, as values. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

from .ggml import FILE_TYPES

Scalar: TypeAlias = "int | float | bool | str"


@dataclass(frozen=True, slots=True)
class Array:
    """A metadata array: its length and its first items (all of them up to 64)."""

    count: int
    items: tuple[Scalar, ...]

    @property
    def is_whole(self) -> bool:
        """Whether all items are here."""
        return len(self.items) == self.count


Value: TypeAlias = "Scalar | Array"


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor's description; `shape` has the fastest-varying dimension first, `offset` counts from the data section."""

    name: str
    shape: tuple[int, ...]
    type: str
    offset: int
    size: int
    """Bytes."""


@dataclass(frozen=True, slots=True)
class GGUF:
    """A file's header."""

    version: int
    metadata: dict[str, Value]
    tensors: tuple[Tensor, ...]
    alignment: int
    data_start: int
    """Where the data section begins."""
    pairs: dict[str, tuple[int, int]]
    """From where to where each pair of the metadata stands in the file."""

    @property
    def architecture(self) -> str:
        """`general.architecture`, e.g. `llama`."""
        return self.text("general.architecture") or "unknown"

    @property
    def kind(self) -> str:
        """`model`, `adapter` or `projector`."""
        declared = self.text("general.type")
        if declared == "adapter":
            return "adapter"
        vision_only = self.own("vision.block_count") is not None and self.own("block_count") is None
        if declared in ("projector", "mmproj") or self.architecture == "clip" or vision_only:
            return "projector"
        return "model"

    @property
    def parameter_count(self) -> int:
        """The number of weights: all tensors' elements."""
        return sum(math.prod(tensor.shape) for tensor in self.tensors)

    @property
    def file_type(self) -> str:
        """The quantisation as Ollama names it (`Q4_K_M`), or `unknown`."""
        number = self.metadata.get("general.file_type")
        return FILE_TYPES.get(number, "unknown") if isinstance(number, int) else "unknown"

    @property
    def context_length(self) -> int | None:
        """The training context in tokens."""
        return self.count("context_length")

    @property
    def embedding_length(self) -> int | None:
        """The width of the model's embeddings."""
        return self.count("embedding_length")

    @property
    def chat_template(self) -> str | None:
        """The Jinja chat template the file carries."""
        return self.text("tokenizer.chat_template")

    def own(self, key: str) -> Value | None:
        """The value of `<architecture>.<key>`."""
        return self.metadata.get(f"{self.architecture}.{key}")

    def text(self, key: str) -> str | None:
        """A string of the metadata, None when absent or something else."""
        value = self.metadata.get(key)
        return value if isinstance(value, str) else None

    def count(self, key: str) -> int | None:
        """A whole number under the architecture's own prefix."""
        value = self.own(key)
        return value if isinstance(value, int) and not isinstance(value, bool) else None
