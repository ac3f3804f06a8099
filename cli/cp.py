"""`corral cp`: a second name for a model."""

from __future__ import annotations

from typing import Annotated

import typer

from ..store.name import Name
from . import console
from .options import Local
from .settings import Settings
from .wiring import local_store


def command(
    source: Annotated[str, typer.Argument(help="The model to copy.")],
    destination: Annotated[str, typer.Argument(help="Its new name.")],
    *,
    local: Local = False,
) -> None:
    """Copy a model; no blob is written."""
    local_store(Settings.from_environment(), local=local).copy(Name.parse(source), Name.parse(destination))
    console.out(f"copied '{source}' to '{destination}'")
