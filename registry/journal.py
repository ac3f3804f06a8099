"""Journal: what outlives a push: where broken-off uploads can be gone on with, and in which repositories blobs were seen.

These are hints: with one lost, or wrong, a push takes longer and is no less right. They are small files in the store's own
folder, named by digests; what they hold is looked at like any reply of a registry's before it is used.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import time
from pathlib import Path
from typing import TypeVar

import msgspec

from ..store.digest import Digest
from ..store.files import make_folders
from ..store.local import Store

_MAX_BYTES = 64 << 10
_KEPT = 7 * 24 * 3600.0
"""In seconds; no registry keeps an upload for longer."""
_MOST_SEEN = 8


_T = TypeVar("_T", bound=msgspec.Struct)


class _Begun(msgspec.Struct):
    """An upload."""

    location: str = ""


class _Seen(msgspec.Struct):
    """Where a blob was: hosts and repositories."""

    places: list[tuple[str, str]] = []


class Journal:
    """The hints of one store, about one repository of one registry. A store that cannot be written to keeps none."""

    def __init__(self, store: Store, host: str, repository: str) -> None:
        self._blobs = store.blobs
        self._ingest = store.blobs.ingest_folder
        self._host = host.lower()
        self._repository = repository

    def upload(self, digest: Digest) -> str | None:
        """Where the upload of a blob was going on."""
        path = self._upload_path(digest)
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime < _KEPT:
                return _read(path, _Begun).location or None
        return None

    def begin(self, digest: Digest, location: str) -> None:
        """Take note of where an upload goes on; of the newest place only, since registries take no other."""
        self._write(self._upload_path(digest), _Begun(location))

    def end(self, digest: Digest) -> None:
        """Forget an upload."""
        with contextlib.suppress(OSError):
            self._upload_path(digest).unlink(missing_ok=True)

    def saw(self, digest: Digest) -> None:
        """Take note that the repository has the blob."""
        here = (self._host, self._repository)
        others = [place for place in self._places(digest) if place != here]
        self._write(self._seen_path(digest), _Seen([here, *others][:_MOST_SEEN]))

    def elsewhere(self, digest: Digest) -> str | None:
        """Another repository of the same registry that had the blob."""
        return next(
            (name for host, name in self._places(digest) if host == self._host and name != self._repository), None
        )

    def lost(self, digest: Digest, repository: str) -> None:
        """Take note that a repository does not have the blob, or does not give it."""
        places = [place for place in self._places(digest) if place != (self._host, repository)]
        self._write(self._seen_path(digest), _Seen(places))

    def _places(self, digest: Digest) -> list[tuple[str, str]]:
        return _read(self._seen_path(digest), _Seen).places

    def _upload_path(self, digest: Digest) -> Path:
        what = f"{self._host}/{self._repository}@{digest}"
        return self._blobs.uploads_folder / hashlib.sha256(what.encode()).hexdigest()

    def _seen_path(self, digest: Digest) -> Path:
        return self._blobs.seen_folder / digest.filename

    def _write(self, path: Path, note: _Begun | _Seen) -> None:
        temporary = self._ingest / secrets.token_hex(12)
        with contextlib.suppress(OSError):
            make_folders(self._ingest)
            make_folders(path.parent)
            # Its owner's alone: who knows where an upload goes on can write to it.
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(msgspec.json.encode(note))
            temporary.rename(path)
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _read(path: Path, kind: type[_T]) -> _T:
    """What is noted there; nothing where there is no such file, or it makes no sense."""
    with contextlib.suppress(OSError, msgspec.DecodeError, RecursionError), path.open("rb") as file:
        return msgspec.json.decode(file.read(_MAX_BYTES), type=kind)
    return kind()
