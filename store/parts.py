"""Split GGUF files: their parts, and the one file they make together.

The result is the one that llama-gguf-split --merge writes: the first part's metadata with split.count set to 0 at its end,
all tensors in order, each padded to the alignment.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from . import gguf
from .errors import InvalidGGUFError
from .files import open_regular
from .ggml import TENSOR_NUMBERS
from .gguf import MAX_TENSORS, SPLIT_COUNT, SPLIT_NUMBER
from .header import GGUF, Tensor

if TYPE_CHECKING:
    from .blobs import BlobStore
    from .ingest import Written

_TENSORS = "split.tensors.count"
_CHUNK = 1 << 20
_UINT16 = 2


def count(header: GGUF) -> int:
    """How many parts the file is one of; 0 and 1 mean that it is whole."""
    value = header.metadata.get(SPLIT_COUNT, 0)
    return value if isinstance(value, int) else 0


def siblings(path: Path, header: GGUF) -> tuple[Path, ...]:
    """All parts, in order, by the names that llama.cpp gives them. Raises InvalidGGUFError for any other name."""
    total = count(header)
    found = re.fullmatch(rf"(?P<prefix>.*)-\d{{5}}-of-{total:05}\.gguf", path.name, re.DOTALL)
    parts = (
        [path.with_name(f"{found['prefix']}-{n:05}-of-{total:05}.gguf") for n in range(1, total + 1)] if found else []
    )
    if path not in parts:
        raise InvalidGGUFError(str(path), f"one of {total} parts is not called NAME-00001-of-{total:05}.gguf")
    return tuple(parts)


def joined(paths: Sequence[Path]) -> GGUF:
    """The header of the whole that the parts make. Raises InvalidGGUFError when they do not belong together."""
    headers = _headers(paths)
    head = _head(paths[0], headers)
    size = len(head) + sum(_padded(tensor.size, headers[0].alignment) for part in headers for tensor in part.tensors)
    return gguf.parse(BytesIO(head), size, str(paths[0]))


def content(paths: Sequence[Path]) -> Iterator[bytes]:
    """The bytes of the whole in pieces: its header, then at most 1 MiB at a time."""
    headers = _headers(paths)
    yield _head(paths[0], headers)
    for path, part in zip(paths, headers, strict=True):
        with open_regular(path) as file:
            for tensor in part.tensors:
                file.seek(part.data_start + tensor.offset)
                left = tensor.size
                while left:
                    chunk = file.read(min(left, _CHUNK))
                    if not chunk:
                        raise InvalidGGUFError(str(path), "it became shorter while it was read")
                    left -= len(chunk)
                    yield chunk
                yield bytes(_padded(tensor.size, headers[0].alignment) - tensor.size)


def merge(
    blobs: BlobStore, paths: Sequence[Path], media_type: str, on_bytes: Callable[[int], None] | None = None
) -> Written:
    """Put the whole that the parts make into the store; `on_bytes` hears how many bytes are done. Raises InvalidGGUFError."""
    with blobs.ingest(sum(path.stat().st_size for path in paths)) as ingest:
        for chunk in content(paths):
            ingest.write(chunk)
            if on_bytes:
                on_bytes(ingest.size)
        return ingest.commit(media_type)


def _headers(paths: Sequence[Path]) -> list[GGUF]:
    """The parts' headers, in order, once they are seen to be all of one file; of those after the first, the tensors."""
    headers: list[GGUF] = []
    names: set[str] = set()
    for number, path in enumerate(paths):
        header = gguf.read(path)
        first = headers[0] if headers else header
        _check_part(path, header, number, len(paths), first)
        for tensor in header.tensors:
            if tensor.name in names:
                raise InvalidGGUFError(str(path), f"tensor {tensor.name!r:.80} is in several parts")
            names.add(tensor.name)
        if len(names) > MAX_TENSORS:
            raise InvalidGGUFError(str(path), f"with it the parts have more than {MAX_TENSORS} tensors")
        headers.append(replace(header, metadata={}, pairs={}) if number else header)
    if (promised := headers[0].metadata.get(_TENSORS, len(names))) != len(names):
        raise InvalidGGUFError(str(paths[0]), f"{_TENSORS} is {promised!r:.80}, the parts have {len(names)} tensors")
    return headers


def _check_part(path: Path, header: GGUF, number: int, total: int, first: GGUF) -> None:
    """Raise InvalidGGUFError unless the file is this part of what `first` is the first part of."""
    if (count(header), header.metadata.get(SPLIT_NUMBER)) != (total, number):
        said = f"split.no {header.metadata.get(SPLIT_NUMBER)} of {count(header)}"
        raise InvalidGGUFError(str(path), f"it says it is {said}, expected {number} of {total}")
    # The merger takes these from the first part alone; a part of something else would be cut to fit.
    for key in ("general.architecture", _TENSORS):
        said, expected = header.metadata.get(key), first.metadata.get(key)
        if said is not None and said != expected:
            raise InvalidGGUFError(str(path), f"{key} is {said!r:.80}, in the first part {expected!r:.80}")


def _head(path: Path, headers: Sequence[GGUF]) -> bytes:
    """The header of the whole, padded to where its tensors begin; the metadata comes from the first part, at `path`."""
    first = headers[0]
    size = max(end for _, end in first.pairs.values())
    with open_regular(path) as file:
        block = memoryview(file.read(size))
    if len(block) < size:
        raise InvalidGGUFError(str(path), "it became shorter while it was read")
    kept = [block[start:end] for key, (start, end) in first.pairs.items() if key != SPLIT_COUNT]
    descriptions: list[bytes] = []
    offset = 0
    for tensor in (tensor for header in headers for tensor in header.tensors):
        descriptions.append(_description(tensor, offset))
        offset += _padded(tensor.size, first.alignment)
    counts = struct.pack("<IQQ", first.version, len(descriptions), len(kept) + 1)
    split_count = _string(SPLIT_COUNT) + struct.pack("<IH", _UINT16, 0)
    pieces = [b"GGUF", counts, *kept, split_count, *descriptions]
    size = sum(map(len, pieces))
    return b"".join([*pieces, bytes(_padded(size, first.alignment) - size)])


def _description(tensor: Tensor, offset: int) -> bytes:
    shape = struct.pack(f"<I{len(tensor.shape)}Q", len(tensor.shape), *tensor.shape)
    return _string(tensor.name) + shape + struct.pack("<IQ", TENSOR_NUMBERS[tensor.type], offset)


def _string(text: str) -> bytes:
    return struct.pack("<Q", len(text.encode())) + text.encode()


def _padded(size: int, alignment: int) -> int:
    return -(-size // alignment) * alignment
