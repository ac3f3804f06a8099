"""`corral remote copy`: from one registry to another, past the local store."""

from __future__ import annotations

from typing import Annotated

import typer

from ...registry.copy import copy
from ...store.name import Name
from .. import console
from ..options import JsonLines
from ..settings import Settings
from ..wiring import registry_access


def command(
    source: Annotated[str, typer.Argument(help="What to copy: host/namespace/model[:tag|@digest].")],
    target: Annotated[str, typer.Argument(help="The name it gets, in the same registry or another.")],
    *,
    referrers: Annotated[bool, typer.Option("--referrers", help="Copy also what refers to it.")] = False,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Use https with any certificate, or plain http, for both.")
    ] = False,
    as_json: JsonLines = False,
) -> None:
    """Copy from registry to registry: the same bytes under another name."""
    with console.progress(as_json=as_json) as report:
        access = registry_access(Settings.from_environment())
        name = Name.parse(target)
        copied = copy(
            Name.parse(source), name, insecure=insecure, access=access, with_referrers=referrers, report=report
        )
    if not as_json:
        console.out(f"{name} {copied.digest}")
