"""BlobStore: content by digest in Ollama's `blobs/` folder, with one write path.

Everything is written to `.corral/ingest/` on the same file system, hashed on the way, fsynced, and renamed to its final
name only when the digest is known to match; then the folder is fsynced. Nothing unverified ever has a final name, and no
path is built from anything but a Digest. A marker in `.corral/wrote/` records what Corral wrote, for the collector.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from .digest import Digest
from .errors import AGAIN, BlobNotFoundError, InvalidDigestError, MismatchError, system_errors
from .files import open_regular, sync_folder
from .manifest import Descriptor

CHUNK = 1 << 20
_SMALL = 1 << 20
"""Blobs below this many bytes are hashed before they are relied on."""


class Written(NamedTuple):
    """What a write left in the store."""

    blob: Descriptor
    is_new: bool
    """Whether the store did not have it before."""


class BlobStore:
    """The blobs of one store root. Reading never creates anything; the first write lays out the folders."""

    def __init__(self, root: Path) -> None:
        self.folder = root / "blobs"
        self._ours = root / ".corral"

    def path(self, digest: Digest) -> Path:
        """Where the blob is, or would be. Raises InvalidDigestError for what Ollama's layout cannot hold."""
        if digest.algorithm != "sha256":
            raise InvalidDigestError(str(digest))
        return self.folder / digest.filename

    def size(self, digest: Digest) -> int | None:
        """The blob's size in bytes, or None when it is not here."""
        path = self.path(digest)
        with system_errors(path, "read"):
            try:
                return path.stat().st_size
            except (FileNotFoundError, NotADirectoryError):
                return None

    def has(self, blob: Descriptor) -> bool:
        """Whether the blob is here with the size its descriptor gives."""
        return self.size(blob.digest) == blob.size

    def is_sound(self, blob: Descriptor) -> bool:
        """Whether the blob need not be written again: a small one is looked into, a large one trusted by its size."""
        if not self.has(blob):
            return False
        if blob.size >= _SMALL:
            return True
        with self.open(blob.digest) as file:
            return Digest.of(file.read()) == blob.digest

    def check(self, blob: Descriptor) -> None:
        """Raise BlobNotFoundError or MismatchError unless the blob is here with its size."""
        size = self.size(blob.digest)
        if size is None:
            raise BlobNotFoundError(str(blob.digest))
        if size != blob.size:
            raise MismatchError(f"blob {blob.digest}", expected=f"{blob.size} bytes", got=f"{size} bytes", hint=AGAIN)

    def open(self, digest: Digest) -> BinaryIO:
        """The blob for reading. Raises BlobNotFoundError."""
        path = self.path(digest)
        with system_errors(path, "read"):
            try:
                return path.open("rb")
            except (FileNotFoundError, NotADirectoryError):
                raise BlobNotFoundError(str(digest)) from None

    def verified(self, blob: Descriptor) -> Iterator[bytes]:
        """The blob in pieces; the last one comes only when all together are its digest's. Raises MismatchError."""
        hashed, held = hashlib.sha256(), b""
        with self.open(blob.digest) as file, system_errors(self.path(blob.digest), "read"):
            while chunk := file.read(CHUNK):
                if held:
                    yield held
                hashed.update(chunk)
                held = chunk
        self._compare(blob.digest, Digest("sha256", hashed.hexdigest()))
        yield held

    def read(self, blob: Descriptor, limit: int) -> bytes:
        """A small blob whole, verified. Raises MismatchError when it is larger than `limit` bytes or not its digest's."""
        if blob.size > limit:
            raise MismatchError(f"blob {blob.digest}", expected=f"at most {limit} bytes", got=f"{blob.size}")
        with self.open(blob.digest) as file:
            data = file.read(limit + 1)
        self._compare(blob.digest, Digest.of(data))
        return data

    def _compare(self, promised: Digest, got: Digest) -> None:
        if got != promised:
            # Neither a pull nor a creation looks into a large blob that is here with the right size.
            hint = f"it is damaged: delete {self.path(promised)}, then {AGAIN}"
            raise MismatchError(f"blob {promised.short}", expected=str(promised), got=str(got), hint=hint)

    def put(self, data: bytes, media_type: str) -> Written:
        """Store `data`; nothing is written when it is here already. A damaged copy is replaced."""
        blob = Descriptor(media_type, Digest.of(data), len(data))
        if self.has(blob):
            with self.open(blob.digest) as file:
                is_intact = file.read() == data
            if is_intact:
                self.touch(blob.digest)
                return Written(blob, is_new=False)
            self.delete(blob.digest)
        with self.ingest() as ingest:
            ingest.write(data)
            return ingest.commit(media_type, expected=blob.digest)

    def adopt(self, source: Path, media_type: str, on_bytes: Callable[[int], None] | None = None) -> Written:
        """Copy a local file in, hashing on the way; the source is only read. `on_bytes` hears how many bytes are done.

        A file that is one of this store's own blobs is hashed, not copied.
        Raises InputError when it is not a regular file (a device would never end).
        """
        if source.parent.resolve() == self.folder.resolve():
            return self._adopt_own(source, media_type)
        with open_regular(source) as file, self.ingest() as ingest:
            while chunk := file.read(CHUNK):
                ingest.write(chunk)
                if on_bytes:
                    on_bytes(ingest.size)
            return ingest.commit(media_type)

    def _adopt_own(self, source: Path, media_type: str) -> Written:
        with open_regular(source) as file:
            digest = Digest("sha256", hashlib.file_digest(file, "sha256").hexdigest())
            size = file.tell()
        self._compare(Digest.from_filename(source.name), digest)
        self.touch(digest)
        return Written(Descriptor(media_type, digest, size), is_new=False)

    def ingest(self) -> Ingest:
        """A new blob in the making; leaving the block without commit() removes it."""
        self.prepare()
        return Ingest(self)

    def prepare(self) -> None:
        """Lay out the folders of the store. Raises StoreError when it cannot be written."""
        with system_errors(self.folder, "write to the store"):
            for folder in (self.folder, self.ingest_folder, self.wrote_folder):
                folder.mkdir(parents=True, exist_ok=True)

    def touch(self, digest: Digest) -> None:
        """Renew the blob's time, so that neither Ollama's pruning nor a collection by age takes it before it is tagged."""
        with system_errors(self.path(digest), "touch"):
            os.utime(self.path(digest))

    def delete(self, digest: Digest) -> None:
        """Remove a blob and its record; the collector calls this, under its lock."""
        with system_errors(self.path(digest), "delete"):
            self.path(digest).unlink(missing_ok=True)
            (self.wrote_folder / digest.filename).unlink(missing_ok=True)

    def is_ours(self, digest: Digest) -> bool:
        """Whether Corral wrote the blob."""
        return (self.wrote_folder / digest.filename).exists()

    def __iter__(self) -> Iterator[Digest]:
        """Every blob with a well-formed final name; Ollama's partial downloads and temp files are passed over."""
        with system_errors(self.folder, "list"):
            names = [path.name for path in self.folder.iterdir()] if self.folder.is_dir() else []
        for name in sorted(names):
            try:
                digest = Digest.from_filename(name)
            except InvalidDigestError:
                continue
            if digest.algorithm == "sha256":
                yield digest

    @property
    def ingest_folder(self) -> Path:
        """Everything that is being written; nothing here has a name anybody relies on."""
        return self._ours / "ingest"

    @property
    def wrote_folder(self) -> Path:
        """An empty file for each blob that Corral wrote."""
        return self._ours / "wrote"


