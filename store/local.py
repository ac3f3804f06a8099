"""Store: the models of this machine, on Ollama's own layout. Blobs, tags, and the promises between them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from . import gc, locks
from .blobs import BlobStore
from .digest import Digest
from .errors import (
    BlobNotFoundError,
    InputError,
    InvalidManifestError,
    MachineError,
    MismatchError,
    ModelNotFoundError,
    system_errors,
)
from .files import write_whole
from .kept import Kept
from .manifest import Manifest
from .name import Name
from .repositories import Repositories
from .repository import Repository
from .tags import TaggedModel, Tags

FORMAT = 1


class Store:
    """A store root folder. Opening it creates nothing, and raises StoreError where there can be no folder.

    A tag points at a complete model or does not exist; what is written between `writing()` and `tag()` is safe from the
    collector. Stores at `below` are only read: their models are seen where this one has none of the name, and their blobs
    need not be here.
    """

    def __init__(self, root: Path | str, below: Sequence[Path] = ()) -> None:
        self.root = Path(root)
        self.below = tuple(Store(path) for path in below)
        self.blobs = BlobStore(self.root, [store.blobs for store in self.below])
        self.tags = Tags(self.root)
        self.kept = Kept(self.root, self.blobs.leases, self.blobs.lock_file, [store.kept for store in self.below])
        self.repositories = Repositories(self.root)
        self._check_format()

    def find(self, name: Name) -> TaggedModel:
        """The model of this name; a name with a digest is found under any tag of the same model.

        Raises ModelNotFoundError, InvalidManifestError.
        """
        for store in (self, *self.below):
            with contextlib.suppress(ModelNotFoundError):
                return store.tags.read(name) if name.digest is None else store.pinned(name)
        raise ModelNotFoundError(str(name))

    def pinned(self, name: Name) -> TaggedModel:
        """The model of this very store that a name with a digest means. Raises ModelNotFoundError."""
        for candidate in (name, name.pinned_tag(), *self.tags.names()):
            if candidate.folded()[:3] == name.folded()[:3]:
                with contextlib.suppress(ModelNotFoundError, InvalidManifestError):
                    found = self.tags.read(candidate)
                    if name.digest in self.digests(found.manifest):
                        return found
        raise ModelNotFoundError(str(name))

    def digests(self, manifest: Manifest) -> list[Digest]:
        """What a model may be pinned by: its manifest's digest, and that of the one it was pulled as."""
        original = self.kept.find(manifest.digest)
        return [manifest.digest, *([original.digest] if original else [])]

    def models(self) -> tuple[list[TaggedModel], list[InvalidManifestError]]:
        """All models that can be found by name, newest first, and for each unreadable manifest what is wrong with it."""
        seen: dict[tuple[str, ...], TaggedModel] = {}
        broken: list[InvalidManifestError] = []
        for store in (self, *self.below):
            models, unreadable = store.tags.models()
            broken += unreadable
            for model in models:
                seen.setdefault(model.name.folded(), model)
        return sorted(seen.values(), key=lambda model: (-model.modified, str(model.name))), broken

    def tags_of(self, name: Name) -> list[Name]:
        """The names of all tags of the same model, in the order of the tags, of which those below are seen last."""
        found: dict[tuple[str, ...], Name] = {}
        for store in (self, *self.below):
            for one in store.tags.of_model(name):
                found.setdefault(one.folded(), one)
        return sorted(found.values(), key=lambda one: one.tag)

    def writing(self) -> AbstractContextManager[None]:
        """Hold a lease on what is written, or found to be here, in the block: no collection takes it before it is tagged."""
        self._prepare()
        return self.blobs.leases.held()

    def tag(self, name: Name, manifest: Manifest) -> Name:
        """Point `name` at the manifest once all its blobs are seen to be here, and return the spelling stored.

        Its blobs are touched first and looked at again afterwards, because an Ollama on the same store prunes by age; under
        a name that is not Ollama's they are put out of its reach. Of the model that had the name before, those go that
        nothing else needs.
        Raises BlobNotFoundError or MismatchError, and leaves no tag, when one is missing or has another size.
        """
        name = self.tags.spelled(name.pinned_tag(), is_new=True)
        self._prepare()
        with locks.shared(self.blobs.lock_file):
            self.check_complete(manifest)
            digests = [blob.digest for blob in manifest.blobs]
            for digest in digests:
                self.blobs.touch(digest)
            self.blobs.secure(digests, is_ollamas=name.is_ollamas)
            before = self.manifest_or_none(name)
            self.tags.write(name, manifest)
            try:
                if name.is_ollamas:  # from now on they are not pruned; until now they may have been
                    self.blobs.secure(digests, is_ollamas=True)
                self.check_complete(manifest)
            except (BlobNotFoundError, MismatchError):
                if before is None:
                    self.tags.delete(name)
                else:
                    self.tags.write(name, before)
                raise
        if before is not None and before != manifest:
            self.discard({*self._forget_served(name, manifest.digest), *(blob.digest for blob in before.blobs)})
        return name

    def lend(self, repository: Repository, blobs: Iterable[Digest]) -> None:
        """Have blobs that are here belong to a repository of the registry server, safe from an Ollama on the same store.

        Raises BlobNotFoundError when one is not here any more.
        """
        blobs = set(blobs)
        with locks.shared(self.blobs.lock_file):
            self.blobs.secure(blobs, is_ollamas=False)
            for blob in blobs:
                self.repositories.link(repository, blob)
        if gone := next((blob for blob in blobs if self.blobs.size(blob) is None), None):
            raise BlobNotFoundError(str(gone))

    def check_complete(self, manifest: Manifest) -> None:
        """Raise BlobNotFoundError or MismatchError unless every blob is here with its size."""
        for blob in manifest.blobs:
            self.blobs.check(blob)

    def copy(self, source: Name, destination: Name) -> Name:
        """Give a model a second name; no blob is copied. Returns the new name as stored."""
        return self.tag(destination, self.find(source).manifest)

    def remove(self, name: Name) -> Name:
        """Delete the tag, also a broken one, and at once those of its blobs that nothing else needs or relies on.

        A name with a digest is that of what was pulled by the digest, else the first tag of the same model. Returns what was
        deleted. Where a broken manifest may need them, the blobs stay for the next `gc`.
        """
        if name.digest:
            pinned = self.tags.spelled(name.pinned_tag())
            name = pinned if self.manifest_or_none(pinned) else self.find(name).name
        manifest = self.manifest_or_none(name)
        try:
            self.tags.delete(name)
        except ModelNotFoundError:
            for store in self.below:
                if any(name.folded() == other.folded() for other in store.tags.names()):
                    raise InputError(f"model '{name}' is in {store.root}, which is only read") from None
            raise
        freed = self._forget_served(name, None)
        if manifest is not None:
            self.discard({*freed, *(blob.digest for blob in manifest.blobs)})
        return name

    def _forget_served(self, name: Name, model: Digest | None) -> set[Digest]:
        """The tag does not point any more at what a client of the registry server gave it, unless that is this model.

        Returns the blobs that are needed less.
        """
        repository = Repository.of(name)
        return self.repositories.replaced(repository, name.tag, str(model or "")) if repository else set()

    def discard(self, digests: Iterable[Digest]) -> None:
        """Remove those of the blobs that no manifest names and no process relies on; all stay where that cannot be known."""
        self._prepare()
        with contextlib.suppress(InvalidManifestError), locks.exclusive(self.blobs.lock_file):
            gc.collect(self.blobs, self.tags, self.kept, self.repositories, only=digests)

    def collect(
        self, *, older_than: float = gc.DEFAULT_AGE, takes_untagged: bool = False, is_dry: bool = False
    ) -> gc.Collected:
        """Remove every unreferenced blob that no process relies on; `is_dry` only says which. Raises InvalidManifestError.

        `takes_untagged` has manifests go, too, that clients of the registry server gave and no tag leads to.
        """
        if not self.root.is_dir():
            return gc.Collected()
        self._prepare()
        with locks.exclusive(self.blobs.lock_file):
            if not is_dry:
                self._forget_removed()
            return gc.collect(
                self.blobs,
                self.tags,
                self.kept,
                self.repositories,
                older_than=older_than,
                takes_untagged=takes_untagged,
                is_dry=is_dry,
            )

    def _forget_removed(self) -> None:
        """Ollama has removed or replaced models that clients of the registry server gave."""
        for repository in self.repositories:
            # Where a tag is being set the model comes last; the next collection looks there.
            busy = locks.keyed(self.blobs.busy_file(repository.filename), waits=False)
            with contextlib.suppress(locks.BusyError), busy:
                for tag, tagged in list(self.repositories.tags(repository)):
                    if tagged.model and (name := repository.name(tag)):
                        found = self.manifest_or_none(name)
                        self.repositories.replaced(repository, tag, str(found.digest) if found else "")

    def manifest_or_none(self, name: Name) -> Manifest | None:
        """What the tag points at; None when there is no such tag or its manifest is unreadable."""
        with contextlib.suppress(ModelNotFoundError, InvalidManifestError):
            return self.tags.read(name).manifest
        return None

    @property
    def _format_file(self) -> Path:
        return self.root / ".corral" / "format"

    def _prepare(self) -> None:
        self.blobs.prepare()
        if not self._format_file.exists():
            with system_errors(self._format_file, "write to the store"):
                write_whole(self._format_file, f"{FORMAT}\n".encode(), self.blobs.ingest_folder)

    def _check_format(self) -> None:
        with system_errors(self.root, "open the store"):
            try:
                text = self._format_file.read_text(errors="replace").strip()
            except FileNotFoundError:
                return
        if text != str(FORMAT):
            raise MachineError(
                f"{self.root}: store format {text[:20]!r}, this corral knows {FORMAT}",
                hint="use the corral that wrote it, or a newer one",
            )
