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
from itertools import pairwise
from operator import attrgetter
from pathlib import Path
from typing import BinaryIO, NamedTuple

from .aborts import why_it_would_abort
from .errors import shown
from .files import open_regular
from .ggml import TENSOR_TYPES
from .header import GGUF, Array, Scalar, Tensor, Value
from .scanner import Scanner

__all__ = ["GGUF", "Array", "Scalar", "Tensor", "Value", "is_gguf", "parse", "read"]

MAX_ARRAY = 64 << 20
MAX_PAIRS = 1 << 11
MAX_TENSORS = 1 << 15
MAX_ALIGNMENT = 1 << 16
SPLIT_NUMBER, SPLIT_COUNT = "split.no", "split.count"

_KEPT_ITEMS = 64
"""Longer arrays (vocabularies) are skipped; only their first items are kept."""
_MAX_UINT16 = (1 << 16) - 1
_ARCHITECTURE = re.compile(r"[A-Za-z0-9_.-]{1,64}")

_UINT32, _UINT64 = struct.Struct("<I"), struct.Struct("<Q")
_SCALARS = {
    number: struct.Struct(f"<{code}") for number, code in zip((*range(8), 10, 11, 12), "BbHhIif?Qqd", strict=True)
}
_STRING, _ARRAY = 8, 9
_COUNTS = struct.Struct("<QQ")
_ARRAY_HEAD = struct.Struct("<IQ")
_PLACE = struct.Struct("<IQ")
_SHAPES = [struct.Struct(f"<{dimensions}Q") for dimensions in range(5)]


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
    if time.time_ns() - max(status.st_mtime_ns, status.st_ctime_ns) > _GRAIN and _is_ordinary(header):
        _known[stamp] = header
        if len(_known) > _MOST_KNOWN:
            _known.pop(next(iter(_known)), None)
    return header


def parse(file: BinaryIO, size: int, identity: str) -> GGUF:
    """Read and check the header that begins a GGUF of `size` bytes. Raises InvalidGGUFError."""
    return _Reader(Scanner(file, size, identity)).header()


_GRAIN = 2_000_000_000  # nanoseconds
_MOST_KNOWN = 256
_known: dict[tuple[int, ...], GGUF] = {}
"""Headers read in this process, by the file's stamp, those used last at the end."""


def _is_ordinary(header: GGUF) -> bool:
    """Whether it is small enough to be kept; hundreds of the largest allowed would fill the memory."""
    text = sum(len(value) for value in header.metadata.values() if isinstance(value, str))
    return text < 1 << 20 and len(header.tensors) < 1 << 13


def is_gguf(path: Path) -> bool:
    """Whether the file starts as a GGUF does."""
    with open_regular(path) as file:
        return file.read(4) == b"GGUF"


class _Description(NamedTuple):
    """A tensor as the file describes it."""

    name: str
    shape: tuple[int, ...]
    type_number: int
    offset: int


