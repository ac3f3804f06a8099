"""`corral pull`: a model from a registry into the local store."""

from __future__ import annotations

from typing import Annotated

import typer

from ..registry.pull import pull
from ..store.name import Name
from . import console
from .settings import Settings
from .wiring import local_store, registry_access


def command(
    model: Annotated[str, typer.Argument(help="The model's name, with the registry's host.")],
    *,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Use https with any certificate, or plain http.")
    ] = False,
    local: Annotated[bool, typer.Option("--local", help="Use the local store whatever OLLAMA_HOST says.")] = False,
) -> None:
    """Pull a model from a registry."""
    settings = Settings.from_environment()
    store = local_store(settings, local=local)
    access = registry_access(settings)
    with console.progress() as report:
        pulled = pull(Name.parse(model), store, insecure=insecure, access=access, report=report)
    console.out(f"{pulled.name} {pulled.manifest.digest}")
