"""BlobStore: content by digest in Ollama's `blobs/` folder, with one write path.

Everything is written to `.corral/ingest/` on the same file system, hashed on the way, fsynced, and renamed to its final
name only when the digest is known to match; then the folder is fsynced. Nothing unverified ever has a final name, and no
path is built from anything but a Digest. A marker in `.corral/wrote/` records what Corral wrote, for the collector, and one
in `.corral/linked/` what is a second name of a file of the user's.

An Ollama on the same store deletes from `blobs/` what no model that it sees needs. So the blobs of others have a second name
in `.corral/oci/blobs/`, and are read there when they are in `blobs/` no more.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO

from . import locks
from .ahead import Ahead
from .digest import Digest
from .errors import AGAIN, BlobNotFoundError, InputError, InvalidDigestError, MismatchError, system_errors
from .files import make_folders, open_regular, open_shared, start_writing_back, sync_folder
from .ingest import CHUNK, Ingest, Written
from .leases import Leases
from .links import Links
from .manifest import Descriptor
from .spares import Spares
from .stamps import Stamp, Stamps, has_sound_stamps

_SMALL = 1 << 20
"""Blobs below this many bytes are hashed before they are relied on."""


class BlobStore:
    """The blobs of one store root. Reading never creates anything; the first write lays out the folders.

    What is not here is looked for in the stores `below`, which are only read.
    """

    def __init__(self, root: Path, below: Sequence[BlobStore] = ()) -> None:
        self.folder = root / "blobs"
        self._ours = root / ".corral"
        self._below = below
        self.lock_file = self._ours / "lock"
        self.leases = Leases(self._ours / "leases", self.lock_file)
        self.stamps = Stamps(self._ours / "stamps", self.ingest_folder)
        self.ahead = Ahead()
        self.links = Links(self._ours / "linked", self.ingest_folder)
        self.spares = Spares(root, self.ingest_folder, self.links)

    def path(self, digest: Digest) -> Path:
        """Where the blob is, or would be. Raises InvalidDigestError for what Ollama's layout cannot hold."""
        own = self.own_path(digest)
        if self._below and not own.exists():
            found = (other.path(digest) for other in self._below)
            return next((path for path in found if path.exists()), own)
        return own

    def own_path(self, digest: Digest) -> Path:
        """Where the blob is in this very store, or would be. Raises InvalidDigestError."""
        shown, spare = self.places(digest)
        return shown if shown.exists() or not spare.exists() else spare

    def places(self, digest: Digest) -> tuple[Path, Path]:
        """Where Ollama too would find the blob, and where it does not look. Raises InvalidDigestError."""
        if digest.algorithm != "sha256":
            raise InvalidDigestError(str(digest))
        return self.folder / digest.filename, self.spares.path(digest)

    def files(self, digest: Digest) -> dict[Path, os.stat_result]:
        """The files of this very store that hold the blob: one, whatever names it has, unless it could not have two.

        One that cannot be looked at is not among them.
        """
        found: dict[tuple[int, int], tuple[Path, os.stat_result]] = {}
        for path in self.places(digest):
            with contextlib.suppress(OSError):
                status = path.stat()
                found.setdefault((status.st_dev, status.st_ino), (path, status))
        return dict(found.values())

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
            return self.links.is_intact(blob.digest, self.path(blob.digest))
        with self.open(blob.digest) as file:
            return Digest.of(file.read()) == blob.digest

    def is_kept(self, blob: Descriptor) -> bool:
        """Whether the blob is sound and here to stay: under the lease of this process, if it holds one."""
        self.leases.add(blob.digest)
        if not self.is_sound(blob):
            return False
        self.touch(blob.digest)
        return True

    def check(self, blob: Descriptor) -> None:
        """Raise BlobNotFoundError or MismatchError unless the blob is here with its size, unedited if it is a link."""
        size = self.size(blob.digest)
        if size is None:
            raise BlobNotFoundError(str(blob.digest))
        if size != blob.size:
            raise MismatchError(f"blob {blob.digest}", expected=f"{blob.size} bytes", got=f"{size} bytes", hint=AGAIN)
        if not self.links.is_intact(blob.digest, self.path(blob.digest)):
            if self.size(blob.digest) is None:
                raise BlobNotFoundError(str(blob.digest))
            hint = "the file it is a link to was edited; create the model again"
            raise MismatchError(f"blob {blob.digest.short}", expected=str(blob.digest), got="other bytes", hint=hint)

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
            mend = "it is damaged: `corral verify --deep --repair` fetches a good copy where the model came from"
            names = "its files" if self.spares.path(promised).exists() else f"blobs/{promised.filename}"
            hint = f"{mend}; else delete {names} in the store, and {AGAIN}"
            raise MismatchError(f"blob {promised.short}", expected=str(promised), got=str(got), hint=hint)

    def put(self, data: bytes, media_type: str) -> Written:
        """Store `data`; nothing is written when it is here already. A damaged copy is replaced."""
        blob = Descriptor(media_type, Digest.of(data), len(data))
        self.leases.add(blob.digest)
        if self.has(blob):
            with self.open(blob.digest) as file:
                is_intact = file.read() == data
            if is_intact:
                self.touch(blob.digest)
                return Written(blob, is_new=False)
        with self.ingest() as ingest:
            ingest.write(data)
            return ingest.commit(media_type, expected=blob.digest)

    def adopt(
        self,
        source: Path,
        media_type: str,
        on_bytes: Callable[[int], None] | None = None,
        *,
        links: bool = False,
        is_cached: bool = True,
    ) -> Written:
        """Take a local file in, hashed once; the source is only read. `on_bytes` hears how many bytes are done.

        Its blocks are shared where the file system can, else copied; with `links` the blob becomes a second name of the very
        file, where that can be. A file hashed before and unchanged since is not read, unless `is_cached` is off.
        Raises InputError when it is not a regular file (a device would never end), or changes meanwhile.
        """
        with open_regular(source) as file:
            stamp = Stamp.of(os.fstat(file.fileno()))
            self.prepare()
            with locks.keyed(self.busy_file(f"{stamp.device:x}-{stamp.inode:x}")):
                known = self.stamps.find(stamp) if is_cached and has_sound_stamps(source) else None
                if known and self.is_kept(blob := Descriptor(media_type, known, stamp.size)):
                    return Written(blob, is_new=False)
                is_settled = stamp.is_settled()
                if source.parent.resolve() in (self.folder.resolve(), self.spares.folder.resolve()):
                    written = self._adopt_own(file, source, media_type)
                else:
                    written = self._adopt(file, media_type, on_bytes, links=links)
                after = Stamp.of(os.fstat(file.fileno()))
                if (after.size, after.changed) != (stamp.size, stamp.changed):
                    raise InputError(f"{source}: it changed while it was read", hint="try again when it is complete")
                if is_settled and has_sound_stamps(source):
                    self.stamps.record(after, written.blob.digest)
        return written

    def _adopt(
        self, file: BufferedReader, media_type: str, on_bytes: Callable[[int], None] | None, *, links: bool
    ) -> Written:
        if links:
            start_writing_back(file.fileno(), 0, 0)
            status = os.fstat(file.fileno())
            digest = self.ahead.digest(Stamp.of(status))
            if digest is None:
                digest = Digest("sha256", hashlib.file_digest(file, "sha256").hexdigest())
            blob = Descriptor(media_type, digest, status.st_size)
            if self.is_kept(blob):
                return Written(blob, is_new=False)
            with system_errors(self.folder, "write to the store"), locks.shared(self.lock_file):
                self.record(digest)
                shown, _ = self.places(digest)
                if self.links.make(file, digest, shown):
                    self.spares.renew(digest, shown)
                    return Written(blob, is_new=True)
            file.seek(0)
        with self.ingest() as ingest:
            ingest.copy(file, on_bytes)
            return ingest.commit(media_type)

    def _adopt_own(self, file: BufferedReader, source: Path, media_type: str) -> Written:
        digest = Digest("sha256", hashlib.file_digest(file, "sha256").hexdigest())
        self._compare(Digest.from_filename(source.name), digest)
        self.leases.add(digest)
        return Written(Descriptor(media_type, digest, file.tell()), is_new=False)

    def ingest(self, size: int | None = None) -> Ingest:
        """A new blob in the making, of `size` bytes if that is known; leaving the block without commit() removes it.

        Raises MachineError when there is no room for it.
        """
        self.prepare()
        return Ingest(self, size)

    def place(self, descriptor: int, path: Path, digest: Digest, *, is_lent: bool = False) -> None:
        """Give a file of the store's, whole and known to be the digest's, its final name, and make that durable.

        With `is_lent` it has a spare too, where that takes no space: its model may get a tag only much later, and an Ollama
        here might take for surplus what has none. Store.discard() ends that.
        """
        with system_errors(self.folder, "write to the store"):
            os.fsync(descriptor)
            self.record(digest)
            # First: should it end in between, what is damaged stays to be seen.
            with locks.shared(self.lock_file):
                self.spares.renew(digest, path)
                if is_lent:
                    self.spares.lend(digest, path)
            path.rename(self.folder / digest.filename)
            sync_folder(self.folder)

    def secure(self, digests: Iterable[Digest], *, is_ollamas: bool) -> None:
        """Have the blobs of a model that gets a tag where nobody takes them: in `blobs/` if Ollama sees it, else as spares.

        The caller keeps the collector away, and looks afterwards whether all are here still. What is in a store below stays
        there.
        """
        with system_errors(self.folder, "write to the store"):
            for digest in set(digests):
                with contextlib.suppress(FileNotFoundError):  # removed this moment, or not here but below
                    if not is_ollamas:
                        self.spares.add(digest, self.own_path(digest))
                    elif self.own_path(digest) == self.spares.path(digest):
                        self._note(digest)
                        self.spares.give_back(digest, self.places(digest)[0])
                        sync_folder(self.folder)
            if not is_ollamas:
                self.spares.sync()

    def once(self, digest: Digest, *, waits: bool = True) -> AbstractContextManager[None]:
        """Be the only process that brings this blob in; whoever comes next looks again.

        Waits for another that does; or, unless it `waits`, raises locks.BusyError.
        """
        self.prepare()
        return locks.keyed(self.busy_file(digest.filename), waits=waits)

    def busy_file(self, filename: str) -> Path:
        """What is locked while somebody brings in the blob of this file name."""
        return self._ours / "busy" / filename

    def prepare(self) -> None:
        """Lay out the folders of the store. Raises StoreError when it cannot be written."""
        with system_errors(self.folder, "write to the store"):
            for name in ("ingest", "partial", "wrote", "leases", "stamps", "linked", "busy"):
                make_folders(self._ours / name)
            make_folders(self.folder)

    def touch(self, digest: Digest) -> None:
        """Renew the blob's time, so that neither Ollama's pruning nor a collection by age takes it before it is tagged."""
        path = self.own_path(digest)
        with system_errors(path, "touch"):
            if path.exists() and not self.links.has(digest):  # a linked file's time is its owner's
                os.utime(path)

    def delete(self, digest: Digest, paths: Sequence[Path]) -> None:
        """Remove these places() of a blob, and with them its records; the collector calls this, under its lock."""
        shown, _ = self.places(digest)
        with system_errors(self.own_path(digest), "delete"):
            left = next((path for path in self.places(digest) if path not in paths and path.exists()), None)
            with self.links.renaming(digest, left) if left else contextlib.nullcontext():
                for path in paths:
                    path.unlink(missing_ok=True)
            if left is None:
                self.links.forget(digest)
            if shown in paths:
                (self.wrote_folder / digest.filename).unlink(missing_ok=True)

    def record(self, digest: Digest) -> None:
        """Note that Corral writes the blob, before it does: a crash leaves a record of nothing, never a blob without one."""
        self._note(digest)
        self.links.forget(digest)

    def _note(self, digest: Digest) -> None:
        os.close(open_shared(self.wrote_folder / digest.filename, os.O_RDONLY))

    def is_ours(self, digest: Digest) -> bool:
        """Whether Corral wrote the blob."""
        return (self.wrote_folder / digest.filename).exists()

    def __iter__(self) -> Iterator[Digest]:
        """Every blob with a well-formed final name; Ollama's partial downloads and temp files are passed over."""
        names: set[str] = set()
        for folder in (self.folder, self.spares.folder):
            with system_errors(folder, "list"):
                names.update(entry.name for entry in (os.scandir(folder) if folder.is_dir() else ()))
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
    def partial_folder(self) -> Path:
        """Blobs that come from elsewhere, as far as they have."""
        return self._ours / "partial"

    @property
    def seen_folder(self) -> Path:
        """For each blob a note of the registries that have it."""
        return self._ours / "seen"

    @property
    def uploads_folder(self) -> Path:
        """A note of each upload that may be gone on with."""
        return self._ours / "uploads"

    @property
    def wrote_folder(self) -> Path:
        """An empty file for each blob that Corral wrote."""
        return self._ours / "wrote"
