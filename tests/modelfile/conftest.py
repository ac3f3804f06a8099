"""For the language's tests: an empty store, and a short way from text to a model in it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from corral.modelfile.builder import build
from corral.modelfile.parser import parse
from corral.store.local import Store
from corral.store.name import Name
from corral.store.tags import TaggedModel

Create = Callable[..., TaggedModel]


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
