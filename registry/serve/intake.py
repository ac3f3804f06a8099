"""Intake: manifests that clients give the registry, checked and kept to the byte; models become the store's models."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from ...store import gguf, locks
from ...store.digest import Digest
from ...store.errors import (
    BlobNotFoundError,
    InputError,
    IntegrityError,
    InvalidManifestError,
    shown,
)
from ...store.kept import MAX_BYTES, Original
from ...store.local import Store
from ...store.manifest import MANIFEST_TYPE, MAX_MANIFEST_BYTES, Descriptor, Manifest
from ...store.name import Name
from ...store.repositories import Entry, Tagged
from ...store.repository import Repository, is_tag
from ..contents import Contents
from ..formats.document import DOCKER_LIST, OCI_INDEX, OCI_MANIFEST, agreed_type
from ..formats.reading import recognise
from .catalog import Catalog, read_digest
from .errors import ServingError

MAX_TAGS = 100
"""That one request may set."""
_KNOWN = {OCI_MANIFEST, MANIFEST_TYPE, OCI_INDEX, DOCKER_LIST}
_MANIFESTS = {OCI_MANIFEST, MANIFEST_TYPE}
_GENERIC = {"", "application/json", "application/octet-stream", "text/plain"}
_TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}")
"""By RFC 6838, part 4.2; it is given as a header."""
_ELSEWHERE = ("application/vnd.oci.image.layer.nondistributable.", "application/vnd.docker.image.rootfs.foreign.")
"""Layers that are not for registries; they may be absent."""


Expects: TypeAlias = "Callable[[set[Digest]], bool]"
"""Whether what has these digests by now, none where there is nothing, is what the client thinks that it replaces."""


@dataclass(frozen=True, slots=True)
class Taken:
    """A manifest that was kept."""

    digest: Digest
    subject: Digest | None
    """The manifest that it is about."""


class Intake:
    """Takes manifests into a catalog."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._store: Store = catalog.store
        self._reading = threading.Lock()
        """One manifest is read at a time: 4 MiB of brackets are a hundred in memory."""

    def put(
        self,
        repository: Repository,
        reference: str,
        media_type: str,
        raw: bytes,
        tags: Sequence[str] = (),
        expects: Expects | None = None,
    ) -> Taken:
        """Keep a manifest and point the tags at it. Raises ServingError for what is wrong with it."""
        if ":" in reference:
            digest = read_digest(reference)
            got = Digest(digest.algorithm, hashlib.new(digest.algorithm, raw).hexdigest())
            if got != digest:
                raise ServingError("DIGEST_INVALID", f"the manifest's digest is {got}, not {digest}")
        else:
            digest, tags = Digest.of(raw), list(dict.fromkeys([reference, *tags]))
        for tag in tags:
            if not is_tag(tag):
                raise ServingError("MANIFEST_INVALID", f"{shown(tag)} is no tag: up to 128 letters, digits and _ - .")
        if len(tags) > MAX_TAGS:
            raise ServingError("MANIFEST_INVALID", f"{len(tags)} tags, at most {MAX_TAGS} at once")
        with self._reading:
            contents, media_type = self._read(raw, media_type)
        if expects:
            self._check_expected(repository, reference, expects)
        needed = self._needed(repository, contents)
        subject = contents.subject.descriptor.digest if contents.subject else None
        entry = Entry(
            str(digest),
            media_type,
            tuple(str(blob) for blob in needed),
            tuple(str(part.descriptor.digest) for part in contents.manifests),
            str(subject or ""),
        )
        store = self._store
        with store.writing():
            try:
                for blob in needed.values():
                    store.blobs.leases.add(blob)
                store.lend(repository, needed.values())
                with locks.shared(store.blobs.lock_file):
                    store.repositories.put(repository, entry, raw)
                name = next(filter(None, map(repository.name, tags)), None)
                # What may be absent need not be the repository's; a model of it would give it away.
                is_whole = all(blob.digest in needed for blob in contents.blobs)
                model = self._model(name, entry, raw) if name and is_whole else None
                for tag in tags:
                    self._tag(repository, tag, entry, model, expects if tag == reference else None)
            except BlobNotFoundError as error:
                raise ServingError("MANIFEST_BLOB_UNKNOWN", str(error)) from None
        return Taken(digest, subject)

    def _read(self, raw: bytes, media_type: str) -> tuple[Contents, str]:
        """What it names, and its media type. What is of an unknown type need not be what we know of manifests."""
        if len(raw) > MAX_MANIFEST_BYTES:
            why = f"a manifest of {len(raw)} bytes; at most {MAX_MANIFEST_BYTES} are taken"
            raise ServingError("SIZE_INVALID", why, status=413)
        try:
            contents, media_type = _understood(raw, media_type)
        except InvalidManifestError as error:
            raise ServingError("MANIFEST_INVALID", str(error)) from None
        if not _TYPE.fullmatch(media_type):
            raise ServingError("MANIFEST_INVALID", f"{shown(media_type)} is no media type")
        return contents, media_type

    def _needed(self, repository: Repository, contents: Contents) -> Mapping[Digest, Digest]:
        """The blobs that have to be in the repository, and their sha256. Raises ServingError unless all are."""
        found: dict[Digest, Digest] = {}
        missing: list[str] = []
        for blob in contents.blobs:
            try:
                sha256 = self._catalog.blob(repository, blob.digest)
            except ServingError:
                if not blob.media_type.startswith(_ELSEWHERE):
                    missing.append(str(blob.digest))
                continue
            size = self._store.blobs.size(sha256)
            if size != blob.size:
                why = f"{blob.digest} has {size} bytes, not {blob.size}"
                raise ServingError("MANIFEST_INVALID", why, detail={"digest": str(blob.digest)})
            found[blob.digest] = sha256
        if missing:
            names = ", ".join(missing[:8])
            detail = [{"digest": digest} for digest in missing[:100]]
            raise ServingError("MANIFEST_BLOB_UNKNOWN", f"{repository} has no blob {names}", detail=detail)
        return found

    def _check_expected(self, repository: Repository, reference: str, expects: Expects) -> None:
        if not expects(self._catalog.digests(repository, reference)):
            why = f"{repository}: {reference} is not what the request's condition says"
            raise ServingError("DENIED", why, status=412)

    def _tag(
        self, repository: Repository, tag: str, entry: Entry, model: Manifest | None, expects: Expects | None
    ) -> None:
        store, name = self._store, repository.name(tag)
        with locks.keyed(store.blobs.busy_file(repository.filename)):
            if expects:
                self._check_expected(repository, tag, expects)
            if name and not self._catalog.is_free(name):  # there is another tag, which to Ollama is this one
                name = None
            tagged = Tagged(entry.digest, str(model.digest) if model and name else "")
            # Where it ends in between, the tag is still what it was; all there is of what is no model is the tag itself.
            before = store.repositories.tagged(repository, tag)
            if name and model and before and not before.model:
                store.tag(name, model)
            with locks.shared(store.blobs.lock_file):
                store.repositories.tag(repository, tag, tagged)
            if name and model:
                store.tag(name, model)
            else:
                self._catalog.remove_model(repository, tag)

    def _model(self, name: Name, entry: Entry, raw: bytes) -> Manifest | None:
        """The manifest, in the store's form, of the model that it is; None where it is none, or one in several files."""
        store = self._store
        try:
            packed = recognise(raw, entry.media_type, str(name))
            small = {blob.digest: store.blobs.read(blob, MAX_BYTES) for blob in packed.small}
            unpacked = packed.model(small, lambda digest: gguf.read(store.blobs.path(digest)), _unmerged)
            for blob, data in unpacked.made:
                store.blobs.put(data, blob.media_type)
            store.check_complete(unpacked.manifest)
            if unpacked.manifest.raw != raw:
                store.kept.put(unpacked.manifest.digest, Original(entry.media_type, raw, small))
        except (InputError, IntegrityError):
            return None
        return unpacked.manifest


def _unmerged(_: Sequence[Digest]) -> Descriptor:
    """The parts of a split GGUF would be here twice."""
    raise InvalidManifestError("manifest", "its weights are in several files")


def _understood(raw: bytes, media_type: str) -> tuple[Contents, str]:
    """What a manifest names, and its media type. Raises InvalidManifestError."""
    try:
        contents = Contents.parse(raw, "manifest")
    except InvalidManifestError:
        if media_type.lower() in _KNOWN | _GENERIC:
            raise
        return Contents(), media_type
    agreed = agreed_type(contents, media_type, "manifest")
    if not agreed:
        media_type = agreed = OCI_INDEX if contents.manifests else OCI_MANIFEST
    elif not media_type or contents.media_type.lower() == agreed:
        media_type = contents.media_type or media_type
    if agreed in _MANIFESTS and contents.config is None:
        raise InvalidManifestError("manifest", "it has no config")
    if agreed in _KNOWN - _MANIFESTS and contents.config:
        raise InvalidManifestError("manifest", "it has a config, as no index has")
    return contents, media_type
