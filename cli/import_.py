"""`corral import`: a model from an OCI image layout, in a folder or a tar file."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from ..store.name import Name
from ..store.unpack import opened, unpack, unpack_pipe
from . import console
from .options import Local
from .settings import Settings
from .wiring import local_store


def command(
    archive: Annotated[str, typer.Argument(help="A tar file, a folder, or - for standard input.")],
    model: Annotated[str, typer.Argument(help="The model's name, where it is not to be the archive's.")] = "",
    *,
    local: Local = False,
) -> None:
    """Bring a model from an archive into the store."""
    name = Name.parse(model) if model else None
    store = local_store(Settings.from_environment(), local=local)
    with console.progress() as report:
        if archive == "-":
            imported = unpack_pipe(sys.stdin.buffer, "standard input", store, name, report=report)
        else:
            with opened(archive) as source:
                imported = unpack(source, store, name, report=report)
    console.out(f"{imported.name} {imported.manifest.digest}")
