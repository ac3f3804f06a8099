"""`corral push`: a model of the local store to a registry."""

from __future__ import annotations

from typing import Annotated

import typer

from ..registry.push import push
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
    """Push a model to a registry."""
    settings = Settings.from_environment()
    store = local_store(settings, local=local)
    access = registry_access(settings)
    with console.progress() as report:
        pushed = push(Name.parse(model), store, insecure=insecure, access=access, report=report)
    console.out(f"{pushed.name} {pushed.manifest.digest}")
