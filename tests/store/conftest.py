"""For the store's tests: an empty store, and a small model in it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from corral.store.config import Config
from corral.store.local import Store
from corral.store.manifest import CONFIG_TYPE, MODEL, SYSTEM, Manifest


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
