"""`corral verify`: what the store claims against what its files are."""

from __future__ import annotations

from typing import Annotated

import typer

from ..store.errors import IntegrityError
from ..store.name import Name
from ..store.repair import repair
from ..store.verify import Verified, verify
from . import console
from .options import Insecure, Local
from .settings import Settings
from .units import counted, human_bytes
from .wiring import local_store, registry_access


def command(
    model: Annotated[str, typer.Argument(help="Only this model; without it the whole store.")] = "",
    *,
    deep: Annotated[bool, typer.Option("--deep", help="Hash every blob, not only the small ones.")] = False,
    mend: Annotated[
        bool, typer.Option("--repair", help="Fetch good copies from the registries in the models' names.")
    ] = False,
    insecure: Insecure = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was found as JSON.")] = False,
    local: Local = False,
) -> None:
    """Check the store: manifests, blobs and their digests. The exit code is 3 when problems remain."""
    store = local_store(Settings.from_environment(), local=local)
    name = Name.parse(model) if model else None
    with console.progress() as report:
        found = verify(store, name, is_deep=deep, report=report)
        if mend and found.problems:
            from ..registry.origin import RegistryOrigin

            origin = RegistryOrigin(store, registry_access(Settings.from_environment()), insecure)
            found = repair(store, found, origin, is_deep=deep, report=report)
    _print_json(found, is_deep=deep) if as_json else _print(found)
    if found.remaining:
        hint = None if mend else "--repair fetches what the registries in the models' names have"
        raise IntegrityError(f"{model or store.root}: {counted(found.remaining, 'problem')}", hint=hint)


def _print(found: Verified) -> None:
    for problem in found.problems:
        console.out(console.clean(str(problem)))
        if problem.is_repaired:
            console.out("  repaired")
        elif problem.reason:
            console.out(console.clean(f"  not repaired: {problem.reason}"))
    for stray in found.strays:
        console.out(console.clean(f"note: {stray}"))
    looked_at = f"{counted(found.models, 'model')}, {counted(found.blobs, 'blob')}, {human_bytes(found.hashed)} hashed"
    console.out(f"{looked_at}: {counted(len(found.problems), 'problem') if found.problems else 'no problems'}")


def _print_json(found: Verified, *, is_deep: bool) -> None:
    console.out_json(
        {
            "problems": [problem.to_json() for problem in found.problems],
            "notes": [stray.to_json() for stray in found.strays],
            "models": found.models,
            "blobs": found.blobs,
            "hashed": found.hashed,
            "deep": is_deep,
        }
    )
