"""Unpack: a model out of an OCI image layout, in a folder, a tar file or a pipe, into the store.

An archive is anybody's: all of its form is looked at before a byte is written, every blob is hashed while it is, and the
name is set last. Whatever goes wrong, nothing new is left behind.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol

from . import layout, tar
from .digest import Digest
from .errors import FileError, InputError, InvalidArchiveError, MismatchError, shown, system_errors
from .files import open_regular
from .local import Store
from .manifest import Descriptor
from .name import Name
from .progress import Progress, Report, silent
from .tags import TaggedModel

_CHUNK = 1 << 20
_ANY = "application/octet-stream"


class Archive(Protocol):
    """A layout's files, wherever they are."""

    identity: str

    def size(self, file: str) -> int | None:
        """A file's size in bytes, None when there is no such file."""
        ...

    def chunks(self, file: str) -> Iterator[bytes]:
        """A file's content in pieces."""
        ...


def unpack(archive: Archive, store: Store, name: Name | None = None, *, report: Report = silent) -> TaggedModel:
    """Bring the archive's model into the store, as `name` or as the archive calls it; blobs that are here are not read.

    Raises InvalidArchiveError, InvalidManifestError and MismatchError for what is wrong with the archive, InputError when it
    must be said which model of it or how to call it, and MachineError where there is no room.
    """
    report(Progress("reading archive"))
    layout.check_mark(_document(archive, layout.LAYOUT), archive.identity)
    images = layout.read_index(_document(archive, layout.INDEX), archive.identity)
    image, name = layout.choose(images, name, archive.identity)
    model = layout.unwrap(_image(archive, image), f"{archive.identity}: {image.digest.short}")
    if name.digest and model.digest != name.digest:
        raise MismatchError(f"{archive.identity}: model", expected=str(name.digest), got=str(model.digest))
    for blob in model.blobs:
        size = archive.size(layout.file_of(blob.digest))
        if size is None and not store.blobs.is_sound(blob):
            raise InvalidArchiveError(archive.identity, f"blob {blob.digest} is not in it")
        if size is not None and size != blob.size:
            raise MismatchError(
                f"{archive.identity}: blob {blob.digest.short}", expected=f"{blob.size} bytes", got=f"{size} bytes"
            )
    with _all_or_nothing(store) as written, store.writing():
        for blob in dict.fromkeys(model.blobs):
            _take(blob, archive.chunks(layout.file_of(blob.digest)), archive.identity, store, written, report)
        report(Progress("writing manifest"))
        stored = store.tag(name, model)
    report(Progress("success"))
    return store.find(stored)


def _document(archive: Archive, file: str) -> bytes:
    size = archive.size(file)
    if size is None:
        hint = "a layout is a folder with oci-layout, index.json and blobs/, or a tar file of these"
        raise InvalidArchiveError(archive.identity, f"{file} is not in it", hint=hint)
    if size > layout.MAX_DOCUMENT:
        raise InvalidArchiveError(archive.identity, f"{file} has {size} bytes, at most {layout.MAX_DOCUMENT} are read")
    return b"".join(archive.chunks(file))[: layout.MAX_DOCUMENT + 1]


def _image(archive: Archive, image: Descriptor) -> bytes:
    raw = _document(archive, layout.file_of(image.digest))
    if (got := Digest.of(raw)) != image.digest:
        raise MismatchError(f"{archive.identity}: image manifest", expected=str(image.digest), got=str(got))
    return raw


def _take(
    blob: Descriptor, content: Iterator[bytes], identity: str, store: Store, written: list[Digest], report: Report
) -> None:
    """Write a blob, unless the store has it."""
    with store.blobs.once(blob.digest):
        if store.blobs.is_kept(blob):
            return
        with store.blobs.ingest(blob.size) as ingest:
            for chunk in content:
                ingest.write(chunk)
                report(Progress(f"importing {blob.digest.short}", blob.digest, blob.size, ingest.size))
                if ingest.size > blob.size:  # a folder's file that is still growing
                    break
            try:
                ingest.commit(blob.media_type, expected=blob.digest, size=blob.size)
            except MismatchError as error:
                what = f"{identity}: blob {blob.digest.short}"
                raise MismatchError(what, expected=error.expected, got=error.got, hint=_DAMAGED) from None
        written.append(blob.digest)


_DAMAGED = "the archive is damaged, and nothing of it is kept; get it again"


