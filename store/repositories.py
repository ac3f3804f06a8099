"""Repositories: what clients of the registry server gave it, beside the models of the store, in `.corral/oci/`.

In `repositories/<repository>/` are `manifests/`, each a line of JSON that says what it names and the manifest's own bytes,
`tags/`, and in `blobs/` an empty file for each blob that was sent to or mounted in the repository. The bytes of the blobs
are the store's, by their sha256; `sha512/` says which that is for one that was sent by its sha512. All is written whole or
not at all.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Callable, Container, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, TypeVar

import msgspec

from .digest import Digest
from .errors import InvalidDigestError, InvalidManifestError, InvalidNameError, system_errors
from .files import make_folders, write_whole
from .manifest import MAX_MANIFEST_BYTES
from .repository import Repository, is_tag
from .repository_files import content, lasting, listed, removed

LEAST_AGE = 3600.0
"""Seconds that a blob stays which is being sent, or was and is named by no manifest yet, however young a collection's limit
is."""
_MAX_LINE = 2 << 20
_RENEWED_AFTER = 600.0

_T = TypeVar("_T")


class Entry(msgspec.Struct, frozen=True):
    """What is known of a manifest without a look into it."""

    digest: str
    media_type: str
    blobs: tuple[str, ...] = ()
    """The digests of the blobs that it names and needs."""
    manifests: tuple[str, ...] = ()
    """Of the manifests that it names."""
    subject: str = ""
    """Of the manifest that it is about."""


class Tagged(msgspec.Struct, frozen=True):
    """What a tag points at."""

    digest: str
    model: str = ""
    """The digest of the model's own manifest that was made of it; "" where it is no model, and the store has no such name."""


