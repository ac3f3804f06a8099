"""What holds of a store whatever was done to those who wrote it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from corral.store.digest import Digest
from corral.store.local import Store
from corral.store.manifest import Manifest


def whole_models(store: Store, allowed: Mapping[str, Sequence[Manifest | None]]) -> dict[str, Manifest]:
    """The models by name: each is one of those its name may have, and whole to the last bit."""
    models, broken = store.tags.models()
    assert broken == []
    found = {model.name.model: model.manifest for model in models}
    for name, manifests in allowed.items():
        assert found.get(name) in manifests, name
    assert found.keys() <= allowed.keys()
    for model in found.values():
        store.check_complete(model)
        for blob in model.blobs:
            assert Digest.of(store.blobs.path(blob.digest).read_bytes()) == blob.digest
    return found
