"""`corral keys`: the API keys of this user's servers."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer

from ..store.errors import InputError, shown
from ..store.keys import SCOPES, Keys, Scope
from . import console
from .settings import Settings

SUMMARY = "Make, list and remove the API keys that `corral serve` asks for as soon as there is one."

Name = Annotated[str, typer.Argument(help="What the key is called here.")]


def add(
    name: Name,
    *,
    scope: Annotated[
        list[str] | None,
        typer.Option(
            "--scope", help="infer, to use models (the default); manage, to change what models there are too."
        ),
    ] = None,
) -> None:
    """Make a key and print it, this once."""
    path = Settings.from_environment().keys_file
    secret = Keys(path).add(name, [_scope(text) for text in scope or ["infer"]])
    console.out(secret)
    console.note(f"keep it: {path} has only its hash. Servers that run ask for keys from now on.")


def list_keys(*, as_json: Annotated[bool, typer.Option("--json", help="Print the keys as JSON.")] = False) -> None:
    """List keys: names, scopes, when they were made, their last four letters."""
    kept = Keys(Settings.from_environment().keys_file).all()
    if as_json:
        rows = [msgspec.to_builtins(key) for key in kept]
        console.out_json({"keys": [{name: row[name] for name in row if name != "sha256"} for row in rows]})
        return
    rows = [[key.name, ", ".join(key.scopes), key.created, f"…{key.ending}"] for key in kept]
    console.table(["NAME", "SCOPES", "CREATED", "ENDS IN"], rows)


def remove(name: Name) -> None:
    """Remove a key: who has it is let in no more, by no server that runs either."""
    keys = Keys(Settings.from_environment().keys_file)
    keys.remove(name)
    console.out(f"removed '{name}'")
    if not keys.all():
        console.note("there are no keys now: servers ask nobody for one")


def _scope(text: str) -> Scope:
    for scope in SCOPES:
        if scope == text:
            return scope
    raise InputError(f"--scope {shown(text)}: no such scope", hint=f"one of {', '.join(SCOPES)}")


COMMANDS = {"add": add, "list": list_keys, "rm": remove}
