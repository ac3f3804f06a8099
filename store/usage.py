"""Usage: where a store's space goes. A blob counts once, whatever names its file has elsewhere."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from .digest import Digest
from .errors import InvalidManifestError, system_errors
from .local import Store
from .tags import TaggedModel


@dataclass(frozen=True, slots=True)
class Space:
    """A number of things and their bytes."""

    count: int
    bytes: int

    def to_json(self) -> dict[str, int]:
        """For programs."""
        return {"count": self.count, "bytes": self.bytes}


@dataclass(frozen=True, slots=True)
class Share:
    """What one model takes; `total` is `shared` and `own` together."""

    model: TaggedModel
    total: int
    shared: int
    """Bytes of blobs that other models name too."""
    own: int
    """Bytes that go when the model does."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a store's files take."""

    models: tuple[Share, ...]
    """The largest first."""
    broken: tuple[InvalidManifestError, ...]
    """Manifests that cannot be read; what they name counts as unreferenced, and is not collected."""
    used: Space
    """Blobs that models name."""
    served: Space
    """Others that clients of the registry server gave: those that their manifests name."""
    unreferenced: Space
    """Blobs that nothing names."""
    debris: Space
    """Files that are being written or were left by broken-off writes and downloads."""
    linked: Space
    """Those of the used blobs that are second names of files of the user's, which stay when the blob goes."""
    originals: Space
    """What is kept of models that were converted (kept.py)."""

    @property
    def total(self) -> int:
        """Bytes of all files."""
        return self.used.bytes + self.served.bytes + self.unreferenced.bytes + self.debris.bytes + self.originals.bytes


def usage(store: Store) -> Usage:
    """Add up the files of the store as they are."""
    models, broken = store.tags.models()
    files = {digest: store.blobs.files(digest).values() for digest in store.blobs}
    sizes = {digest: sum(status.st_size for status in found) for digest, found in files.items() if found}
    named = [{blob.digest for blob in model.manifest.blobs} for model in models]
    users = Counter(digest for digests in named for digest in digests)
    served = store.repositories.named() - users.keys()
    shares = [_share(model, digests, users, sizes) for model, digests in zip(models, named, strict=True)]
    shares.sort(key=lambda share: (-share.total, str(share.model.name)))
    return Usage(
        tuple(shares),
        tuple(broken),
        _space([size for digest, size in sizes.items() if digest in users]),
        _space([size for digest, size in sizes.items() if digest in served]),
        _space([size for digest, size in sizes.items() if digest not in users and digest not in served]),
        _debris(store, sizes),
        _space([size for digest, size in sizes.items() if digest in users and store.blobs.links.has(digest)]),
        _space([store.kept.size(model) for model in store.kept]),
    )


def _share(model: TaggedModel, digests: set[Digest], users: Counter[Digest], sizes: dict[Digest, int]) -> Share:
    total = sum(sizes.get(digest, 0) for digest in digests)
    shared = sum(sizes.get(digest, 0) for digest in digests if users[digest] > 1)
    return Share(model, total, shared, total - shared)


def _debris(store: Store, sizes: dict[Digest, int]) -> Space:
    blobs = {digest.filename for digest in sizes}
    found = [path for path in _files(store.blobs.folder) if path.name not in blobs]
    folders = (store.blobs.ingest_folder, store.blobs.partial_folder, store.repositories.uploads_folder)
    written = [Path(folder, name) for one in folders for folder, _, names in os.walk(one) for name in names]
    lengths = [_size(path) for path in found + written]
    return _space([length for length in lengths if length is not None])


def _space(sizes: list[int]) -> Space:
    return Space(len(sizes), sum(sizes))


def _size(path: Path) -> int | None:
    """A file's size; None when it has gone since it was listed."""
    with system_errors(path, "read"):
        try:
            return path.stat().st_size
        except FileNotFoundError:
            return None


def _files(folder: Path) -> list[Path]:
    with system_errors(folder, "list"):
        return sorted(path for path in folder.iterdir() if path.is_file()) if folder.is_dir() else []
