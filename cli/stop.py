"""`corral stop`: unload a model."""

from __future__ import annotations

from typing import Annotated

import typer

from ..store.errors import InputError, ModelNotFoundError
from .client import Client
from .settings import Settings


def command(model: Annotated[str, typer.Argument(help="The model.")]) -> None:
    """Stop a running model."""
    try:
        Client(Settings.from_environment().url).post("/api/generate", {"model": model, "keep_alive": 0})
    except ModelNotFoundError:
        raise InputError(f'couldn\'t find model "{model}" to stop', hint="see `corral ps`") from None
