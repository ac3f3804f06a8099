"""`corral create`: text -> parse -> check -> plan -> build, on the local store."""

from __future__ import annotations

import sys
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from ..modelfile.builder import build
from ..modelfile.parser import parse
from ..modelfile.source import MAX_BYTES
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
    """The Modelfile's bytes, and the folder its relative paths start at."""
    if file == "-":
        return _text(sys.stdin.buffer, "standard input"), Path.cwd()
    path = Path(file)
    if path.is_dir():
        raise InputError(f"{file}: is a folder", hint="name the Modelfile in it")
    if not path.exists():
        raise InputError(f"{file}: no such Modelfile", hint="write one, or name it with -f")
    with system_errors(path, "read", FileError), path.open("rb") as opened:
        return _text(opened, file), path.parent


def _text(opened: BinaryIO, name: str) -> bytes:
    # One byte more than allowed is enough for `parse` to refuse it, and all that is read of an endless file.
    text = opened.read(MAX_BYTES + 1)
    if b"\0" in text and not text.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
        hint = "to build from a file of weights, write a Modelfile that says FROM and its path"
        raise InputError(f"{name}: is a binary file, not a Modelfile", hint=hint)
    return text
