"""Pull: a model from a registry into the store, every byte verified before it has a name."""

from __future__ import annotations

from ..store.digest import Digest
from ..store.errors import IntegrityError, InvalidManifestError, MismatchError, RemoteError
from ..store.local import Store
from ..store.manifest import Descriptor, Manifest
from ..store.name import Name
from ..store.progress import Progress, Report, silent
from ..store.tags import TaggedModel
from .errors import UNSOUND, RegistryError
from .remote import Access
from .transport import Registry


def pull(
    name: Name, store: Store, *, insecure: bool = False, access: Access | None = None, report: Report = silent
) -> TaggedModel:
    """Fetch the model and tag it; blobs that are here already are not fetched.

    Raises RegistryError, and IntegrityErrors for bytes that are not what they should be; those leave nothing new behind.
    """
    report(Progress("pulling manifest"))
    with Registry(name, insecure=insecure, access=access) as registry:
        model = _manifest(name, registry)
        previous = store.manifest_or_none(store.tags.spelled(name.pinned_tag()))
        fetched: list[Digest] = []
        try:
            with store.writing():
                for blob in dict.fromkeys(model.blobs):
                    with store.blobs.once(blob.digest):
                        if not store.blobs.is_kept(blob):
                            _fetch(blob, name, registry, store, report)
                            fetched.append(blob.digest)
                    report(Progress(f"pulling {blob.digest.short}", blob.digest, blob.size, blob.size))
                # Each blob was hashed on its way; the line is there for those who wait for it.
                report(Progress("verifying sha256 digest"))
                report(Progress("writing manifest"))
                stored = store.tag(name, model)
        except IntegrityError:
            store.discard(fetched)
            raise
    if previous not in (None, model):
        report(Progress("removing unused layers"))  # done by then; clients wait for the line
    report(Progress("success"))
    return store.find(stored)


def _manifest(name: Name, registry: Registry) -> Manifest:
    try:
        raw = registry.manifest(name.reference).raw
    except RegistryError as error:
        if error.status == 404:
            raise RemoteError(f"{name}: not found in the registry {registry.host}", hint=error.hint) from None
        raise
    if name.digest and (got := Digest.of(raw)) != name.digest:
        raise MismatchError(f"{name}: manifest", expected=str(name.digest), got=str(got), hint=UNSOUND)
    try:
        model = Manifest.parse(raw, str(name))
        for blob in model.blobs:
            if blob.digest.algorithm != "sha256":
                raise InvalidManifestError(str(name), f"{blob.digest}: Ollama's store holds blobs by sha256 only")
    except InvalidManifestError as error:
        error.hint = f"{registry.host} has no model that can be used here under this name"
        raise
    return model


def _fetch(blob: Descriptor, name: Name, registry: Registry, store: Store, report: Report) -> None:
    status = f"pulling {blob.digest.short}"
    with store.blobs.ingest(blob.size) as ingest:
        for chunk in registry.blob(blob.digest, blob.size):
            ingest.write(chunk)
            report(Progress(status, blob.digest, blob.size, min(ingest.size, blob.size)))
        try:
            ingest.commit(blob.media_type, expected=blob.digest, size=blob.size)
        except MismatchError as error:
            what = f"{name}: blob {blob.digest.short} from {registry.host}"
            raise MismatchError(what, expected=error.expected, got=error.got, hint=UNSOUND) from None
