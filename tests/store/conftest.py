"""For the store's tests: an empty store, and a small model in it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from corral.store.config import Config
from corral.store.local import Store
from corral.store.manifest import CONFIG_TYPE, MODEL, SYSTEM, Manifest
from corral.store.name import Name

from tests.store.archives import packed


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "models")


def _stored(store: Store, text: str) -> Manifest:
    layers = [store.blobs.put(b"weights", MODEL).blob, store.blobs.put(text.encode(), SYSTEM).blob]
    config = store.blobs.put(Config(model_format="gguf").encode(), CONFIG_TYPE).blob
    return Manifest.build(config, layers)


@pytest.fixture
def stored() -> Callable[[Store, str], Manifest]:
    """Puts the blobs of a model with this system text into a store and gives its manifest, not yet tagged."""
    return _stored


@pytest.fixture
def source(tmp_path: Path, stored: Callable[[Store, str], Manifest]) -> Store:
    """Another store, with the model `small`."""
    store = Store(tmp_path / "source")
    store.tag(Name.parse("small"), stored(store, "Be kind."))
    return store


@pytest.fixture
def archive(source: Store) -> bytes:
    """The model `small` as a tar file."""
    return packed(source)
