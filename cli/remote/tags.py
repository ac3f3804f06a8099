"""`corral remote tags`: the tags of a repository."""

from __future__ import annotations

from typing import Annotated

import typer

from ...registry.catalog import tags
from ...registry.transport import Registry
from ...store.name import Name
from .. import console
from ..options import Insecure
from ..settings import Settings
from ..wiring import registry_access


def command(
    repository: Annotated[str, typer.Argument(help="The repository: host/namespace/model.")],
    *,
    insecure: Insecure = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the registry's reply, of all pages.")] = False,
) -> None:
    """List a repository's tags."""
    access = registry_access(Settings.from_environment())
    with Registry(Name.parse(repository), insecure=insecure, access=access) as registry:
        found = tags(registry)
        if as_json:
            console.out_json({"name": registry.repository, "tags": found})
    if not as_json:
        for tag in found:
            console.out(tag)
