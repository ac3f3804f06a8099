"""Hub: `hf.co/USER/REPOSITORY[:QUANTISATION|FILE.gguf]`, a model out of a Hugging Face repository.

The repository has files, not a manifest; the manifest is made here, by the same rules for everybody, so that the same files
give the same ID everywhere. Downloads go through huggingface_hub into a folder of the store; what is in Hugging Face's cache,
or in the store, is not downloaded.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from ..store import gguf, manifest, parts
from ..store.config import Config
from ..store.digest import Digest
from ..store.errors import InputError, IntegrityError, InvalidDigestError, MismatchError
from ..store.files import allow_group, write_whole
from ..store.gguf import GGUF
from ..store.ingest import CHUNK, Written
from ..store.local import Store
from ..store.manifest import Descriptor, Manifest
from ..store.name import Name
from ..store.progress import Progress, Report
from ..store.tags import TaggedModel
from .errors import RegistryError
from .hub_choice import Choice, HubFile, choose
from .throttle import Throttle

if TYPE_CHECKING:
    from .hub_files import Repository

_HOSTS = ("hf.co", "huggingface.co")
_MAX_TEXT = 1 << 20
_MEDIA_TYPES = {"template": manifest.TEMPLATE, "system": manifest.SYSTEM, "params": manifest.PARAMS}


def is_hub(name: Name) -> bool:
    """Whether the name is of a repository on the Hub."""
    return name.host.lower() in _HOSTS


def pull(name: Name, store: Store, *, throttle: Throttle, report: Report) -> TaggedModel:
    """Fetch the model and tag it; files that are here already are not fetched.

    Raises InputError when the repository has no such model, RegistryError, and IntegrityErrors for files that are not what
    the Hub says they are; those leave nothing new behind.
    """
    report(Progress("pulling manifest"))
    repository = _repository(name)
    chosen = choose(repository.files, name.tag, str(name))
    previous = store.manifest_or_none(store.tags.spelled(name.pinned_tag(), is_new=True))
    assembly = _Assembly(repository, store, throttle, report)
    try:
        with store.writing():
            model = assembly.model(chosen)
            if name.digest and model.digest != name.digest:
                hint = "the repository was changed since, or the digest is of another quantisation"
                raise MismatchError(f"{name}: manifest", expected=str(name.digest), got=str(model.digest), hint=hint)
            report(Progress("verifying sha256 digest"))
            report(Progress("writing manifest"))
            stored = store.tag(name, model)
    except IntegrityError:
        assembly.unwanted += assembly.fetched
        raise
    else:  # what kept them until now
        assembly.unwanted += assembly.fetched
    finally:
        if assembly.unwanted:
            store.discard(assembly.unwanted)
    if previous not in (None, model):
        report(Progress("removing unused layers"))  # done by then; clients wait for the line
    report(Progress("success"))
    return store.find(stored)


def blob(name: Name, wanted: Descriptor, store: Store) -> Iterator[bytes]:
    """The bytes of one of the model's blobs that is a file of the repository as it is now, to put a damaged one right.

    Raises RegistryError when it has no such file, MismatchError.
    """
    repository = _repository(name)
    from .hub_files import landing

    for file in repository.files:
        is_like = file.sha256 is None and file.size == wanted.size <= _MAX_TEXT
        if file.sha256 == wanted.digest or is_like:
            with landing(store.blobs) as folder:
                path, digest = repository.download(file, folder, _unheard)
                if digest == wanted.digest:
                    with path.open("rb") as opened:
                        yield from iter(lambda: opened.read(CHUNK), b"")
                    return
    hint = "it was put together here, or the repository has changed; pull the model again"
    raise RegistryError(f"{name}: no file of the repository is {wanted.digest}", hint=hint)


def _unheard(_: int) -> None:
    """What comes is reported as it is put in place."""


def _repository(name: Name) -> Repository:
    if name.repository.count("/") != 1:
        raise InputError(f"{name}: no repository of the Hub", hint=f"write {name.host}/USER/REPOSITORY:QUANTISATION")
    # It warns of settings, and of what is looked at here anyway.
    warnings.filterwarnings("ignore", module="huggingface_hub")
    try:
        import_module("huggingface_hub.constants")  # which reads them; its other modules print what they raise
    except ValueError as cause:
        hint = "look at the variables that begin with HF_"
        raise InputError(f"huggingface_hub cannot use its settings: {cause}", hint=hint) from cause
    from .hub_files import find_repository  # takes a while, for which nobody else should wait

    return find_repository(name.repository, str(name))


class _Assembly:
    """A model being put together in the store out of a repository's files."""

    def __init__(self, repository: Repository, store: Store, throttle: Throttle, report: Report) -> None:
        self._repository = repository
        self._identity = repository.identity
        self._store = store
        self._blobs = store.blobs
        self._throttle = throttle
        self._report = report
        self.fetched: list[Digest] = []
        """What was not here before."""
        self.unwanted: list[Digest] = []
        """What came in and must not stay, unless something else needs it."""

    def model(self, chosen: Choice) -> Manifest:
        """Bring in all that is chosen. Raises RegistryError, IntegrityErrors."""
        layers = [self._text(kind, file) for kind, file in chosen.texts.items() if file.size]
        whole = chosen.weights[0] if len(chosen.weights) == 1 else None
        weights = self._file(whole, manifest.MODEL) if whole else self._merged(chosen.weights)
        header = self._header(weights, "model", chosen.weights[0])
        layers.append(weights)
        if chosen.projector:
            layers.append(self._file(chosen.projector, manifest.PROJECTOR))
            self._header(layers[-1], "projector", chosen.projector)
        return Manifest.build(self._put(Config.of(header).encode(), manifest.CONFIG_TYPE), layers)

    def _header(self, blob: Descriptor, kind: str, file: HubFile) -> GGUF:
        header = gguf.read(self._blobs.path(blob.digest), f"{self._identity}: {file.path}")
        if header.kind != kind or parts.count(header) > 1:
            found = f"one of {parts.count(header)} parts" if parts.count(header) > 1 else f"a {header.kind}"
            hint = "its name says otherwise; name another file of the repository"
            raise IntegrityError(f"{self._identity}: {file.path}: it is {found}, expected a {kind}", hint=hint)
        return header

    def _text(self, kind: str, file: HubFile) -> Descriptor:
        from .hub_files import landing

        what = f"{self._identity}: {kind}"
        if file.size > _MAX_TEXT:
            raise MismatchError(what, expected=f"at most {_MAX_TEXT} bytes", got=str(file.size))
        with landing(self._blobs) as folder:
            data = self._here(file, folder).read_bytes()
        try:
            text = data.decode()
            if kind == "params" and not isinstance(json.loads(text), dict):
                raise ValueError("it is no object")
        except (ValueError, RecursionError) as cause:
            raise IntegrityError(f"{what}: it cannot be used: {cause}", hint="tell the repository's owner") from None
        return self._put(data, _MEDIA_TYPES[kind])

    def _put(self, data: bytes, media_type: str) -> Descriptor:
        blob = self._noted(self._blobs.put(data, media_type))
        self._report(Progress(f"pulling {blob.digest.short}", blob.digest, blob.size, blob.size))
        return blob

    def _noted(self, written: Written) -> Descriptor:
        self.fetched += [written.blob.digest] if written.is_new else []
        return written.blob

    def _file(self, file: HubFile, media_type: str) -> Descriptor:
        """A file as a blob: from the store, else from the cache, else from the Hub."""
        if file.sha256 is None:  # a small one, in git itself
            return self._fetched(file, media_type)
        blob = Descriptor(media_type, file.sha256, file.size)
        with self._blobs.once(blob.digest):
            if not self._blobs.is_kept(blob):
                return self._fetched(file, media_type)
        self._report(Progress(f"pulling {blob.digest.short}", blob.digest, blob.size, blob.size))
        return blob

    def _fetched(self, file: HubFile, media_type: str) -> Descriptor:
        from .hub_files import landing

        if cached := self._repository.cached(file):
            written = self._blobs.adopt(cached, media_type, lambda done: self._tell(file, done))
            blob = self._noted(written)
            with suppress(MismatchError):
                if blob.digest == (file.sha256 or self._repository.check(file, self._blobs.path(blob.digest))):
                    self._tell(file, file.size)
                    return blob
            # Damaged in the cache: that is its owner's to mend, and the Hub has another.
            self.unwanted.append(blob.digest)
        with landing(self._blobs) as folder:
            path, digest = self._downloaded(file, folder)
            blob = Descriptor(media_type, digest, file.size)
            if not self._blobs.is_kept(blob):
                with path.open("rb") as opened:
                    allow_group(opened.fileno(), self._blobs.ingest_folder)
                    self._blobs.place(opened.fileno(), path, digest, is_lent=True)
                self.fetched.append(digest)
        self._tell(file, file.size)
        return blob

    def _tell(self, file: HubFile, done: int) -> None:
        self._report(Progress(f"pulling {file.short}", file.sha256, file.size, done))

    def _here(self, file: HubFile, folder: Path) -> Path:
        """The file, verified: in the store, in the cache, or fetched into the folder."""
        if file.sha256 and self._blobs.is_kept(Descriptor("", file.sha256, file.size)):
            return self._blobs.path(file.sha256)
        if cached := self._repository.cached(file):
            with suppress(MismatchError):
                self._repository.check(file, cached)
                return cached
        return self._downloaded(file, folder)[0]

    def _downloaded(self, file: HubFile, folder: Path) -> tuple[Path, Digest]:
        came = 0

        def on_bytes(done: int) -> None:
            nonlocal came
            self._throttle.take(max(done - came, 0))
            came = done
            self._tell(file, done)

        return self._repository.download(file, folder, on_bytes)

    def _merged(self, split: tuple[HubFile, ...]) -> Descriptor:
        """The one blob that the parts of a split file make. Which one that is is remembered, as no list says it."""
        from .hub_files import landing

        key = Digest.of("\n".join(str(file.sha256 or file.git_id) for file in split).encode())
        record = self._store.root / ".corral" / "merged" / key.filename
        with self._blobs.once(key):
            if blob := self._known(record):
                self._report(Progress(f"pulling {blob.digest.short}", blob.digest, blob.size, blob.size))
                return blob
            with landing(self._blobs) as folder:
                paths: list[Path] = []
                for number, file in enumerate(split):
                    own = folder / str(number)
                    own.mkdir()
                    paths.append(self._here(file, own))
                    self._tell(file, file.size)
                report = self._report
                blob = self._noted(
                    parts.merge(
                        self._blobs,
                        paths,
                        manifest.MODEL,
                        lambda done: report(Progress("merging split GGUF", completed=done)),
                    )
                )
            text = f"{blob.digest} {blob.size}\n".encode()
            write_whole(record, text, self._blobs.ingest_folder, is_durable=False)
        return blob

    def _known(self, record: Path) -> Descriptor | None:
        with suppress(OSError, ValueError, InvalidDigestError):
            digest, size = record.read_text().split()
            blob = Descriptor(manifest.MODEL, Digest.parse(digest), int(size))
            return blob if self._blobs.is_kept(blob) else None
        return None
