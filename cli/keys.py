"""`corral keys`: the API keys of this user's servers."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer

from ..registry.serve.scopes import Grants, Pattern
from ..store.errors import InputError, shown
from ..store.keys import SCOPES, Key, Keys, Scope
from . import console
from .settings import Settings

SUMMARY = "Make, list and remove the API keys that Corral's servers ask for as soon as there is one."

Name = Annotated[str, typer.Argument(help="What the key is called here.")]


def add(
    name: Name,
    *,
    scope: Annotated[
        list[str] | None,
        typer.Option(
            "--scope",
            help="infer, to use models (the default where no repositories are given); manage, to change what models"
            " there are too.",
        ),
    ] = None,
    read: Annotated[
        list[str] | None,
        typer.Option("--read", metavar="PATTERN", help="Repositories of the registry server to read: crew/*, or *."),
    ] = None,
    write: Annotated[
        list[str] | None, typer.Option("--write", metavar="PATTERN", help="Those to read and write.")
    ] = None,
) -> None:
    """Make a key and print it, this once."""
    path = Settings.from_environment().keys_file
    grants = Grants.parse(read or [], write or [])
    usual = [] if read or write else ["infer"]
    scopes: list[Scope] = [_scope(text) for text in scope or usual]
    secret = Keys(path).add(name, scopes, read=_texts(grants.read), write=_texts(grants.write))
    console.out(secret)
    console.note(f"keep it: {path} has only its hash. Servers that run ask for keys from now on.")


def list_keys(*, as_json: Annotated[bool, typer.Option("--json", help="Print the keys as JSON.")] = False) -> None:
    """List keys: names, scopes, when they were made, their last four letters."""
    kept = Keys(Settings.from_environment().keys_file).all()
    if as_json:
        rows = [msgspec.to_builtins(key) for key in kept]
        console.out_json({"keys": [{name: row[name] for name in row if name != "sha256"} for row in rows]})
        return
    rows = [[key.name, ", ".join(_allowed(key)), key.created, f"…{key.ending}"] for key in kept]
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


def _texts(patterns: tuple[Pattern, ...]) -> list[str]:
    return [str(pattern) for pattern in patterns]


def _allowed(key: Key) -> list[str]:
    return [*key.scopes, *(f"read {text}" for text in key.read), *(f"write {text}" for text in key.write)]


COMMANDS = {"add": add, "list": list_keys, "rm": remove}