class _Reader:
    def __init__(self, scanner: Scanner) -> None:
        self._scanner = scanner
        self._wrong = scanner.wrong

    def header(self) -> GGUF:
        version, tensor_count, pair_count = self._beginning()
        metadata: dict[str, Value] = {}
        pairs: dict[str, tuple[int, int]] = {}
        for _ in range(pair_count):
            start = self._scanner.position
            key = self._scanner.string("metadata key")
            if not key or key in metadata:
                self._wrong(f"metadata key {key!r:.80} occurs twice" if key else "a metadata key is empty")
            metadata[key] = self._value(key)
            pairs[key] = (start, self._scanner.position)
        alignment = metadata.get("general.alignment", 32)
        if type(alignment) is not int or alignment.bit_count() != 1 or not 0 < alignment <= MAX_ALIGNMENT:
            self._wrong(f"general.alignment is {alignment!r:.80}, expected a power of two, at most {MAX_ALIGNMENT}")
        descriptions = [self._description() for _ in range(tensor_count)]
        data_start = -(-self._scanner.position // alignment) * alignment
        tensors = tuple(self._located(description, alignment, data_start) for description in descriptions)
        self._check_tensors(tensors)
        header = GGUF(version, metadata, tensors, alignment, data_start, pairs)
        self._check(header)
        return header

    def _beginning(self) -> tuple[int, int, int]:
        scanner = self._scanner
        if scanner.size < 4 or scanner.take(4) != b"GGUF":
            self._wrong("it does not begin with the bytes GGUF")
        (version,) = scanner.unpack(_UINT32)
        if version not in (2, 3):
            big = int.from_bytes(version.to_bytes(4, "little"), "big") in (2, 3)
            self._wrong("big-endian files are not supported" if big else f"version {version} is not 2 or 3")
        tensor_count, pair_count = scanner.unpack(_COUNTS)
        scanner.bounded("tensor count", tensor_count, MAX_TENSORS, least_bytes=24)
        scanner.bounded("metadata count", pair_count, MAX_PAIRS, least_bytes=13)
        return version, tensor_count, pair_count

    def _value(self, key: str) -> Value:
        (type_number,) = self._scanner.unpack(_UINT32)
        if type_number == _STRING:
            return self._scanner.string(key)
        if type_number == _ARRAY:
            return self._array(key)
        if type_number not in _SCALARS:
            self._wrong(f"metadata {key!r:.80} has unknown type {type_number}")
        (value,) = self._scanner.unpack(_SCALARS[type_number])
        return value

    def _array(self, key: str) -> Array:
        item_type, claimed = self._scanner.unpack(_ARRAY_HEAD)
        if item_type == _STRING:
            return Array(claimed, self._scanner.strings(key, claimed, _KEPT_ITEMS))
        if item_type not in _SCALARS:
            self._wrong(f"array {key!r:.80} has unknown item type {item_type}")
        layout = _SCALARS[item_type]
        count = self._scanner.bounded(f"length of {key!r:.80}", claimed, MAX_ARRAY, least_bytes=layout.size)
        kept = min(count, _KEPT_ITEMS)
        items = tuple(item for (item,) in layout.iter_unpack(self._scanner.take(kept * layout.size)))
        self._scanner.skip((count - kept) * layout.size)
        return Array(count, items)

    def _description(self) -> _Description:
        name = self._scanner.string("tensor name")
        (dimensions,) = self._scanner.unpack(_UINT32)
        if not 1 <= dimensions <= 4:
            self._wrong(f"tensor {name!r:.80} has {dimensions} dimensions, expected 1 to 4")
        shape = self._scanner.unpack(_SHAPES[dimensions])
        return _Description(name, shape, *self._scanner.unpack(_PLACE))

    def _located(self, description: _Description, alignment: int, data_start: int) -> Tensor:
        name, shape, number, offset = description
        kind = TENSOR_TYPES.get(number)
        if kind is None:
            self._wrong(f"tensor {name!r:.80} has unknown type {number}")
        if 0 in shape or shape[0] % kind.block:
            self._wrong(f"tensor {name!r:.80} of type {kind.name} cannot have shape {list(shape)}")
        size = math.prod(shape) // kind.block * kind.block_bytes
        if offset % alignment:
            self._wrong(f"tensor {name!r:.80} starts at {offset}, not a multiple of {alignment}")
        if (end := data_start + offset + size) > self._scanner.size:
            self._wrong(f"truncated: tensor {name!r:.80} ends at byte {end}, the file has {self._scanner.size}")
        return Tensor(name, shape, kind.name, offset, size)

    def _check_tensors(self, tensors: tuple[Tensor, ...]) -> None:
        """Refuse what no file needs: merging a split one would write the same bytes again and again."""
        names: set[str] = set()
        for tensor in tensors:
            if tensor.name in names:
                self._wrong(f"tensor {tensor.name!r:.80} occurs twice")
            names.add(tensor.name)
        for first, second in pairwise(sorted(tensors, key=attrgetter("offset"))):
            if first.offset + first.size > second.offset:
                self._wrong(f"tensors {first.name!r:.80} and {second.name!r:.80} overlap")

    def _check(self, header: GGUF) -> None:
        for key in (SPLIT_NUMBER, SPLIT_COUNT):
            value = header.metadata.get(key, 0)
            if type(value) is not int or not 0 <= value <= _MAX_UINT16:
                self._wrong(f"{key} is {value!r:.80}, expected 0 to {_MAX_UINT16}")
        architecture = header.metadata.get("general.architecture")
        if architecture is None and header.metadata.get(SPLIT_NUMBER):
            return  # The parts of a split file after the first have no other metadata.
        if architecture is None:
            self._wrong("general.architecture is missing")
        if not isinstance(architecture, str) or not _ARCHITECTURE.fullmatch(architecture):
            what = shown(str(architecture))
            self._wrong(f"general.architecture is {what}, expected 1 to 64 letters, digits and _ . -")
        if header.kind == "model" and (why := why_it_would_abort(header)):
            self._wrong(why)
