"""Pull: a model from a registry into the store, every byte verified before it has a name."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, suppress
from functools import partial

from ..store import gguf, parts
from ..store.digest import Digest
from ..store.errors import IntegrityError, InvalidManifestError, MismatchError, RemoteError
from ..store.header import GGUF
from ..store.kept import Original
from ..store.local import Store
from ..store.manifest import MODEL, Descriptor, Manifest
from ..store.name import Name
from ..store.progress import Progress, Report, silent
from ..store.tags import TaggedModel
from . import hub
from .errors import UNSOUND, RegistryError
from .fetch import Fetching
from .formats.packed import Packed
from .formats.reading import choose, recognise
from .journal import Journal
from .remote import Access
from .throttle import Throttle
from .transport import Registry, RemoteManifest

_CONNECTIONS = 4


def pull(
    name: Name, store: Store, *, insecure: bool = False, access: Access | None = None, report: Report = silent
) -> TaggedModel:
    """Fetch the model and tag it; blobs that are here already are not fetched.

    Raises RegistryError, and IntegrityErrors for bytes that are not what they should be; those leave nothing new behind.
    """
    if hub.is_hub(name):
        bandwidth = (access or Access()).remote(name.host).bandwidth
        return hub.pull(name, store, throttle=Throttle(bandwidth), report=report)
    report(Progress("pulling manifest"))
    with ExitStack() as stack:
        sources = [stack.enter_context(source) for source in Registry.sources(name, insecure=insecure, access=access)]
        pulling = _Pulling(name, store, sources, report)
        stored = pulling.run()
    report(Progress("success"))
    return store.find(stored)


class _Pulling:
    """One pull, from whichever of its sources has what is wanted; a mirror that fails gives way to the next."""

    def __init__(self, name: Name, store: Store, sources: list[Registry], report: Report) -> None:
        self._name = name
        self._store = store
        self._sources = sources
        self._report = report

    def run(self) -> Name:
        """The name as stored."""
        found, packed = self._found()
        store, name = self._store, self._name
        previous = store.manifest_or_none(store.tags.spelled(name.pinned_tag(), is_new=True))
        new: list[Digest] = []
        try:
            with store.writing():
                small = {blob.digest: self._small(blob) for blob in packed.small}
                self._fetch(packed.taken, new)
                unpacked = packed.model(small, self._header, partial(self._merged, new))
                for blob, data in unpacked.made:
                    written = store.blobs.put(data, blob.media_type)
                    new += [blob.digest] * written.is_new
                self._report(Progress("writing manifest"))
                if unpacked.manifest.raw != found.raw:
                    store.kept.put(unpacked.manifest.digest, Original(found.media_type, found.raw, small))
                stored = store.tag(name, unpacked.manifest)
        except IntegrityError:
            store.discard(new)
            raise
        self._note(unpacked.manifest)
        if new:  # what kept them until now, and the parts of what was merged
            store.discard(new)
        if previous not in (None, unpacked.manifest):
            self._report(Progress("removing unused layers"))  # done by then; clients wait for the line
        return stored

    def _found(self) -> tuple[RemoteManifest, Packed]:
        while True:
            try:
                return self._manifest()
            except (RemoteError, IntegrityError):
                if len(self._sources) == 1:
                    raise
                self._sources.pop(0)

    def _manifest(self) -> tuple[RemoteManifest, Packed]:
        name, registry = self._name, self._sources[0]
        identity = str(name)
        try:
            found = registry.manifest(name.reference)
        except RegistryError as error:
            if error.status == 404:
                raise RemoteError(f"{name}: not found in the registry {registry.host}", hint=error.hint) from None
            raise
        self._check(found, name.digest)
        try:
            if child := choose(found.raw, found.media_type, identity):
                found = registry.manifest(str(child.digest))
                self._check(found, child.digest)
            packed = recognise(found.raw, found.media_type, identity)
            for blob in packed.taken:
                if blob.digest.algorithm != "sha256":
                    raise InvalidManifestError(identity, f"{blob.digest}: Ollama's store holds blobs by sha256 only")
        except InvalidManifestError as error:
            error.hint = error.hint or f"{registry.host} has no model that can be used here under this name"
            raise
        return found, packed

    def _check(self, found: RemoteManifest, wanted: Digest | None) -> None:
        if wanted and found.digest != wanted:
            what = f"{self._name}: manifest"
            raise MismatchError(what, expected=str(wanted), got=str(found.digest), hint=UNSOUND)

    def _small(self, blob: Descriptor) -> bytes:
        """A small blob, from the first source that has it."""
        *mirrors, origin = self._sources
        for mirror in mirrors:
            with suppress(RemoteError, IntegrityError):
                return mirror.small_blob(blob)
        return origin.small_blob(blob)

    def _fetch(self, blobs: Sequence[Descriptor], new: list[Digest]) -> None:
        """Have the blobs in the store; those that were not are `new`."""
        missing = [blob for blob in blobs if not self._store.blobs.is_kept(blob)]
        new += [blob.digest for blob in missing]
        remote = self._sources[-1].remote
        Fetching(
            self._store,
            self._sources,
            self._report,
            connections=remote.connections or _CONNECTIONS,
            throttle=Throttle(remote.bandwidth),
        ).run(missing)
        for blob in blobs:
            self._report(Progress(f"pulling {blob.digest.short}", blob.digest, blob.size, blob.size))
        # Each blob was hashed on its way; the line is there for those who wait for it.
        self._report(Progress("verifying sha256 digest"))

    def _header(self, digest: Digest) -> GGUF:
        return gguf.read(self._store.blobs.path(digest), f"{self._name}: blob {digest.short}")

    def _merged(self, new: list[Digest], digests: Sequence[Digest]) -> Descriptor:
        """The one blob that the parts of a split GGUF make."""
        self._report(Progress("merging split GGUF"))
        written = parts.merge(self._store.blobs, [self._store.blobs.path(digest) for digest in digests], MODEL)
        new += [written.blob.digest] * written.is_new
        return written.blob

    def _note(self, model: Manifest) -> None:
        """Where the blobs are, for a push to another repository of the same registry."""
        registry = self._sources[-1]
        journal = Journal(self._store, registry.host, registry.repository)
        for blob in model.blobs:
            journal.saw(blob.digest)
