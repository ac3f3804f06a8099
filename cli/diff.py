"""`corral diff`: what sets two models apart."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from ..modelfile.difference import Change, difference
from ..store.errors import shown
from ..store.gojson import Json
from ..store.name import Name
from . import console
from .options import Local
from .settings import Settings
from .units import human_bytes
from .wiring import local_store


def command(
    a: Annotated[str, typer.Argument(help="One model.")],
    b: Annotated[str, typer.Argument(help="The other.")],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print the difference as JSON.")] = False,
    local: Local = False,
) -> None:
    """Show what differs between two models. The exit code is 0 when they are equal and 1 when they differ."""
    store = local_store(Settings.from_environment(), local=local)
    found = difference(store, store.find(Name.parse(a)), store.find(Name.parse(b)))
    if as_json:
        console.out_json(found.to_json())
    elif not found.is_none:
        console.out(f"--- {found.a.name} {found.a.manifest.digest}")
        console.out(f"+++ {found.b.name} {found.b.manifest.digest}")
        _print("layers", found.layers)
        _print("config", found.config)
        _print("parameters", found.parameters)
        for part, text in found.texts.items():
            console.out(part)
            console.out(console.clean(text.partition("\n+++ ")[2].partition("\n")[2]), end="")
        for weights in found.weights:
            _print(f"metadata of the {weights.role}", weights.metadata)
            _print(f"tensors of the {weights.role}", weights.tensors)
        if not found.layers:
            console.out("the same layers: only the manifests' own bytes differ")
    if not found.is_none:
        raise typer.Exit(1)


def _print(title: str, changes: Sequence[Change]) -> None:
    if changes:
        console.out(title)
    for change in changes:
        for sign, side in (("-", change.a), ("+", change.b)):
            for text in _texts(side):
                console.out(f"{sign}{console.clean(change.key)} {text}")


def _texts(side: Json) -> list[str]:
    """One side for people: a line for each layer, else one line; none where there is nothing."""
    value: Any = side
    match value:
        case None:
            return []
        case [{"digest": _}, *_]:
            return [f"{layer['digest']} {human_bytes(layer['size'])}" for layer in value]
        case {"type": kind, "shape": shape}:
            return [f"{kind} {shape}"]
        case {"count": count, "sha256": digest}:
            return [f"{count} items, sha256:{digest}"]
        case str():
            return [shown(value)]
        case _:
            return [console.clean(json.dumps(value, ensure_ascii=False))]
