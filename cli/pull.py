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
    connections: Annotated[
        int | None, typer.Option("--connections", min=1, max=64, help="Transfer over so many connections at once.")
    ] = None,
    bandwidth: Annotated[
        str | None, typer.Option("--bandwidth", help="Take at most so many bytes a second: 10MB, 512KiB.")
    ] = None,
    ca_file: Annotated[str | None, typer.Option("--ca-file", help="Trust the authorities in this file too.")] = None,
    client_cert: Annotated[str | None, typer.Option("--client-cert", help="Show this certificate.")] = None,
    client_key: Annotated[str | None, typer.Option("--client-key", help="The certificate's key.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print progress as a line of JSON each.")] = False,
    local: Annotated[bool, typer.Option("--local", help="Use the local store whatever OLLAMA_HOST says.")] = False,
) -> None:
    """Pull a model from a registry."""
    with console.progress(as_json=as_json) as report:
        settings = Settings.from_environment().with_options(
            connections=connections,
            bandwidth=bandwidth,
            ca_file=ca_file,
            client_cert=client_cert,
            client_key=client_key,
        )
        store = local_store(settings, local=local)
        access = registry_access(settings)
        pulled = pull(Name.parse(model), store, insecure=insecure, access=access, report=report)
    if not as_json:
        console.out(f"{pulled.name} {pulled.manifest.digest}")
