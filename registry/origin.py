"""Origin: the registries that models came from, for the repair of a store."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..store.local import Store
from ..store.manifest import Descriptor
from ..store.name import Name
from ..store.progress import Report
from . import hub
from .errors import RegistryError
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
        try:
            with Registry(name, insecure=self.insecure, access=self.access) as registry:
                yield from registry.blob(blob.digest, blob.size)
        except RegistryError as error:
            if error.status == 404 and self.store.kept.find(self.store.find(name).manifest.digest):
                what = f"{name}: it was made here when the model was converted; pull the model again"
                raise RegistryError(what, status=404) from error
            raise

    def model(self, name: Name, report: Report, /) -> None:
        """Pull the model. Raises RegistryError, IntegrityErrors."""
        pull(name, self.store, insecure=self.insecure, access=self.access, report=report)