class Repositories:
    """The repositories of one store root. Who changes them keeps the collector away."""

    def __init__(self, root: Path) -> None:
        self._oci = root / ".corral" / "oci"
        self.folder = self._oci / "repositories"
        self.uploads_folder = self._oci / "uploads"
        """Blobs that clients are sending."""
        self._ingest = root / ".corral" / "ingest"

    def __iter__(self) -> Iterator[Repository]:
        """Every repository that something was given to."""
        yield from listed(self.folder, Repository.from_filename)

    def put(self, repository: Repository, entry: Entry, raw: bytes) -> None:
        """Keep a manifest."""
        path = self._of(repository, "manifests") / Digest.parse(entry.digest).filename
        self._write(path, msgspec.json.encode(entry) + b"\n" + raw)

    def entry(self, repository: Repository, digest: Digest) -> Entry | None:
        """What is known of a manifest; None where it is not here, or damaged."""
        line = content(self._manifest(repository, digest), lambda file: file.readline(_MAX_LINE))
        return _decoded(line, Entry)

    def manifest(self, repository: Repository, digest: Digest) -> tuple[Entry, bytes] | None:
        """A manifest with its bytes; None where it is not here, or damaged."""
        line, _, raw = (content(self._manifest(repository, digest), _whole) or b"").partition(b"\n")
        entry = _decoded(line, Entry)
        return (entry, raw) if entry and hashlib.new(digest.algorithm, raw).hexdigest() == digest.hex else None

    def remove(self, repository: Repository, digest: Digest) -> bool:
        """Forget a manifest, and the tags that point at it; whether there was one."""
        for tag, tagged in self.tags(repository):
            if tagged.digest == str(digest):
                self.untag(repository, tag)
        return removed(self._manifest(repository, digest))

    def manifests(self, repository: Repository) -> Iterator[Digest]:
        """The manifests, in the order of their digests."""
        yield from listed(self._of(repository, "manifests"), Digest.from_filename)

    def tag(self, repository: Repository, tag: str, tagged: Tagged) -> None:
        """Point a tag at a manifest."""
        self._write(self._tag(repository, tag), msgspec.json.encode(tagged))

    def tagged(self, repository: Repository, tag: str) -> Tagged | None:
        """What a tag points at; None where there is none."""
        return _decoded(content(self._tag(repository, tag), _whole), Tagged)

    def untag(self, repository: Repository, tag: str) -> bool:
        """Remove a tag; whether there was one."""
        return removed(self._tag(repository, tag))

    def replaced(self, repository: Repository, tag: str, model: str) -> set[Digest]:
        """The store's tag points at this model now, "" for none: if that is another than was given, what was given goes.

        But for a manifest that has another tag, or is part of an index. Returns the blobs that only it named here.
        """
        tagged = self.tagged(repository, tag)
        freed: set[Digest] = set()
        if not tagged or not tagged.model or tagged.model == model:
            return freed
        self.untag(repository, tag)
        digest = Digest.parse(tagged.digest)
        if tagged.digest not in self._held(repository) and (entry := self.entry(repository, digest)):
            self.remove(repository, digest)
            freed = self._named([entry]) - self._named(self._entries(repository))
            for blob in freed:
                self.unlink(repository, blob)
        return freed

    def _held(self, repository: Repository) -> set[str]:
        """The manifests that a tag or an index names."""
        held = {tagged.digest for _, tagged in self.tags(repository)}
        return held.union(*(entry.manifests for entry in self._entries(repository)))

    def _entries(self, repository: Repository) -> Iterator[Entry]:
        for digest in self.manifests(repository):
            if entry := self.entry(repository, digest):
                yield entry

    def _named(self, entries: Iterable[Entry]) -> set[Digest]:
        """The sha256 of the blobs that manifests name."""
        named = {text for entry in entries for text in entry.blobs}
        return {sha256 for text in named if (sha256 := self.resolved(Digest.parse(text)))}

    def tags(self, repository: Repository) -> Iterator[tuple[str, Tagged]]:
        """The tags, in their order."""
        for tag in listed(self._of(repository, "tags"), _as_tag):
            if tagged := self.tagged(repository, tag):
                yield tag, tagged

    def link(self, repository: Repository, blob: Digest) -> None:
        """Note that a blob, by its sha256, belongs to the repository, or does still."""
        path = self._of(repository, "blobs") / blob.filename
        with system_errors(path, "write to the store"):
            try:
                if time.time() - path.stat().st_mtime > _RENEWED_AFTER:
                    os.utime(path)
            except FileNotFoundError:
                with lasting(path.parent):
                    make_folders(path.parent)
                    path.touch()

    def is_linked(self, repository: Repository, blob: Digest) -> bool:
        """Whether the blob was sent to the repository or mounted in it."""
        with system_errors(self.folder, "read"):
            return (self._of(repository, "blobs") / blob.filename).exists()

    def unlink(self, repository: Repository, blob: Digest) -> bool:
        """Have a blob belong to the repository no more; whether it did."""
        return removed(self._of(repository, "blobs") / blob.filename)

    def blobs(self, repository: Repository) -> Iterator[Digest]:
        """The blobs that belong to it."""
        yield from listed(self._of(repository, "blobs"), Digest.from_filename)

    def alias(self, digest: Digest, sha256: Digest) -> None:
        """Note which blob it is that another digest names."""
        if digest != sha256:
            self._write(self._oci / digest.algorithm / digest.hex, str(sha256).encode())

    def resolved(self, digest: Digest) -> Digest | None:
        """The sha256 of a blob by any digest of it; None where that is not known."""
        if digest.algorithm == "sha256":
            return digest
        noted = content(self._oci / digest.algorithm / digest.hex, _whole) or b""
        with contextlib.suppress(InvalidDigestError, UnicodeDecodeError):
            return Digest.parse(noted.decode())
        return None

    def untagged(self) -> set[tuple[Repository, Digest]]:
        """The manifests that no tag leads to: nor an index that has one, nor being about a manifest that has.

        Those that were just given are not among them; their tag, index or subject may be to come.
        """
        found: set[tuple[Repository, Digest]] = set()
        for repository in self:
            entries = {entry.digest: entry for entry in self._entries(repository)}
            reached = {tagged.digest for _, tagged in self.tags(repository)}
            reached |= {text for text in entries if self._is_young(repository, Digest.parse(text))}
            following = reached
            while following:
                parts = {part for text in following if text in entries for part in entries[text].manifests}
                about = {entry.digest for entry in entries.values() if entry.subject in following}
                following = (parts | about) - reached
                reached |= following
            found.update((repository, Digest.parse(text)) for text in entries.keys() - reached)
        return found

    def _is_young(self, repository: Repository, digest: Digest) -> bool:
        with contextlib.suppress(FileNotFoundError):
            return self._manifest(repository, digest).stat().st_mtime > time.time() - LEAST_AGE
        return False

    def named(self, besides: Container[tuple[Repository, Digest]] = ()) -> set[Digest]:
        """The sha256 of the blobs that manifests name, but for what only some of these do. Raises InvalidManifestError."""
        found: set[Digest] = set()
        for repository in self:
            kept = (digest for digest in self.manifests(repository) if (repository, digest) not in besides)
            found |= self._named(entry for digest in kept if (entry := self._sound(repository, digest)))
        return found

    def _sound(self, repository: Repository, digest: Digest) -> Entry | None:
        """What is known of a manifest; None where it is not here any more. Raises InvalidManifestError."""
        entry, path = self.entry(repository, digest), self._manifest(repository, digest)
        if entry is None and path.exists():
            why = "nothing was collected, because it may name any blob"
            raise InvalidManifestError(f"{repository}@{digest}", why, hint=f"delete {path}, and push it again")
        return entry

    def needed(self, older_than: float, besides: Container[tuple[Repository, Digest]] = ()) -> set[Digest]:
        """The same, and the blobs that were sent in the last `older_than` seconds."""
        found = self.named(besides)
        newest = time.time() - max(older_than, LEAST_AGE)
        for repository in self:
            for blob in self.blobs(repository):
                with contextlib.suppress(FileNotFoundError):
                    if (self._of(repository, "blobs") / blob.filename).stat().st_mtime > newest:
                        found.add(blob)
        return found

    def clean(self, is_here: Callable[[Digest], bool]) -> None:
        """Forget what says something of blobs that are not here any more, and folders with nothing in them."""
        for repository in list(self):
            for blob in list(self.blobs(repository)):
                if not is_here(blob):
                    self.unlink(repository, blob)
            for folder in (
                *(self._of(repository, part) for part in ("manifests", "tags", "blobs")),
                self._of(repository),
            ):
                with contextlib.suppress(OSError):
                    folder.rmdir()
        for digest in list(listed(self._oci / "sha512", lambda name: Digest("sha512", name))):
            sha256 = self.resolved(digest)
            if sha256 is None or not is_here(sha256):
                removed(self._oci / "sha512" / digest.hex)

    def _of(self, repository: Repository, *parts: str) -> Path:
        return self.folder.joinpath(repository.filename, *parts)

    def _manifest(self, repository: Repository, digest: Digest) -> Path:
        return self._of(repository, "manifests") / digest.filename

    def _tag(self, repository: Repository, tag: str) -> Path:
        return self._of(repository, "tags") / _as_tag(tag)

    def _write(self, path: Path, data: bytes) -> None:
        with system_errors(path, "write to the store"), lasting(path.parent):
            write_whole(path, data, self._ingest)


def _whole(file: BinaryIO) -> bytes:
    return file.read(_MAX_LINE + MAX_MANIFEST_BYTES)


def _decoded(data: bytes | None, kind: type[_T]) -> _T | None:
    """What a line says; None for what is damaged."""
    with contextlib.suppress(ValueError, RecursionError):
        return msgspec.json.decode(data, type=kind) if data else None
    return None


def _as_tag(text: str) -> str:
    if not is_tag(text):
        raise InvalidNameError(text, "expected a tag of up to 128 letters, digits and _ - .")
    return text
