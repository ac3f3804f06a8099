"""`corral df`: where the store's space goes."""

from __future__ import annotations

from typing import Annotated

import typer

from ..store.usage import Usage, usage
from . import console
from .options import Local
from .settings import Settings
from .units import counted, human_bytes
from .wiring import local_store


def command(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print bytes as JSON.")] = False,
    local: Local = False,
) -> None:
    """Show what each model takes: in all, shared with others, and its own, which removing it frees."""
    found = usage(local_store(Settings.from_environment(), local=local))
    for error in found.broken:
        console.note(f"Warning: {error}")
    if as_json:
        _print_json(found)
        return
    rows = [
        [str(share.model.name), share.model.manifest.digest.short]
        + [human_bytes(size) for size in (share.total, share.shared, share.own)]
        for share in found.models
    ]
    console.table(["NAME", "ID", "SIZE", "SHARED", "OWN"], rows)
    console.out()
    console.out(f"{human_bytes(found.used.bytes)} in {counted(found.used.count, 'blob')} of models")
    for space, thing, words in (
        (found.linked, "blob", "of that in second names of files of yours"),
        (found.served, "blob", "that clients of the registry server gave"),
        (
            found.unreferenced,
            "blob",
            "that no model uses (corral gc removes them; what was pushed to the registry server, a day later)",
        ),
        (found.originals, "file", "kept of models that were converted when they were pulled"),
        (found.debris, "file", "being written, or left by broken-off writes"),
    ):
        if space.count:
            console.out(f"{human_bytes(space.bytes)} in {counted(space.count, thing)} {words}")
    console.out(f"{human_bytes(found.total)} in all")


def _print_json(found: Usage) -> None:
    models = [
        {
            "name": str(share.model.name),
            "digest": share.model.manifest.digest.hex,
            "size": share.total,
            "shared": share.shared,
            "own": share.own,
        }
        for share in found.models
    ]
    spaces = {
        name: getattr(found, name).to_json()
        for name in ("used", "served", "unreferenced", "originals", "debris", "linked")
    }
    console.out_json(
        {"models": models, **spaces, "total": found.total, "broken": [error.identity for error in found.broken]}
    )
