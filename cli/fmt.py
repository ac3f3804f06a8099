"""`corral fmt`: Modelfiles in canonical form."""

from __future__ import annotations

import difflib
import os
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from ..modelfile.parser import parse
from ..modelfile.printer import print_modelfile
from ..modelfile.source import Source
from ..store.errors import FileError, InputError, system_errors
from . import console
from .sources import read_source


def command(
    files: Annotated[list[str] | None, typer.Argument(help="Modelfiles, or - for standard input to output.")] = None,
    *,
    check: Annotated[bool, typer.Option("--check", help="Change nothing; exit 1 when something would change.")] = False,
    diff: Annotated[bool, typer.Option("--diff", help="Change nothing; print what would change.")] = False,
) -> None:
    """Write Modelfiles in canonical form, comments and blank lines kept."""
    changed: list[str] = []
    for file in files or ["Modelfile"]:
        data, _ = read_source(file)
        name = file if file != "-" else "<stdin>"
        source = Source.decode(data, name)
        if source.is_damaged:
            raise InputError(f"{name}: has bytes that are not text", hint="save it as UTF-8 first; nothing was changed")
        text = print_modelfile(parse(source))
        if text.encode() != data:
            changed.append(name)
        if diff:
            _print_diff(source.text, text, name)
        elif file == "-" and not check:
            console.out(text, end="")
        elif text.encode() != data and not check:
            _replace(Path(file), text)
    if check:
        for name in changed:
            console.note(f"{name}: not in canonical form")
    if check and changed:
        raise typer.Exit(1)


def _print_diff(before: str, after: str, name: str) -> None:
    lines = difflib.unified_diff(
        before.splitlines(keepends=True), after.splitlines(keepends=True), name, f"{name} (canonical)"
    )
    for line in lines:
        console.out(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n", end="")


def _replace(path: Path, text: str) -> None:
    """Write the new text beside the file and put it in its place, so that a crash leaves one or the other."""
    target = path.resolve()
    with system_errors(path, "write", FileError):
        mode = target.stat().st_mode
        descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(text.encode())
                file.flush()
                os.fchmod(file.fileno(), mode & 0o7777)
                os.fsync(file.fileno())
            Path(temporary).replace(target)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
