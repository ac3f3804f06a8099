"""Catalog: what a registry that serves a store has: the models of the store, and what its clients gave it.

A tag of the store's wins over what a client gave under it, once the two differ: whoever changes a model on this machine,
be it with Ollama, changes what is served.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from typing import BinaryIO, TypeAlias

from ...store import layout, locks
from ...store.digest import Digest
from ...store.errors import (
    BlobNotFoundError,
    InputError,
    InvalidDigestError,
    InvalidManifestError,
    ModelNotFoundError,
)
from ...store.local import Store
from ...store.manifest import MANIFEST_TYPE, Manifest
from ...store.name import Name
from ...store.repositories import Tagged
from ...store.repository import Repository, is_tag
from ..contents import Contents, Part
from ..formats.document import OCI_MANIFEST
from .errors import ServingError

Prefers: TypeAlias = "Callable[[Sequence[str]], str]"
"""Which of these media types a client would rather have, the first where it is all the same to it; "" for none of them."""


@dataclass(frozen=True, slots=True)
class Served:
    """A manifest as it is given to a client."""

    digest: Digest
    media_type: str
    raw: bytes


class Catalog:
    """The repositories of one store."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def repositories(self) -> list[Repository]:
        """All of them, in their order."""
        stores = (self.store, *self.store.below)
        names = chain.from_iterable(store.tags.names() for store in stores)
        found = {repository for name in names if (repository := Repository.of(name))}
        found.update(repository for repository in self.store.repositories if self._has_given(repository))
        return sorted(found)

    def tags(self, repository: Repository) -> list[str]:
        """A repository's tags, in their order. Raises ServingError when there is no such repository."""
        tags = {tag for tag, _ in self._models(repository) if not _is_digest(tag)}
        given = self.store.repositories.tags(repository)
        tags.update(tag for tag, tagged in given if not tagged.model or _is_digest(tag))
        if not tags and not self._has_given(repository) and not any(self._models(repository)):
            raise ServingError("NAME_UNKNOWN", f"{repository}: no such repository", detail={"name": str(repository)})
        return sorted(tags)

    def manifest(self, repository: Repository, reference: str, prefers: Prefers) -> Served:
        """The manifest of a tag or digest. Of a model that has several forms a tag gives one that the client takes.

        Raises ServingError when there is none.
        """
        found = None
        if ":" in reference:
            found = self._by_digest(repository, read_digest(reference))
        elif is_tag(reference):
            found = self._by_tag(repository, reference, prefers)
        if not found:
            what = f"{repository}: no manifest {reference}" if ":" in reference else f"{repository}: no tag {reference}"
            raise ServingError("MANIFEST_UNKNOWN", what, detail={"reference": reference})
        return found

    def digests(self, repository: Repository, reference: str) -> set[Digest]:
        """Those of the forms in which what the reference names is given; none where there is nothing."""
        with suppress(ServingError):
            if ":" in reference:
                return {self.manifest(repository, reference, _first).digest}
            return {self.manifest(repository, reference, _only(form)).digest for form in (MANIFEST_TYPE, OCI_MANIFEST)}
        return set()

    def blob(self, repository: Repository, digest: Digest) -> Digest:
        """The sha256 of a blob that the repository has. Raises ServingError when it has no such blob."""
        sha256 = self.store.repositories.resolved(digest)
        is_its = sha256 and (self.store.repositories.is_linked(repository, sha256) or self._names(repository, sha256))
        blobs = self.store.blobs
        if (
            not sha256
            or not is_its
            or blobs.size(sha256) is None
            or not blobs.links.is_intact(sha256, blobs.path(sha256))
        ):
            raise _no_blob(repository, digest)
        return sha256

    def open(self, repository: Repository, digest: Digest) -> BinaryIO:
        """The bytes of a blob that the repository has. Raises ServingError when it has no such blob."""
        try:
            return self.store.blobs.open(self.blob(repository, digest))
        except BlobNotFoundError:  # removed this moment
            raise _no_blob(repository, digest) from None

    def mount(self, repository: Repository, digest: Digest, sources: Iterator[Repository]) -> bool:
        """Have the repository have a blob that one of the others has, those that the client may read; whether it does."""
        sha256 = self.store.repositories.resolved(digest)
        if sha256 is None or self.store.blobs.size(sha256) is None:
            return False
        for source in sources:
            with suppress(ServingError):
                with self.store.writing():
                    self.store.blobs.leases.add(sha256)
                    self.blob(source, sha256)
                    self.store.lend(repository, [sha256])
                return True
        return False

    def referrers(self, repository: Repository, subject: Digest, behind: str = "") -> Iterator[Part]:
        """What manifests of the repository say that they are about another, by their digests, of those `behind` one."""
        for digest in self.store.repositories.manifests(repository):
            entry = self.store.repositories.entry(repository, digest) if str(digest) > behind else None
            if not entry or entry.subject != str(subject):
                continue
            if given := self.store.repositories.manifest(repository, digest):
                _, raw = given
                yield Contents.parse(raw, str(digest)).described(digest, entry.media_type, len(raw))

    def delete_manifest(self, repository: Repository, reference: str) -> None:
        """Remove a tag; or, named by its digest, a manifest with all its tags. Raises ServingError."""
        digest = read_digest(reference) if ":" in reference else None
        # As when a tag is set: what is pushed meanwhile under one of the tags is not what was to go.
        with locks.keyed(self.store.blobs.busy_file(repository.filename)):
            gone = self._delete(repository, digest) if digest else self._delete_tag(repository, reference)
        if not gone:
            raise ServingError("MANIFEST_UNKNOWN", f"{repository}: no manifest {reference}")

    def delete_blob(self, repository: Repository, digest: Digest) -> None:
        """Have the repository have a blob no more. Raises ServingError, also where a model needs it."""
        sha256 = self.blob(repository, digest)
        if self._names(repository, sha256):
            raise ServingError("DENIED", f"{repository}: a model needs the blob {digest}; delete that first")
        self.store.repositories.unlink(repository, sha256)

    def model(self, repository: Repository, tag: str) -> Manifest | None:
        """The model of the store that a tag is: of another spelling only where no client gave this very one."""
        name = repository.name(tag)
        with suppress(ModelNotFoundError, InvalidManifestError):
            given = self.store.repositories.tagged(repository, tag)
            if name and (self.is_free(name) or not given or given.model):  # that of a model which is gone says nothing
                return self.store.find(name).manifest
        return None

    def is_free(self, name: Name) -> bool:
        """Whether no other tag of the stores differs by case alone: to Ollama they would be one, to clients they are two."""
        return all(store.tags.spelled(name).tag == name.tag for store in (self.store, *self.store.below))

    def remove_model(self, repository: Repository, tag: str) -> None:
        """Remove the model of the store that a tag is, if it is one. Raises ServingError where it is only read."""
        try:
            name = repository.name(tag)
            if name and self.is_free(name):
                self.store.remove(name)
        except ModelNotFoundError:
            pass
        except InputError:
            raise ServingError("DENIED", f"{repository}:{tag} is only read here") from None

    def _by_tag(self, repository: Repository, tag: str, prefers: Prefers) -> Served | None:
        model = self.model(repository, tag)
        tagged = self.store.repositories.tagged(repository, tag)
        if tagged and _is_current(tagged, model) and (given := self._given(repository, Digest.parse(tagged.digest))):
            is_refused = not prefers([given.media_type]) and prefers([MANIFEST_TYPE])
            return _stored(model) if model and is_refused else given
        if model and prefers([MANIFEST_TYPE, OCI_MANIFEST]) == OCI_MANIFEST:
            return _wrapped(model) or _stored(model)
        return _stored(model) if model else None

    def _by_digest(self, repository: Repository, digest: Digest) -> Served | None:
        if given := self._given(repository, digest):
            return given
        for _, model in self._models(repository):
            if model.digest == digest:
                return _stored(model)
        for _, model in self._models(repository):  # only who was given it so asks for it
            wrapped = _wrapped(model)
            if wrapped and wrapped.digest == digest:
                return wrapped
        return None

    def _given(self, repository: Repository, digest: Digest) -> Served | None:
        found = self.store.repositories.manifest(repository, digest)
        return Served(digest, found[0].media_type, found[1]) if found else None

    def _has_given(self, repository: Repository) -> bool:
        return any(self.store.repositories.manifests(repository)) or any(self.store.repositories.blobs(repository))

    def _models(self, repository: Repository) -> Iterator[tuple[str, Manifest]]:
        """The models of the store that the repository is, by their tags."""
        if name := repository.name("latest"):
            for one in self.store.tags_of(name):
                with suppress(ModelNotFoundError, InvalidManifestError):
                    yield one.tag, self.store.find(one).manifest

    def _names(self, repository: Repository, sha256: Digest) -> bool:
        """Whether a model of the repository needs the blob."""
        return any(sha256 == blob.digest for _, model in self._models(repository) for blob in model.blobs)

    def _delete_tag(self, repository: Repository, tag: str) -> bool:
        if not is_tag(tag):
            return False
        name = repository.name(tag)
        model = self.model(repository, tag) if name and self.is_free(name) else None
        tagged = self.store.repositories.tagged(repository, tag)
        gone = bool(tagged and _is_current(tagged, model))
        self.store.repositories.untag(repository, tag)  # first: so the manifest is still there by its digest
        if model:
            self.remove_model(repository, tag)
        return gone or model is not None

    def _delete(self, repository: Repository, digest: Digest) -> bool:
        tags = set[str]()
        for tag, tagged in self.store.repositories.tags(repository):
            model = self.model(repository, tag)
            if tagged.digest == str(digest) and model and _is_current(tagged, model):
                tags.add(tag)
        for tag, model in self._models(repository):
            wrapped = _wrapped(model)
            if digest in (model.digest, wrapped and wrapped.digest):
                tags.add(tag)
        # First: so the blobs are still the repository's, of which another manifest may be about to come.
        found = self.store.repositories.remove(repository, digest)
        for tag in tags:
            self.remove_model(repository, tag)
        return found or bool(tags)


