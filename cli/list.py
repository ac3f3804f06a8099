"""`corral list`: the models of the local store, or of the server OLLAMA_HOST names."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from . import console
from .options import Local
from .settings import Settings
from .units import ago, human_bytes


def command(
    prefix: Annotated[str, typer.Argument(help="Only names that begin so.")] = "",
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print the API's reply.")] = False,
    local: Local = False,
) -> None:
    """List models."""
    settings = Settings.from_environment()
    if settings.is_remote and not local:
        from .client import Client, Tags

        entries = Client(settings.url).get("/api/tags", Tags)["models"]
    elif as_json:
        from ..runtime.catalog import listing

        entries = [model.entry for model in listing(settings.store).models()]
    else:
        entries = _local(settings)
    entries = [entry for entry in entries if entry["name"].lower().startswith(prefix.lower())]
    if as_json:
        console.out_json({"models": entries})
        return
    rows = [[entry["name"], entry["digest"][:12], human_bytes(entry["size"]), _modified(entry)] for entry in entries]
    console.table(["NAME", "ID", "SIZE", "MODIFIED"], rows)


def _local(settings: Settings) -> list[dict[str, Any]]:
    models, broken = settings.store.models()
    for error in broken:
        console.note(f"Warning: {error}")
    if not models:
        _mention_server(settings)
    return [
        {
            "name": str(model.name),
            "digest": model.manifest.digest.hex,
            "size": model.manifest.size,
            "modified": model.modified,
        }
        for model in models
    ]


def _modified(entry: dict[str, Any]) -> str:
    if "modified" in entry:
        return ago(time.time() - entry["modified"])
    from datetime import datetime

    return ago(time.time() - datetime.fromisoformat(entry["modified_at"]).timestamp())


def _mention_server(settings: Settings) -> None:
    """An empty store beside a server that has models is most often the wrong store: say so."""
    from .client import is_listening

    if is_listening(settings.url):
        from .client import Client, Tags

        count = len(Client(settings.url).get("/api/tags", Tags)["models"])
        if count:
            console.note(
                f"{settings.models} is empty, but the server at {settings.url} has {count} models of its own store"
            )
