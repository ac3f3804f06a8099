"""`corral remote referrers`: what is attached to a manifest."""

from __future__ import annotations

from typing import Annotated

import typer

from ...registry.copy import fetched
from ...registry.referrers import referrers
from ...registry.transport import OCI_INDEX_TYPE, Registry
from ...store.name import Name
from .. import console
from ..options import Insecure
from ..settings import Settings
from ..units import human_bytes
from ..wiring import registry_access


def command(
    reference: Annotated[str, typer.Argument(help="The manifest: host/namespace/model[:tag|@digest].")],
    *,
    artifact_type: Annotated[str, typer.Option("--type", help="Only those of this artifact type.")] = "",
    insecure: Insecure = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print an OCI image index.")] = False,
) -> None:
    """List what refers to a manifest: signatures, provenance, notes."""
    access = registry_access(Settings.from_environment())
    name = Name.parse(reference)
    with Registry(name, insecure=insecure, access=access) as registry:
        # What was named by its digest may refer to something that is not there.
        subject = name.digest or fetched(registry, name.reference).digest
        found = referrers(registry, subject, artifact_type)
    if as_json:
        manifests = [part.to_json() for part in found]
        console.out_json({"schemaVersion": 2, "mediaType": OCI_INDEX_TYPE, "manifests": manifests})
        return
    for part in found:
        size = human_bytes(part.descriptor.size)
        console.out(f"{part.descriptor.digest} {size:>8} {console.clean(part.artifact_type or '-')}")
        for key, value in sorted(part.annotations.items()):
            console.out(console.clean(f"  {key}: {value}".replace("\n", " ")))