def _first(types: Sequence[str]) -> str:
    return types[0]


def _only(form: str) -> Prefers:
    return lambda types: form if form in types else ""


def read_digest(text: str) -> Digest:
    """A digest in a URL. Raises ServingError."""
    try:
        return Digest.parse(text)
    except InvalidDigestError:
        why = "a digest is sha256: and 64, or sha512: and 128, lower-case hex digits"
        raise ServingError("DIGEST_INVALID", why) from None


def _no_blob(repository: Repository, digest: Digest) -> ServingError:
    return ServingError("BLOB_UNKNOWN", f"{repository}: no blob {digest}", detail={"digest": str(digest)})


def _is_current(tagged: Tagged, model: Manifest | None) -> bool:
    """Whether what a client gave is still what the tag is."""
    return tagged.model == (str(model.digest) if model else "")


def _is_digest(tag: str) -> bool:
    """Whether a model was pulled by its digest; to a client the tag would be a list of referrers."""
    with suppress(InvalidDigestError):
        Digest.from_filename(tag)
        return True
    return False


def _stored(model: Manifest) -> Served:
    """The model as the store has it: as an OCI manifest, where another tool made that of it."""
    media_type = MANIFEST_TYPE
    with suppress(InvalidManifestError):
        if Contents.parse(model.raw, str(model.digest)).media_type == OCI_MANIFEST:
            media_type = OCI_MANIFEST
    return Served(model.digest, media_type, model.raw)


def _wrapped(model: Manifest) -> Served | None:
    """The model as an OCI image manifest, to the byte as `corral push --format oci` gives it."""
    if (own := _stored(model)).media_type == OCI_MANIFEST:
        return own
    try:
        raw = layout.wrap(model)
    except InvalidManifestError:
        return None
    return Served(Digest.of(raw), OCI_MANIFEST, raw)
