"""For the language's tests: an empty store, and a short way from text to a model in it."""

from __future__ import annotations

import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from corral.modelfile.builder import build
from corral.modelfile.parser import parse
from corral.store.local import Store
from corral.store.name import Name
from corral.store.tags import TaggedModel

Create = Callable[..., TaggedModel]


def write_gguf(path: Path, architecture: str, *, kind: str = "model", context: int = 256) -> None:
    """A well-formed GGUF without tensors."""

    def string(text: str) -> bytes:
        return struct.pack("<Q", len(text)) + text.encode()

    texts = {"general.architecture": architecture, "general.type": kind}
    pairs = [string(key) + struct.pack("<I", 8) + string(value) for key, value in texts.items()]
    pairs.append(string(f"{architecture}.context_length") + struct.pack("<II", 4, context))
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, len(pairs)) + b"".join(pairs))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "models")


@pytest.fixture
def folder(tmp_path: Path, tiny_gguf: Path) -> Path:
    """A folder with `tiny.gguf` in it."""
    work = tmp_path / "work"
    work.mkdir()
    shutil.copy(tiny_gguf, work / "tiny.gguf")
    return work


@pytest.fixture
def create(store: Store, folder: Path) -> Create:
    """create(name, text): the model built in the store, paths relative to the folder with `tiny.gguf`."""

    def run(name: str, text: str) -> TaggedModel:
        return build(Name.parse(name), parse(text), store, folder=folder)

    return run
