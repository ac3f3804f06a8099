"""The collector: removes blobs that no manifest names.

What Corral's records say Corral wrote goes at once; anybody else's unreferenced files go only with age, because Ollama may
be in the middle of a download or a creation. With one unreadable manifest nothing is collected: it may name anything.
A blob's two names (spares.py) go each when no model needs it, and its bytes are free with the last.
"""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import time
from collections import Counter
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from . import locks
from .blobs import BlobStore
from .digest import Digest
from .errors import InvalidDigestError, InvalidManifestError, system_errors
from .kept import Kept
from .repositories import LEAST_AGE, Repositories
from .repository import Repository
from .tags import Tags

DEFAULT_AGE = 24 * 3600.0


@dataclass(slots=True)
class Collected:
    """What a collection removed."""

    blobs: list[Digest] = field(default_factory=list[Digest])
    debris: int = 0
    """Abandoned temporary files and partial downloads."""
    originals: int = 0
    """Those kept of models that are gone."""
    untagged: int = 0
    """Manifests that were given to the registry server."""
    bytes: int = 0


def collect(
    blobs: BlobStore,
    tags: Tags,
    kept: Kept,
    repositories: Repositories,
    *,
    only: Iterable[Digest] | None = None,
    older_than: float = DEFAULT_AGE,
    takes_untagged: bool = False,
    is_dry: bool = False,
) -> Collected:
    """Remove unreferenced blobs, and originals, that nobody holds a lease on; the caller holds the store's lock alone.

    `only` restricts it to these digests and leaves debris alone. `older_than` is the age in seconds from which foreign
    files may go. `takes_untagged` removes manifests, too, that clients of the registry server gave and no tag leads to.
    `is_dry` removes nothing. Raises InvalidManifestError when a manifest cannot be read.
    """
    models, broken = tags.models()
    if broken:
        raise InvalidManifestError(
            broken[0].identity,
            "nothing was collected, because it may name any blob",
            hint="delete that model (corral rm) or create it again, then repeat",
        )
    leased = blobs.leases.protected()
    shown = {blob.digest for model in models if model.name.is_ollamas for blob in model.manifest.blobs}
    spared = {blob.digest for model in models if not model.name.is_ollamas for blob in model.manifest.blobs}
    untagged = repositories.untagged() if takes_untagged else set[tuple[Repository, Digest]]()
    spared |= repositories.needed(older_than, untagged)
    oldest = time.time() - older_than
    result = Collected()
    for digest in set(blobs if only is None else only) - (shown & spared) - leased:
        with _looked_at(blobs.own_path(digest)):
            there = {path: path.lstat() for path in blobs.places(digest) if os.path.lexists(path)}
            surplus = _surplus(blobs, digest, there, is_shown=digest in shown, is_spared=digest in spared)
            going = [path for path in surplus if _may_go(blobs, digest, path, there[path], oldest)]
            if going and not is_dry:
                blobs.delete(digest, going)
            result.bytes += _freed([there[path] for path in going])
            if going and len(going) == len(there):
                result.blobs.append(digest)
    result.untagged = len(untagged)
    for repository, digest in () if is_dry else untagged:
        repositories.remove(repository, digest)
    for digest in set(kept) - {model.manifest.digest for model in models} - leased:
        result.bytes += kept.size(digest)
        result.originals += 1
        if not is_dry:
            kept.forget(digest)
    if only is None:
        _collect_debris(blobs, repositories.uploads_folder, oldest, result, is_dry=is_dry)
        if not is_dry:
            repositories.clean(lambda digest: blobs.size(digest) is not None)
    result.blobs.sort()
    return result


def _surplus(
    blobs: BlobStore, digest: Digest, there: Mapping[Path, os.stat_result], *, is_shown: bool, is_spared: bool
) -> list[Path]:
    """Those of a blob's names that no model needs: not one Ollama sees, or not one that it does not."""
    shown, spare = blobs.places(digest)
    if len(there) < 2:
        return [] if is_shown or is_spared else list(there)
    if is_shown:
        return [spare]
    if is_spared:  # the other name takes no space, unless it is a copy's
        return [] if os.path.samestat(there[shown], there[spare]) else [shown]
    return list(there)


def _may_go(blobs: BlobStore, digest: Digest, path: Path, status: os.stat_result, oldest: float) -> bool:
    return path == blobs.spares.path(digest) or blobs.is_ours(digest) or status.st_mtime < oldest


def _freed(statuses: Sequence[os.stat_result]) -> int:
    """How many bytes are free when these names are gone: those of files that have no other."""
    names = Counter((status.st_dev, status.st_ino) for status in statuses)
    sizes = {
        (status.st_dev, status.st_ino): status.st_size
        for status in statuses
        if status.st_nlink <= names[status.st_dev, status.st_ino]
    }
    return sum(sizes.values())


def _collect_debris(blobs: BlobStore, uploads: Path, oldest: float, result: Collected, *, is_dry: bool) -> None:
    # What is in the making is held by who makes it.
    temporary = [(path, math.inf) for path in _files(blobs.ingest_folder) if not locks.is_held(path)]
    partial = [(path, oldest) for path in _files(blobs.folder) if _is_partial(path)]
    # What was not got to its end is gone on with by the next pull.
    partial += [
        (path, oldest) for path in _files(blobs.partial_folder) if not locks.is_held(blobs.busy_file(path.stem))
    ]
    # A client may be between two requests.
    sent = [(path, min(oldest, time.time() - LEAST_AGE)) for path in _files(uploads) if not locks.is_held(path)]
    for path, newest in temporary + partial + sent:
        with _looked_at(path):
            status = path.lstat()
            if status.st_mtime < newest:
                if not is_dry:
                    path.unlink()
                result.bytes += status.st_size
                result.debris += 1
    for folder in _folders(blobs.ingest_folder):  # where a hub's files were fetched to
        if not locks.is_held(folder):
            inside = [path.lstat().st_size for path in folder.rglob("*") if path.is_file()]
            result.bytes += sum(inside)
            result.debris += len(inside)
            if not is_dry:
                shutil.rmtree(folder, ignore_errors=True)
    for marker in () if is_dry else (*_files(blobs.wrote_folder), *_files(blobs.seen_folder)):
        with _looked_at(marker):
            if not any(path.exists() for path in blobs.places(Digest.from_filename(marker.name))):
                marker.unlink()
    for note in () if is_dry else _files(blobs.uploads_folder):
        with _looked_at(note):
            if note.stat().st_mtime < oldest:
                note.unlink()


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


def _folders(folder: Path) -> list[Path]:
    with system_errors(folder, "list"):
        return [path for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []
