"""Origin: the registries that models came from, for the repair of a store."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..store.local import Store
from ..store.manifest import Descriptor
from ..store.name import Name
from ..store.progress import Report
from . import hub
from .pull import pull
from .remote import Access
from .transport import Registry


@dataclass(frozen=True, slots=True)
class RegistryOrigin:
    """Gets what a store's models are made of from the hosts in their names."""

    store: Store
    access: Access
    insecure: bool = False

    def blob(self, name: Name, blob: Descriptor, /) -> Iterator[bytes]:
        """The bytes of one of the model's blobs, as they come. Raises RegistryError."""
        if hub.is_hub(name):
            yield from hub.blob(name, blob, self.store)
            return
        with Registry(name, insecure=self.insecure, access=self.access) as registry:
            yield from registry.blob(blob.digest, blob.size)

    def model(self, name: Name, report: Report, /) -> None:
        """Pull the model. Raises RegistryError, IntegrityErrors."""
        pull(name, self.store, insecure=self.insecure, access=self.access, report=report)
