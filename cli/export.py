"""`corral export`: a model as an OCI image layout, in a folder or a tar file."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from ..store.archive import export, write_tar
from ..store.errors import InputError
from ..store.name import Name
from . import console
from .options import Local
from .settings import Settings
from .wiring import local_store


def command(
    model: Annotated[str, typer.Argument(help="The model.")],
    *,
    output: Annotated[
        str, typer.Option("--output", "-o", help="A file NAME.tar, a folder (FOLDER/), or - for standard output.")
    ],
    force: Annotated[bool, typer.Option("--force", help="Replace an archive that is there already.")] = False,
    local: Local = False,
) -> None:
    """Write a model to an archive that any tool for OCI images can read."""
    store = local_store(Settings.from_environment(), local=local)
    found = store.find(Name.parse(model))
    if output == "-" and sys.stdout.isatty():
        raise InputError("standard output is a terminal", hint="name a file with -o, or send the archive elsewhere")
    with console.progress() as report:
        if output == "-":
            store.check_complete(found.manifest)
            write_tar(store, found, sys.stdout.buffer.write, report=report)
            sys.stdout.buffer.flush()
            return
        export(store, found, output, replaces=force, report=report)
    console.out(f"{found.name} {found.manifest.digest}")
