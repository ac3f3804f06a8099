"""Names that Ollama does not have, and what a store holds of their models and of others."""

from __future__ import annotations

from pathlib import Path

from corral.store.local import Store
from corral.store.manifest import Manifest
from corral.store.name import Name

NESTED = Name.parse("localhost:5000/a/b/c/m:v1")
BARE = Name.parse("localhost:5000/m:v1")
PLAIN = Name.parse("plain")


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


def spares(store: Store) -> set[str]:
    return files(store.root / ".corral/oci/blobs")


def shown(store: Store) -> set[str]:
    return files(store.root / "blobs")


def filenames(*models: Manifest) -> set[str]:
    return {blob.digest.filename for model in models for blob in model.blobs}