@contextmanager
def _all_or_nothing(store: Store) -> Generator[list[Digest]]:
    """A list for the blobs that are written; when the block fails they are removed, unless a model has them by now."""
    written: list[Digest] = []
    try:
        yield written
    except BaseException:
        if written:
            store.discard(written)
        raise


def unpack_pipe(
    file: BinaryIO, identity: str, store: Store, name: Name | None = None, *, report: Report = silent
) -> TaggedModel:
    """unpack() of a tar file that comes through a pipe, in one pass; there is no going back in it.

    Blobs of other models, if the archive has any, are written and removed again.
    """
    archive = Received(identity, store)
    with _all_or_nothing(store) as written, store.writing():
        archive.receive(file, written, report)
        model = unpack(archive, store, name, report=report)
    store.discard(set(written).difference(blob.digest for blob in model.manifest.blobs))
    return model


@contextmanager
def opened(source: str) -> Generator[Archive]:
    """The archive at a path: a folder's layout or a tar file's. Raises InputError, FileError, InvalidArchiveError."""
    path = Path(source)
    with system_errors(path, "read", FileError):
        is_folder, is_there = path.is_dir(), path.exists()
    if is_folder:
        yield Folder(path)
        return
    if not is_there:
        raise InputError(f"{source}: no such file or folder")
    with open_regular(path) as file:
        yield TarFile(file, source)


class Folder:
    """A layout in a folder."""

    def __init__(self, path: Path) -> None:
        self.identity = str(path)
        self._path = path

    def size(self, file: str) -> int | None:
        """A file's size in bytes, None when there is no such file."""
        path = self._path / file
        with system_errors(path, "read", FileError):
            return path.stat().st_size if path.is_file() else None

    def chunks(self, file: str) -> Iterator[bytes]:
        """A file's content in pieces."""
        with open_regular(self._path / file) as opened:
            while chunk := opened.read(_CHUNK):
                yield chunk


class TarFile:
    """A layout in a tar file, its entries in any order: their headers are read first, then what is asked for."""

    def __init__(self, file: BinaryIO, identity: str) -> None:
        self.identity = identity
        self._reader = tar.Reader(file, identity, os.fstat(file.fileno()).st_size)
        self._members = {member.name: member for member in _files(self._reader, identity)}

    def size(self, file: str) -> int | None:
        """A file's size in bytes, None when there is no such file."""
        member = self._members.get(file)
        return member.size if member else None

    def chunks(self, file: str) -> Iterator[bytes]:
        """A file's content in pieces."""
        yield from self._reader.chunks(self._members[file])


class Received:
    """What came through a pipe: the blobs are in the store by now, hashed, and the rest is here."""

    def __init__(self, identity: str, store: Store) -> None:
        self.identity = identity
        self._store = store
        self._documents: dict[str, bytes] = {}
        self._sizes: dict[str, int] = {}

    def receive(self, file: BinaryIO, written: list[Digest], report: Report) -> None:
        """Read the pipe to the archive's end; its blobs may come before the manifest that says which are wanted."""
        reader = tar.Reader(file, self.identity, None)
        for member in _files(reader, self.identity):
            self._sizes[member.name] = member.size
            digest = layout.digest_of(member.name)
            if digest:
                blob = Descriptor(_ANY, digest, member.size)
                _take(blob, reader.chunks(member), self.identity, self._store, written, report)
            elif member.size <= layout.MAX_DOCUMENT:
                self._documents[member.name] = b"".join(reader.chunks(member))

    def size(self, file: str) -> int | None:
        """A file's size in bytes, None when there is no such file."""
        return self._sizes.get(file)

    def chunks(self, file: str) -> Iterator[bytes]:
        """A file's content in pieces."""
        if file in self._documents:
            yield self._documents[file]
        elif digest := layout.digest_of(file):
            with self._store.blobs.open(digest) as opened:
                while chunk := opened.read(_CHUNK):
                    yield chunk


def _files(reader: tar.Reader, identity: str) -> Iterator[tar.Member]:
    """The files of a layout. Raises InvalidArchiveError where there is something else."""
    for member in reader:
        if member.is_folder and member.name.strip("/") in ("", ".", "blobs", "blobs/sha256"):
            continue
        if member.is_folder or not (member.name in (layout.LAYOUT, layout.INDEX) or layout.digest_of(member.name)):
            raise InvalidArchiveError(identity, f"{shown(member.name)} does not belong in a layout")
        yield member
