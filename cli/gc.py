"""`corral gc`: remove what no model uses."""

from __future__ import annotations

from typing import Annotated

import typer

from ..store.errors import InputError
from . import console
from .options import Local
from .settings import Settings
from .units import human_bytes
from .wiring import local_store


def command(
    older_than: Annotated[
        float, typer.Option("--older-than", help="Hours after which files Corral did not write may go.")
    ] = 24,
    *,
    untagged: Annotated[
        bool,
        typer.Option("--untagged", help="Manifests, too, that were pushed to this store and have no tag any more."),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was removed as JSON.")] = False,
    local: Local = False,
) -> None:
    """Remove blobs that no model uses, and what broken-off writes left."""
    if not older_than >= 0:  # nan too
        raise InputError(f"--older-than {older_than}: hours cannot be fewer than 0")
    removed = local_store(Settings.from_environment(), local=local).collect(
        older_than=older_than * 3600, takes_untagged=untagged, is_dry=dry_run
    )
    if as_json:
        console.out_json(
            {
                "blobs": [str(digest) for digest in removed.blobs],
                "debris": removed.debris,
                "untagged": removed.untagged,
                "bytes": removed.bytes,
            }
        )
        return
    for digest in removed.blobs:
        console.out(f"{'would remove' if dry_run else 'removed'} {digest}")
    freed = f"{human_bytes(removed.bytes)}: {len(removed.blobs)} blobs, {removed.debris} unfinished files"
    if removed.untagged:
        freed += f", {removed.untagged} manifests without a tag"
    console.out(f"{'would free' if dry_run else 'freed'} {freed}")
