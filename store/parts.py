"""Split GGUF files: their parts, and the one file they make together.

The result is the one that llama-gguf-split --merge writes: the first part's metadata with split.count set to 0 at its end,
all tensors in order, each padded to the alignment.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

from . import gguf
from .errors import InvalidGGUFError
from .files import open_regular
from .gguf import GGUF, Tensor

COUNT = "split.count"
_NUMBER = "split.no"
_NAME = re.compile(r"(?P<prefix>.*)-\d{5}-of-\d{5}\.gguf", re.DOTALL)
_CHUNK = 1 << 20
_UINT16 = 2


def count(header: GGUF) -> int:
    """How many parts the file is one of; 0 and 1 mean that it is whole."""
    value = header.metadata.get(COUNT, 0)
    return value if isinstance(value, int) else 0


def siblings(path: Path, header: GGUF) -> tuple[Path, ...]:
    """All parts, in order, by the names that llama.cpp gives them. Raises InvalidGGUFError for any other name."""
    total = count(header)
    found = _NAME.fullmatch(path.name)
    if not found or not 1 < total < 100_000:
        raise InvalidGGUFError(str(path), f"one of {total} parts is not called NAME-00001-of-{total:05}.gguf")
    return tuple(path.with_name(f"{found['prefix']}-{number:05}-of-{total:05}.gguf") for number in range(1, total + 1))


def joined(paths: Sequence[Path]) -> GGUF:
    """The header of the whole that the parts make. Raises InvalidGGUFError when they do not belong together."""
    headers = [gguf.read(path) for path in paths]
    tensors: list[Tensor] = []
    offset = 0
    for number, (path, header) in enumerate(zip(paths, headers, strict=True)):
        if (count(header), header.metadata.get(_NUMBER)) != (len(paths), number):
            said = f"part {header.metadata.get(_NUMBER)} of {count(header)}"
            raise InvalidGGUFError(str(path), f"it says it is {said}, expected part {number} of {len(paths)}")
        for tensor in header.tensors:
            tensors.append(Tensor(tensor.name, tensor.shape, tensor.type, offset, tensor.size))
            offset += _padded(tensor.size, headers[0].alignment)
    if len({tensor.name for tensor in tensors}) < len(tensors):
        raise InvalidGGUFError(str(paths[0]), "a tensor is in several parts")
    first = headers[0]
    metadata = {key: value for key, value in first.metadata.items() if key != COUNT} | {COUNT: 0}
    return GGUF(first.version, metadata, tuple(tensors), first.alignment, first.data_start, first.pairs)


def content(paths: Sequence[Path]) -> Iterator[bytes]:
    """The bytes of the whole, in pieces of at most 1 MiB."""
    whole = joined(paths)
    with open_regular(paths[0]) as file:
        start, end = whole.pairs
        file.seek(start)
        pairs = file.read(end - start)
    key = struct.pack("<Q", len(COUNT)) + COUNT.encode()
    before, found, after = pairs.partition(key)
    size = gguf.scalar_size(int.from_bytes(after[:4], "little"))
    if not found or not size:
        raise InvalidGGUFError(str(paths[0]), f"{COUNT} is not a number")
    pairs = before + after[4 + size :] + key + struct.pack("<IH", _UINT16, 0)
    header = b"GGUF" + struct.pack("<IQQ", whole.version, len(whole.tensors), len(whole.metadata)) + pairs
    header += b"".join(_description(tensor) for tensor in whole.tensors)
    yield header + bytes(_padded(len(header), whole.alignment) - len(header))
    for path in paths:
        part = gguf.read(path)
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
                yield bytes(_padded(tensor.size, whole.alignment) - tensor.size)


def _description(tensor: Tensor) -> bytes:
    name = tensor.name.encode()
    shape = struct.pack(f"<I{len(tensor.shape)}Q", len(tensor.shape), *tensor.shape)
    return (
        struct.pack("<Q", len(name)) + name + shape + struct.pack("<IQ", gguf.type_number(tensor.type), tensor.offset)
    )


def _padded(size: int, alignment: int) -> int:
    return -(-size // alignment) * alignment
