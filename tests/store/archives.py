"""Archives packed, made by hand, and brought in each of the ways there are."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
import tarfile
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from corral.store.archive import write_tar
from corral.store.local import Store
from corral.store.name import Name
from corral.store.tags import TaggedModel
from corral.store.unpack import opened, unpack, unpack_pipe

Bring = Callable[[bytes, Store, str], TaggedModel]
"""A way of importing an archive under a name, "" for its own."""


@dataclass(frozen=True)
class Entry:
    """A member: its header and its content."""

    info: tarfile.TarInfo
    data: bytes = b""

    @property
    def name(self) -> str:
        """Its name."""
        return self.info.name

    @property
    def block(self) -> bytes:
        """It as it stands in an archive."""
        head = self.info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")
        return head + self.data + bytes(-len(self.data) % 512)


def entry(name: str, data: bytes = b"", **fields: Any) -> Entry:
    """A member with this content; `fields` of its header besides name and size."""
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for field, value in fields.items():
        setattr(info, field, value)
    return Entry(info, data)


def entries(archive: bytes) -> list[Entry]:
    """What is in an archive."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as file:
        return [Entry(info, opened.read() if (opened := file.extractfile(info)) else b"") for info in file.getmembers()]


def joined(members: Iterable[Entry]) -> bytes:
    """An archive of these members."""
    return b"".join(member.block for member in members) + bytes(1024)


def unpacked(archive: bytes, folder: Path) -> Path:
    """The folder an archive stands for."""
    for member in entries(archive):
        path = folder / member.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(member.data)
    return folder


def packed(store: Store, name: str = "small") -> bytes:
    written = io.BytesIO()
    write_tar(store, store.find(Name.parse(name)), written.write)
    return written.getvalue()


def from_file(data: bytes, store: Store, name: str = "") -> TaggedModel:
    path = store.root.with_name("archive.tar")
    path.write_bytes(data)
    with opened(str(path)) as archive:
        return unpack(archive, store, Name.parse(name) if name else None)


def from_pipe(data: bytes, store: Store, name: str = "") -> TaggedModel:
    read, write = os.pipe()

    def feed() -> None:
        with contextlib.suppress(BrokenPipeError), open(write, "wb") as end:  # noqa: PTH123 - a descriptor
            end.write(data)

    feeder = threading.Thread(target=feed)
    feeder.start()
    try:
        with open(read, "rb") as end:  # noqa: PTH123 - a descriptor
            return unpack_pipe(end, "pipe", store, Name.parse(name) if name else None)
    finally:
        feeder.join()


def from_folder(data: bytes, store: Store, name: str = "") -> TaggedModel:
    folder = store.root.with_name("layout")
    shutil.rmtree(folder, ignore_errors=True)
    with opened(str(unpacked(data, folder))) as archive:
        return unpack(archive, store, Name.parse(name) if name else None)


TARS = pytest.mark.parametrize("bring", [from_file, from_pipe])
ALL = pytest.mark.parametrize("bring", [from_file, from_pipe, from_folder])


def content(store: Store) -> dict[str, bytes]:
    """Blobs and manifests, and what is left of writes that broke off."""
    folders = (store.blobs.folder, store.tags.folder, store.blobs.ingest_folder, store.root / ".corral" / "leases")
    paths = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(store.root)): path.read_bytes() for path in paths}


def document(archive: bytes, name: str) -> Any:
    return json.loads(next(member.data for member in entries(archive) if member.name == name))


def rewritten(archive: bytes, change: Callable[[dict[str, Any]], None], *, parts: int = 1) -> bytes:
    """The archive with another image manifest (`parts` 1) or another index (0), all digests that follow made right."""
    index = document(archive, "index.json")
    place = f"blobs/sha256/{index['manifests'][0]['digest'][7:]}"
    image, before = document(archive, place), place
    change(image if parts else index)
    raw = json.dumps(image).encode()
    if parts:
        index["manifests"][0] |= {"digest": f"sha256:{hashlib.sha256(raw).hexdigest()}", "size": len(raw)}
        place = f"blobs/sha256/{hashlib.sha256(raw).hexdigest()}"
    changed = {"index.json": json.dumps(index).encode()} | ({place: raw} if parts else {})
    others = [member for member in entries(archive) if member.name not in (*changed, before if parts else "")]
    return joined([*(entry(name, data) for name, data in changed.items()), *others])