class Ingest:
    """A blob being written: feed it with write(), then commit(). Use it as a context manager."""

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs
        self._path = blobs.ingest_folder / secrets.token_hex(12)
        self._hash = hashlib.sha256()
        self.size = 0
        with system_errors(blobs.folder, "write to the store"):
            self._file = os.fdopen(
                os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644), "wb", 0
            )

    def __enter__(self) -> Ingest:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._path.unlink(missing_ok=True)

    def write(self, data: bytes | memoryview) -> None:
        """Append to the blob."""
        view = memoryview(data)
        with system_errors(self._blobs.folder, "write to the store"):
            while view:
                view = view[self._file.write(view) :]
        self._hash.update(data)
        self.size += len(data)

    def commit(self, media_type: str, *, expected: Digest | None = None, size: int | None = None) -> Written:
        """Give the blob its final name and make that durable.

        Raises MismatchError, with nothing left behind, unless size and digest are the expected ones.
        """
        digest = Digest("sha256", self._hash.hexdigest())
        if size is not None and self.size != size:
            raise MismatchError(f"blob {expected or digest}", expected=f"{size} bytes", got=f"{self.size} bytes")
        if expected is not None and digest != expected:
            raise MismatchError("blob", expected=str(expected), got=str(digest))
        blob = Descriptor(media_type, digest, self.size)
        if self._blobs.is_sound(blob):
            self._blobs.touch(digest)
            return Written(blob, is_new=False)
        with system_errors(self._blobs.folder, "write to the store"):
            os.fsync(self._file.fileno())
            # The record comes first: a crash between the two leaves a record of nothing, never a blob without one.
            (self._blobs.wrote_folder / digest.filename).touch()
            self._path.rename(self._blobs.path(digest))
            sync_folder(self._blobs.folder)
        return Written(blob, is_new=True)
