"""`corral push`: a model of the local store to a registry."""

from __future__ import annotations

from typing import Annotated

import typer

from ..registry.push import push
from ..registry.remote import FORMATS
from ..store.name import Name
from . import console
from .options import Bandwidth, CaFile, ClientCert, ClientKey, Connections, Insecure, JsonLines, Local
from .settings import Settings
from .wiring import local_store, registry_access


def command(
    model: Annotated[str, typer.Argument(help="The model's name, with the registry's host.")],
    *,
    insecure: Insecure = False,
    form: Annotated[
        str | None, typer.Option("--format", help=f"Pack it as: {', '.join(FORMATS)} (Ollama's own if not said).")
    ] = None,
    connections: Connections = None,
    bandwidth: Bandwidth = None,
    ca_file: CaFile = None,
    client_cert: ClientCert = None,
    client_key: ClientKey = None,
    as_json: JsonLines = False,
    local: Local = False,
) -> None:
    """Push a model to a registry."""
    with console.progress(as_json=as_json) as report:
        settings = Settings.from_environment().with_options(
            format=form,
            connections=connections,
            bandwidth=bandwidth,
            ca_file=ca_file,
            client_cert=client_cert,
            client_key=client_key,
        )
        store = local_store(settings, local=local)
        access = registry_access(settings)
        pushed = push(Name.parse(model), store, insecure=insecure, access=access, report=report)
    if not as_json:
        console.out(f"{pushed.name} {pushed.manifest.digest}")
