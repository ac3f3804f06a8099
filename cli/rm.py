"""`corral rm`: remove names, and the blobs nothing else needs."""

from __future__ import annotations

from typing import Annotated

import typer

from ..store.name import Name
from . import console
from .options import Local
from .settings import Settings
from .wiring import local_store


def command(
    models: Annotated[list[str], typer.Argument(help="The models to remove.")],
    *,
    local: Local = False,
) -> None:
    """Remove models."""
    store = local_store(Settings.from_environment(), local=local)
    for model in models:
        name = Name.parse(model)
        removed = store.remove(name)
        console.out(f"deleted '{removed if name.digest else model}'")
