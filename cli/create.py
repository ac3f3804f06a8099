"""`corral create`: text -> parse -> check -> plan -> build, on the local store."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ..modelfile.builder import build
from ..modelfile.parser import parse
from ..store.errors import FileError, InputError, system_errors
from ..store.name import Name
from . import console
from .layers import layers_json, print_layers
from .settings import Settings


def command(
    model: Annotated[str, typer.Argument(help="The name to create.")],
    file: Annotated[str, typer.Option("--file", "-f", help="The Modelfile, or - for standard input.")] = "Modelfile",
    *,
    insecure: Annotated[bool, typer.Option("--insecure", help="Pull a base model over plain http.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the manifest's parts as JSON.")] = False,
    local: Annotated[bool, typer.Option("--local", help="Use the local store whatever OLLAMA_HOST says.")] = False,
) -> None:
    """Create a model from a Modelfile."""
    from .wiring import local_store, puller

    settings = Settings.from_environment()
    name = Name.parse(model)
    store = local_store(settings, local=local)
    text, folder = _read(file)
    modelfile = parse(text, file if file != "-" else "<stdin>")
    with console.progress() as report:
        created = build(name, modelfile, store, folder=folder, resolver=puller(store, insecure=insecure), report=report)
    if as_json:
        console.out_json({"name": str(created.name), **layers_json(created.manifest)})
    else:
        print_layers(created)


def _read(file: str) -> tuple[bytes, Path]:
    if file == "-":
        return sys.stdin.buffer.read(), Path.cwd()
    path = Path(file)
    if path.is_dir():
        raise InputError(f"{file}: is a folder", hint="name the Modelfile in it")
    if not path.exists():
        raise InputError(f"{file}: no such Modelfile", hint="write one, or name it with -f")
    with system_errors(path, "read", FileError):
        return path.read_bytes(), path.parent
