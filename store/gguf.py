"""A bounded reader for GGUF headers: metadata and tensor descriptions, never the weights.

A GGUF is untrusted. Every count and length is compared with the bytes that are left before anything is allocated, and
what would abort the engine (llama.cpp asserts on some values) is refused here. The format is that of ggml's docs/gguf.md,
versions 2 and 3, little-endian.
"""

from __future__ import annotations

import math
import os
import re
import struct
import time
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeAlias

from .errors import InvalidGGUFError, shown
from .files import open_regular

Scalar: TypeAlias = "int | float | bool | str"

MAX_STRING = 16 << 20
MAX_ARRAY = 64 << 20
MAX_PAIRS = 1 << 16
MAX_TENSORS = 1 << 16
MAX_TEXT = 64 << 20
"""Bytes of text that are kept in all."""
MAX_STRINGS = 4 << 20
"""Strings in all arrays together, kept or walked over."""
_KEPT_ITEMS = 64
"""Longer arrays (vocabularies) are walked over; only their first items are kept."""

SPLIT_NUMBER, SPLIT_COUNT = "split.no", "split.count"
_MAX_UINT16 = (1 << 16) - 1
_ARCHITECTURE = re.compile(r"[A-Za-z0-9_.-]{1,64}")

_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9


@dataclass(frozen=True, slots=True)
class Array:
    """A metadata array: its length and its first items (all of them up to 64)."""

    count: int
    items: tuple[Scalar, ...]


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
        from gguf.constants import LlamaFileType

        number = self.metadata.get("general.file_type")
        try:
            return LlamaFileType(number).name.removeprefix("MOSTLY_").removeprefix("ALL_")
        except ValueError:
            return "unknown"

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


def read(path: Path, identity: str | None = None) -> GGUF:
    """Read and check the header of a GGUF file; errors call it `identity` (default: its path).

    Raises InvalidGGUFError for what is not a GGUF, is cut short or would abort the engine, FileError when unreadable,
    InputError for what is no regular file.
    """
    with open_regular(path) as file:
        status = os.fstat(file.fileno())
        stamp = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        header = _known.pop(stamp, None) or parse(file, status.st_size, identity or str(path))
    # A file that has just changed may change again before its times do.
    if time.time_ns() - max(status.st_mtime_ns, status.st_ctime_ns) > _GRAIN:
        _known[stamp] = header
        if len(_known) > _MOST_KNOWN:
            _known.pop(next(iter(_known)), None)
    return header


def parse(file: BinaryIO, size: int, identity: str) -> GGUF:
    """Read and check the header that begins a GGUF of `size` bytes. Raises InvalidGGUFError."""
    return _Reader(file, size, identity).header()


_GRAIN = 2_000_000_000  # nanoseconds
_MOST_KNOWN = 256
_known: dict[tuple[int, ...], GGUF] = {}
"""Headers read in this process, by the file's stamp, those used last at the end: walking over a vocabulary takes long."""


def is_gguf(path: Path) -> bool:
    """Whether the file starts as a GGUF does."""
    with open_regular(path) as file:
        return file.read(4) == b"GGUF"


def type_number(name: str) -> int:
    """The number of a tensor type in the format."""
    from gguf.constants import GGMLQuantizationType

    return GGMLQuantizationType[name].value


