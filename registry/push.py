"""Push: a model from the store to a registry: blobs it lacks, then the manifest's very bytes."""

from __future__ import annotations

from collections.abc import Iterator

from ..store.local import Store
from ..store.manifest import Descriptor
from ..store.name import Name
from ..store.progress import Progress, Report, silent
from ..store.tags import TaggedModel
from .transport import Registry


def push(name: Name, store: Store, *, insecure: bool = False, report: Report = silent) -> TaggedModel:
    """Send the model. Raises ModelNotFoundError, RegistryError, and IntegrityErrors for a blob missing or damaged here."""
    report(Progress("retrieving manifest"))
    model = store.find(name)
    store.check_complete(model.manifest)
    with Registry(name, insecure=insecure) as registry:
        for blob in dict.fromkeys(model.manifest.blobs):
            if not registry.has_blob(blob.digest):
                registry.upload(blob.digest, blob.size, _reading(blob, store, report))
            report(Progress(f"pushing {blob.digest.short}", blob.digest, blob.size, blob.size))
        report(Progress("pushing manifest"))
        registry.put_manifest(name.tag, model.manifest.raw, model.manifest.digest)
    report(Progress("success"))
    return model


def _reading(blob: Descriptor, store: Store, report: Report) -> Iterator[bytes]:
    status, done = f"pushing {blob.digest.short}", 0
    for chunk in store.blobs.verified(blob):
        done += len(chunk)
        report(Progress(status, blob.digest, blob.size, done))
        yield chunk
