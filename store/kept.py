"""Kept: the originals of models that another tool packed and that were converted when they were pulled.

Of each there is the manifest's very bytes, and those small blobs that our manifest does not name; with the model's own
blobs that is all of it, so it can be pushed again as it came. A file in `.corral/oci/kept/`, named by our manifest's digest:
a line of JSON says what is in it, and the pieces follow. What is damaged counts as not there.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import msgspec

from . import locks
from .digest import Digest
from .errors import InvalidDigestError, InvalidManifestError, system_errors
from .files import sync_folders, write_whole
from .leases import Leases
from .manifest import MAX_MANIFEST_BYTES

MAX_BLOBS = 64
MAX_BYTES = 8 << 20
"""Of each blob."""
_MAX_LINE = 64 << 10
_MAX_TYPE = 255


@dataclass(frozen=True, slots=True)
class Original:
    """A manifest of another tool's, and what our manifest of the same model does not name."""

    media_type: str
    raw: bytes
    blobs: Mapping[Digest, bytes]

    @property
    def digest(self) -> Digest:
        """The sha256 of the manifest's bytes."""
        return Digest.of(self.raw)


class Kept:
    """The originals of one store's models; what is not here is looked for in the stores `below`, which are only read."""

    def __init__(self, root: Path, leases: Leases, lock_file: Path, below: Sequence[Kept] = ()) -> None:
        self.folder = root / ".corral" / "oci" / "kept"
        self._root = root
        self._ingest_folder = root / ".corral" / "ingest"
        self._leases = leases
        self._lock_file = lock_file
        self._below = below

    def put(self, model: Digest, original: Original) -> None:
        """Keep the original of the model whose manifest, in our form, is `model`; an older one gives way.

        It is the caller's, who is inside Store.writing(), to tag the model then; of a model that has no tag nothing is kept.
        Raises InvalidManifestError, naming the model, for one that is too large.
        """
        _check_size(model, original)
        pieces = {original.digest: original.raw, **original.blobs}
        entries = [_Piece(str(digest), len(data)) for digest, data in pieces.items()]
        line = msgspec.json.encode(_Contents(original.media_type, entries))
        self._leases.add(model)
        with locks.shared(self._lock_file), system_errors(self.folder, "write to the store"):
            write_whole(self._path(model), b"".join([line, b"\n", *pieces.values()]), self._ingest_folder)
            sync_folders(self.folder, self._root)

    def find(self, model: Digest) -> Original | None:
        """The original of a model of this manifest, if it is here, unharmed."""
        with contextlib.suppress(OSError, *_HARMED), self._path(model).open("rb") as file:
            return _read(file)
        found = (store.find(model) for store in self._below)
        return next((original for original in found if original), None)

    def forget(self, model: Digest) -> None:
        """The original is not needed any more."""
        with system_errors(self._path(model), "delete"):
            self._path(model).unlink(missing_ok=True)

    def __iter__(self) -> Iterator[Digest]:
        """The models of which there is an original in this very store."""
        with system_errors(self.folder, "list"):
            names = sorted(path.name for path in self.folder.iterdir()) if self.folder.is_dir() else []
        for name in names:
            with contextlib.suppress(InvalidDigestError):
                yield Digest.from_filename(name)

    def size(self, model: Digest) -> int:
        """Bytes of the file in this very store; 0 when there is none."""
        with system_errors(self._path(model), "read"), contextlib.suppress(FileNotFoundError):
            return self._path(model).stat().st_size
        return 0

    def _path(self, model: Digest) -> Path:
        return self.folder / model.filename


class _Piece(msgspec.Struct):
    digest: str
    size: int


class _Contents(msgspec.Struct):
    media_type: str
    pieces: list[_Piece]
    """The manifest first."""


def _check_size(model: Digest, original: Original) -> None:
    why = None
    if len(original.media_type) > _MAX_TYPE:
        why = f"a media type of {len(original.media_type)} characters, at most {_MAX_TYPE} are kept"
    elif len(original.raw) > MAX_MANIFEST_BYTES:
        why = f"{len(original.raw)} bytes, at most {MAX_MANIFEST_BYTES} are kept"
    elif len(original.blobs) > MAX_BLOBS:
        why = f"{len(original.blobs)} blobs of its own, at most {MAX_BLOBS} are kept"
    elif large := next((digest for digest, data in original.blobs.items() if len(data) > MAX_BYTES), None):
        why = f"blob {large} of {len(original.blobs[large])} bytes, at most {MAX_BYTES} are kept"
    if why:
        raise InvalidManifestError(f"the original of {model}", why)


_HARMED = (ValueError, msgspec.DecodeError, RecursionError, InvalidDigestError)


def _read(file: BinaryIO) -> Original:
    """Raises one of _HARMED for what is not whole or not as its digests say."""
    line = file.readline(_MAX_LINE)
    contents = msgspec.json.decode(line, type=_Contents)
    manifest, *others = [(Digest.parse(piece.digest), piece.size) for piece in contents.pieces[: MAX_BLOBS + 1]]
    raw = _piece(file, *manifest, MAX_MANIFEST_BYTES)
    return Original(
        contents.media_type, raw, {digest: _piece(file, digest, size, MAX_BYTES) for digest, size in others}
    )


def _piece(file: BinaryIO, digest: Digest, size: int, limit: int) -> bytes:
    data = file.read(min(size, limit)) if size >= 0 else b""
    if len(data) != size or hashlib.new(digest.algorithm, data).hexdigest() != digest.hex:
        raise ValueError(str(digest))
    return data