class _Reader:
    def __init__(self, file: BinaryIO, size: int, identity: str) -> None:
        self._file = file
        self._left = size
        self._size = size
        self._identity = identity
        self._text_left = MAX_TEXT
        self._strings_left = MAX_STRINGS

    def header(self) -> GGUF:
        if self._size < 4 or self._file.read(4) != b"GGUF":
            raise self._wrong("it does not begin with the bytes GGUF")
        self._left -= 4
        version = self._unpack("I")
        if version not in (2, 3):
            big = int.from_bytes(version.to_bytes(4, "little"), "big") in (2, 3)
            raise self._wrong("big-endian files are not supported" if big else f"version {version} is not 2 or 3")
        tensor_count = self._bounded("tensor count", self._unpack("Q"), MAX_TENSORS, least_bytes=24)
        pair_count = self._bounded("metadata count", self._unpack("Q"), MAX_PAIRS, least_bytes=13)
        metadata: dict[str, Value] = {}
        pairs: dict[str, tuple[int, int]] = {}
        for _ in range(pair_count):
            start = self._size - self._left
            key = self._string("metadata key")
            if key in metadata:
                raise self._wrong(f"metadata key {key!r} occurs twice")
            metadata[key] = self._value(key, self._unpack("I"))
            pairs[key] = (start, self._size - self._left)
        alignment = metadata.get("general.alignment", 32)
        if not isinstance(alignment, int) or alignment <= 0 or alignment & (alignment - 1):
            raise self._wrong(f"general.alignment is {alignment!r}, expected a power of two")
        descriptions = [self._tensor() for _ in range(tensor_count)]
        data_start = -(-(self._size - self._left) // alignment) * alignment
        tensors = tuple(self._located(d, alignment, data_start) for d in descriptions)
        header = GGUF(version, metadata, tensors, alignment, data_start, pairs)
        self._check(header)
        return header

    def _tensor(self) -> tuple[str, tuple[int, ...], int, int]:
        name = self._string("tensor name")
        dimensions = self._unpack("I")
        if not 1 <= dimensions <= 4:
            raise self._wrong(f"tensor {name!r} has {dimensions} dimensions, expected 1 to 4")
        shape = tuple(self._unpack("Q") for _ in range(dimensions))
        return name, shape, self._unpack("I"), self._unpack("Q")

    def _located(self, description: tuple[str, tuple[int, ...], int, int], alignment: int, data_start: int) -> Tensor:
        from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

        name, shape, number, offset = description
        try:
            kind = GGMLQuantizationType(number)
        except ValueError:
            raise self._wrong(f"tensor {name!r} has unknown type {number}") from None
        block, block_bytes = GGML_QUANT_SIZES[kind]
        if 0 in shape or shape[0] % block:
            raise self._wrong(f"tensor {name!r} of type {kind.name} cannot have shape {list(shape)}")
        size = math.prod(shape) // block * block_bytes
        if offset % alignment:
            raise self._wrong(f"tensor {name!r} starts at {offset}, not a multiple of {alignment}")
        if (end := data_start + offset + size) > self._size:
            raise self._wrong(f"truncated: tensor {name!r} ends at byte {end}, the file has {self._size}")
        return Tensor(name, shape, kind.name, offset, size)

    def _check(self, header: GGUF) -> None:
        """Refuse what llama.cpp is known to abort on (SIGABRT, division by zero) rather than reject."""
        for key in (SPLIT_NUMBER, SPLIT_COUNT):
            value = header.metadata.get(key, 0)
            if type(value) is not int or not 0 <= value <= _MAX_UINT16:
                raise self._wrong(f"{key} is {value!r:.80}, expected 0 to {_MAX_UINT16}")
        architecture = header.metadata.get("general.architecture")
        if architecture is None and header.metadata.get(SPLIT_NUMBER):
            return  # The parts of a split file after the first have no other metadata.
        if architecture is None:
            raise self._wrong("general.architecture is missing")
        if not isinstance(architecture, str) or not _ARCHITECTURE.fullmatch(architecture):
            raise self._wrong(
                f"general.architecture is {shown(str(architecture))}, expected 1 to 64 letters, digits and _ . -"
            )
        if header.kind != "model":
            return
        for key, most in (("block_count", 1024), ("context_length", 1 << 31), ("embedding_length", 1 << 24)):
            value = header.own(key)
            if value is not None and not (isinstance(value, int) and 1 <= value <= most):
                raise self._wrong(f"{header.architecture}.{key} is {value!r}, expected 1 to {most}")
        heads = header.own("attention.head_count")
        counts = heads.items if isinstance(heads, Array) else () if heads is None else (heads,)
        if any(not isinstance(count, int) or count < 0 for count in counts) or (isinstance(heads, int) and heads == 0):
            raise self._wrong(f"{header.architecture}.attention.head_count is {heads!r}, expected a positive number")

    def _value(self, key: str, type_number: int) -> Value:
        if type_number == _STRING:
            return self._string(key)
        if type_number == _ARRAY:
            return self._array(key)
        if type_number not in _SCALARS:
            raise self._wrong(f"metadata {key!r} has unknown type {type_number}")
        return self._unpack(_SCALARS[type_number])

    def _array(self, key: str) -> Array:
        item_type = self._unpack("I")
        claimed = self._unpack("Q")
        if item_type == _STRING:
            count = self._bounded(f"length of {key!r}", claimed, self._strings_left, least_bytes=8)
            self._strings_left -= count
            kept = tuple(self._string(key) for _ in range(min(count, _KEPT_ITEMS)))
            for _ in range(count - len(kept)):
                self._string_bytes(key)
            return Array(count, kept)
        if item_type not in _SCALARS:
            raise self._wrong(f"array {key!r} has unknown item type {item_type}")
        layout = struct.Struct("<" + _SCALARS[item_type])
        count = self._bounded(f"length of {key!r}", claimed, MAX_ARRAY, least_bytes=layout.size)
        data = self._take(min(count, _KEPT_ITEMS) * layout.size)
        rest = (count - min(count, _KEPT_ITEMS)) * layout.size
        self._file.seek(rest, 1)
        self._left -= rest
        return Array(count, tuple(item[0] for item in layout.iter_unpack(data)))

    def _string(self, what: str) -> str:
        data = self._string_bytes(what, self._text_left)
        self._text_left -= len(data)
        return data.decode("utf-8", "replace")

    def _string_bytes(self, what: str, most: int = MAX_STRING) -> bytes:
        length = int.from_bytes(self._take(8), "little")
        if length > (most := min(most, MAX_STRING)):
            raise self._wrong(f"{what!r}: a string of {length} bytes, at most {most} are read")
        return self._take(length)

    def _bounded(self, what: str, claimed: int, most: int, *, least_bytes: int) -> int:
        if claimed > most or claimed * least_bytes > self._left:
            raise self._wrong(f"{what} is {claimed}, more than the {self._left} bytes left can hold or {most} allowed")
        return claimed

    def _unpack(self, layout: str) -> int:
        (value,) = struct.unpack("<" + layout, self._take(struct.calcsize("<" + layout)))
        return value

    def _take(self, count: int) -> bytes:
        if count > self._left:
            raise self._wrong(f"truncated: {count} bytes wanted at byte {self._size - self._left} of {self._size}")
        self._left -= count
        data = self._file.read(count)
        if len(data) < count:
            raise self._wrong("it became shorter while it was read")
        return data

    def _wrong(self, why: str) -> InvalidGGUFError:
        return InvalidGGUFError(self._identity, why)
