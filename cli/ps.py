"""`corral ps`: the models a server has loaded."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Annotated, Any

import typer

from . import console
from .client import Client, Processes
from .settings import Settings
from .units import human_bytes, until


def command(
    prefix: Annotated[str, typer.Argument(help="Only names that begin so.")] = "",
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print the API's reply.")] = False,
) -> None:
    """List loaded models."""
    entries = Client(Settings.from_environment().url).get("/api/ps", Processes)["models"]
    entries = [entry for entry in entries if entry["name"].startswith(prefix)]
    if as_json:
        console.out_json({"models": entries})
        return
    rows = [
        [
            entry["name"],
            entry["digest"][:12],
            human_bytes(entry["size"]),
            _processor(entry),
            str(entry["context_length"]),
            until(datetime.fromisoformat(entry["expires_at"]).timestamp() - time.time()),
        ]
        for entry in entries
    ]
    console.table(["NAME", "ID", "SIZE", "PROCESSOR", "CONTEXT", "UNTIL"], rows)


def _processor(entry: dict[str, Any]) -> str:
    size, vram = entry["size"], entry["size_vram"]
    if not vram:
        return "100% CPU"
    if vram == size:
        return "100% GPU"
    if vram > size or not size:
        return "Unknown"
    cpu = round((size - vram) / size * 100)
    return f"{cpu}%/{100 - cpu}% CPU/GPU"
