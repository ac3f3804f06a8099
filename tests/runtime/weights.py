"""GGUF files of a few hundred bytes with any metadata, and models made of them."""

from __future__ import annotations

import struct

from corral.runtime.served import ServedModel, served

from corral import Name, Store
from tests.conftest import Cli

STRING, ARRAY, FLOAT, UINT = 8, 9, 6, 4


def string(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def pair(key: str, kind: int, value: bytes) -> bytes:
    """One pair of the metadata."""
    return string(key) + struct.pack("<I", kind) + value


def text_pair(key: str, text: str) -> bytes:
    """A pair whose value is a text."""
    return pair(key, STRING, string(text))


def chat_template(text: str) -> bytes:
    """The pair of a chat template."""
    return text_pair("tokenizer.chat_template", text)


def gguf(*pairs: bytes, architecture: str = "llama", context: int = 256) -> bytes:
    """A model of one tensor with more metadata."""
    first = [
        text_pair("general.architecture", architecture),
        pair(f"{architecture}.rope.scaling.original_context_length", UINT, struct.pack("<I", 99)),
        pair(f"{architecture}.context_length", UINT, struct.pack("<I", context)),
    ]
    tensor = string("token_embd.weight") + struct.pack("<IQIQ", 1, 8, 0, 0)
    every = [*first, *pairs]
    header = b"GGUF" + struct.pack("<IQQ", 3, 1, len(every)) + b"".join(every) + tensor
    return header + bytes(-len(header) % 32) + bytes(32)


def projector() -> bytes:
    """What turns images into embeddings."""
    return gguf(text_pair("general.type", "mmproj"), architecture="clip")


def create(
    cli: Cli,
    name: str,
    *pairs: bytes,
    modelfile: str = "",
    architecture: str = "llama",
    context: int = 256,
    with_projector: bool = False,
) -> ServedModel:
    """A stored model."""
    (cli.folder / f"{name}.gguf").write_bytes(gguf(*pairs, architecture=architecture, context=context))
    lines = f"FROM ./{name}.gguf\n{modelfile}\n"
    if with_projector:
        (cli.folder / f"{name}.mmproj").write_bytes(projector())
        lines += f"FROM ./{name}.mmproj\n"
    cli.ok("create", name, "-f", "-", stdin=lines)
    return served(Store(cli.models), Name.parse(name))
