"""Push: a model from the store to a registry: blobs it lacks, then the manifest's very bytes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..store.local import Store
from ..store.manifest import Descriptor
from ..store.name import Name
from ..store.progress import Progress, Report, silent
from ..store.tags import TaggedModel
from .remote import Access
from .transport import Registry


def push(
    name: Name, store: Store, *, insecure: bool = False, access: Access | None = None, report: Report = silent
) -> TaggedModel:
    """Send the model. Raises ModelNotFoundError, RegistryError, and IntegrityErrors for a blob missing or damaged here."""
    report(Progress("retrieving manifest"))
    model = store.find(name)
    store.check_complete(model.manifest)
    with Registry(name, insecure=insecure, access=access, actions="pull,push") as registry:
        for blob in dict.fromkeys(model.manifest.blobs):
            if not registry.has_blob(blob.digest):
                registry.upload(blob.digest, blob.size, _Reading(blob, store, report))
            report(Progress(f"pushing {blob.digest.short}", blob.digest, blob.size, blob.size))
        report(Progress("pushing manifest"))
        registry.put_manifest(name.tag, model.manifest.raw)
    report(Progress("success"))
    return model


@dataclass(frozen=True, slots=True)
class _Reading:
    """A blob's bytes, verified and reported as they are read; each iteration reads from the start."""

    blob: Descriptor
    store: Store
    report: Report

    def __iter__(self) -> Iterator[bytes]:
        status, done = f"pushing {self.blob.digest.short}", 0
        for chunk in self.store.blobs.verified(self.blob):
            done += len(chunk)
            self.report(Progress(status, self.blob.digest, self.blob.size, done))
            yield chunk
