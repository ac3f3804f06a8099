"""Models made of small GGUF files."""

from __future__ import annotations

import struct

from corral.runtime.served import ServedModel, served

from corral import Name, Store
from tests.conftest import Cli
from tests.weights import UINT, gguf, pair, projector


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


def create_embedder(cli: Cli, name: str) -> ServedModel:
    """A stored model that embeds texts of at most 64 tokens."""
    return create(cli, name, pair("bert.pooling_type", UINT, struct.pack("<I", 1)), architecture="bert", context=64)
