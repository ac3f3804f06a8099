"""The collector: removes blobs that no manifest names.

What Corral's records say Corral wrote goes at once; anybody else's unreferenced files go only with age, because Ollama may
be in the middle of a download or a creation. With one unreadable manifest nothing is collected: it may name anything.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Generator, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from . import locks
from .blobs import BlobStore
from .digest import Digest
from .errors import InvalidDigestError, InvalidManifestError, system_errors
from .tags import Tags

DEFAULT_AGE = 24 * 3600.0


@dataclass(slots=True)
class Collected:
    """What a collection removed."""

    blobs: list[Digest] = field(default_factory=list[Digest])
    debris: int = 0
    """Abandoned temporary files and partial downloads."""
    bytes: int = 0


def collect(
    blobs: BlobStore,
    tags: Tags,
    *,
    only: Iterable[Digest] | None = None,
    older_than: float = DEFAULT_AGE,
    is_dry: bool = False,
) -> Collected:
    """Remove unreferenced blobs that nobody holds a lease on; the caller holds the store's lock alone.

    `only` restricts it to these digests and leaves debris alone. `older_than` is the age in seconds from which foreign
    files may go. `is_dry` removes nothing. Raises InvalidManifestError when a manifest cannot be read.
    """
    models, broken = tags.models()
    if broken:
        raise InvalidManifestError(
            broken[0].identity,
            "nothing was collected, because it may name any blob",
            hint="delete that model (corral rm) or create it again, then repeat",
        )
    used = {blob.digest for model in models for blob in model.manifest.blobs} | blobs.leases.protected()
    oldest = time.time() - older_than
    result = Collected()
    for digest in set(blobs if only is None else only) - used:
        path = blobs.own_path(digest)
        with _looked_at(path):
            status = path.lstat()
            if blobs.is_ours(digest) or status.st_mtime < oldest:
                if not is_dry:
                    blobs.delete(digest)
                result.bytes += status.st_size
                result.blobs.append(digest)
    if only is None:
        _collect_debris(blobs, oldest, result, is_dry=is_dry)
    result.blobs.sort()
    return result


def _collect_debris(blobs: BlobStore, oldest: float, result: Collected, *, is_dry: bool) -> None:
    # What is in the making is held by who makes it.
    temporary = [(path, math.inf) for path in _files(blobs.ingest_folder) if not locks.is_held(path)]
    partial = [(path, oldest) for path in _files(blobs.folder) if _is_partial(path)]
    for path, newest in temporary + partial:
        with _looked_at(path):
            status = path.lstat()
            if status.st_mtime < newest:
                if not is_dry:
                    path.unlink()
                result.bytes += status.st_size
                result.debris += 1
    for marker in () if is_dry else _files(blobs.wrote_folder):
        with _looked_at(marker):
            if not blobs.folder.joinpath(marker.name).exists():
                marker.unlink()


def _is_partial(path: Path) -> bool:
    try:
        Digest.from_filename(path.name)
    except InvalidDigestError:
        return path.name.startswith("sha256-")
    return False


@contextlib.contextmanager
def _looked_at(path: Path) -> Generator[None]:
    """A file that may vanish meanwhile, because Ollama prunes the same folder."""
    with system_errors(path, "delete"), contextlib.suppress(FileNotFoundError):
        yield


def _files(folder: Path) -> list[Path]:
    with system_errors(folder, "list"):
        return [path for path in folder.iterdir() if path.is_file()] if folder.is_dir() else []
