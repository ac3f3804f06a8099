"""Named: the blobs that a request to create a model names as files, and what is said of them if they are wrong."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from ...modelfile.diagnostics import ModelfileError
from ...store import gguf, parts
from ...store.digest import Digest
from ...store.errors import CorralError, InputError, InvalidDigestError, InvalidGGUFError
from ...store.local import Store
from ...store.manifest import MODEL
from ...store.progress import Progress, Report
from ..request import UnsupportedError
from .blobs import read_digest


class NamedBlobs:
    """The blobs that one request names, and what its errors call them."""

    def __init__(self, store: Store, report: Report) -> None:
        self._store = store
        self._report = report
        self._names: dict[Path, str] = {}
        self._stack = ExitStack()
        self.digests: list[Digest] = []
        """All that were named."""

    @contextmanager
    def named(self) -> Generator[None]:
        """Have the blobs stay in the block, and its errors tell of them by the client's names."""
        try:
            with self._stack:
                yield
        except ModelfileError as error:
            said = str(error) if error.source.text else error.diagnostics[0].message
            cure = f" ({error.hint})" if error.hint else ""  # clients show no more than the text
            raise InputError(self._renamed(said + cure)) from None
        except InvalidGGUFError as error:
            raise InputError(self._renamed(str(error)), hint=error.hint) from None
        except CorralError as error:
            error.args = (self._renamed(str(error)),)
            raise

    def path(self, digest: Digest, name: str) -> Path:
        """Where the blob is that the client calls by this name. Raises InputError when it is not here."""
        if not self.digests:
            self._stack.enter_context(self._store.writing())
        self.digests.append(digest)
        self._store.blobs.leases.add(digest)
        if self._store.blobs.size(digest) is None:
            raise InputError(f'blob "{digest}" not found', hint=f"upload {name} first: POST /api/blobs/{digest}")
        path = self._store.blobs.path(digest)
        self._names.setdefault(path, name)
        return path

    def weights(self, files: Mapping[str, str]) -> Iterator[Path]:
        """The GGUFs among the files, by name; the parts of a split one as the one that they make."""
        split: list[tuple[int, Path]] = []
        found = [path for path in (self._file(*file) for file in sorted(files.items())) if path]
        if not found:
            if any(name.lower().endswith(".safetensors") for name in files):
                raise UnsupportedError("safetensors are not supported yet; convert them to GGUF first")
            raise InputError("unknown type", hint="name a file that is a GGUF")
        for path in found:
            header = gguf.read(path)
            number = header.metadata.get(gguf.SPLIT_NUMBER, 0)
            if parts.count(header) > 1 and isinstance(number, int):
                split.append((number, path))
            else:
                yield path
        if split:
            yield self._merged([path for _, path in sorted(split)])

    def digest_of(self, text: str) -> Digest | None:
        """The blob that a Modelfile names: as `@sha256:…`, or by the path by which its text is shown to clients."""
        if text.startswith("@"):
            return read_digest(text[1:])
        with suppress(InvalidDigestError):
            digest = Digest.from_filename(text.rpartition("/")[2])
            if text == str(self._store.blobs.path(digest)):
                return digest
        return None

    def _file(self, name: str, text: str) -> Path | None:
        is_named_so = name.lower().endswith(".gguf")
        try:
            path = self.path(read_digest(text), name)
        except InputError:
            if is_named_so:
                raise
            return None
        return path if is_named_so or gguf.is_gguf(path) else None

    def _merged(self, split: list[Path]) -> Path:
        report = self._report
        written = parts.merge(
            self._store.blobs, split, MODEL, lambda done: report(Progress("merging split GGUF", completed=done))
        )
        return self.path(written.blob.digest, "the parts")

    def _renamed(self, said: str) -> str:
        for path, name in self._names.items():
            said = said.replace(str(path), name).replace(path.name, name)
        return said
