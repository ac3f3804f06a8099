"""`corral remote rm`: remove tags and manifests from a registry."""

from __future__ import annotations

from typing import Annotated

import typer

from ...registry.remove import remove
from ...store.name import Name
from .. import console
from ..options import Insecure
from ..settings import Settings
from ..wiring import registry_access


def command(
    references: Annotated[list[str], typer.Argument(help="What to remove: host/namespace/model[:tag|@digest].")],
    *,
    all_tags: Annotated[
        bool, typer.Option("--all-tags", help="Remove the manifest, with every tag it has, and not only this one.")
    ] = False,
    insecure: Insecure = False,
) -> None:
    """Remove tags, or manifests named by their digest, from a registry. Blobs are its own to collect."""
    access = registry_access(Settings.from_environment())
    for name in [Name.parse(reference) for reference in references]:
        removed = remove(name, insecure=insecure, access=access, all_tags=all_tags)
        if removed.is_whole:
            console.out(f"deleted '{name}': the manifest {removed.digest} and every tag it had")
        else:
            console.out(f"deleted '{name}': the tag alone; the manifest is still there as {removed.digest}")
