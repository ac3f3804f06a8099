"""`corral logout`: forgets what `corral login`, or docker's, keeps for a registry."""

from __future__ import annotations

from typing import Annotated

import typer

from ..registry.loginfile import LoginFile, Logins
from ..store.errors import InputError
from . import console
from .settings import Settings
from .wiring import registry_host


def command(registry: Annotated[str, typer.Argument(help="The registry: host or host:port.")]) -> None:
    """Log out of a registry."""
    _, host = registry_host(registry)
    first, *others = Settings.from_environment().login_files
    was_kept = LoginFile(first).remove(host)
    left = Logins(tuple(others)).find(host)
    if left:
        console.note(f"note: another login to {host} is in {left.source}; that file is not Corral's to change")
    if not was_kept:
        raise InputError(f"{host}: not logged in by {first}")
    console.out(f"logged out of {host}")
