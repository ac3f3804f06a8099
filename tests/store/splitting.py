"""What llama-gguf-split does, written down a second time: a GGUF cut into parts, and parts merged into one file."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

UINT16, INT32, STRING = 2, 5, 8


class Weights(NamedTuple):
    """A tensor and its bytes."""

    name: str
    shape: tuple[int, ...]
    kind: int
    data: bytes


class Content(NamedTuple):
    """A file's metadata, each pair as its bytes, and its tensors."""

    pairs: list[bytes]
    tensors: list[Weights]
    alignment: int = 32


def string(text: str) -> bytes:
    return struct.pack("<Q", len(text.encode())) + text.encode()


def number(key: str, kind: int, value: int) -> bytes:
    return string(key) + struct.pack({UINT16: "<IH", INT32: "<Ii"}.get(kind, "<II"), kind, value)


def text(key: str, value: str) -> bytes:
    return string(key) + struct.pack("<I", STRING) + string(value)


def encoded(content: Content) -> bytes:
    """The file."""
    head = b"GGUF" + struct.pack("<IQQ", 3, len(content.tensors), len(content.pairs)) + b"".join(content.pairs)
    data: list[bytes] = []
    offset = 0
    for tensor in content.tensors:
        head += string(tensor.name) + struct.pack(f"<I{len(tensor.shape)}Q", len(tensor.shape), *tensor.shape)
        head += struct.pack("<IQ", tensor.kind, offset)
        data.append(tensor.data + bytes(-len(tensor.data) % content.alignment))
        offset += len(data[-1])
    return head + bytes(-len(head) % content.alignment) + b"".join(data)


def decoded(path: Path) -> Content:
    """A file's content, read with the `gguf` package."""
    from gguf import GGUFReader

    reader = GGUFReader(path)
    pairs = [
        b"".join(part.tobytes() for part in field.parts)
        for field in reader.fields.values()
        if not field.name.startswith("GGUF.")
    ]
    tensors = [
        Weights(t.name, tuple(int(n) for n in t.shape), t.tensor_type.value, t.data.tobytes()) for t in reader.tensors
    ]
    return Content(pairs, tensors, reader.alignment)


def split_pairs(part: int, parts: int, tensors: int) -> list[bytes]:
    return [
        number("split.no", UINT16, part),
        number("split.tensors.count", INT32, tensors),
        number("split.count", UINT16, parts),
    ]


def part_name(part: int, parts: int) -> str:
    return f"model-{part + 1:05}-of-{parts:05}.gguf"


def split(content: Content, folder: Path, ends: Sequence[int]) -> list[Path]:
    """Write the parts, each up to the tensor of that number; only the first has the metadata and its alignment."""
    paths: list[Path] = []
    for part, (start, end) in enumerate(zip([0, *ends], [*ends, len(content.tensors)], strict=True)):
        own = split_pairs(part, len(ends) + 1, len(content.tensors))
        pairs, alignment = (own, 32) if part else (content.pairs + own, content.alignment)
        paths.append(folder / part_name(part, len(ends) + 1))
        paths[-1].write_bytes(encoded(Content(pairs, content.tensors[start:end], alignment)))
    return paths


def merged(content: Content) -> bytes:
    """What the parts give together: setting split.count to 0 moves it to the end, where it was written last too."""
    return encoded(content._replace(pairs=content.pairs + split_pairs(0, 0, len(content.tensors))))
