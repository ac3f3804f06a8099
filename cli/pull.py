"""`corral pull`: a model from a registry into the local store."""

from __future__ import annotations

from typing import Annotated

import typer

from ..registry.pull import pull
from ..store.name import Name
from . import console
from .options import Bandwidth, CaFile, ClientCert, ClientKey, Connections, Insecure, JsonLines, Local
from .settings import Settings
from .wiring import local_store, registry_access


def command(
    model: Annotated[str, typer.Argument(help="The model's name, with the registry's host.")],
    *,
    insecure: Insecure = False,
    connections: Connections = None,
    bandwidth: Bandwidth = None,
    ca_file: CaFile = None,
    client_cert: ClientCert = None,
    client_key: ClientKey = None,
    as_json: JsonLines = False,
    local: Local = False,
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
