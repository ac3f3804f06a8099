"""`corral fmt`: Modelfiles in canonical form."""

from __future__ import annotations

import difflib
import re
from codecs import BOM_UTF8
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from ..modelfile import rules
from ..modelfile.diagnostics import ModelfileError
from ..modelfile.parser import parse
from ..modelfile.printer import print_modelfile
from ..store.errors import FileError, InputError
from . import console
from .sources import read_source, write_source


def command(
    files: Annotated[list[str] | None, typer.Argument(help="Modelfiles, or - for standard input to output.")] = None,
    *,
    check: Annotated[bool, typer.Option("--check", help="Change nothing; exit 1 when something would change.")] = False,
    diff: Annotated[bool, typer.Option("--diff", help="Change nothing; print what would change.")] = False,
) -> None:
    """Write Modelfiles in canonical form, comments and blank lines kept."""
    failed = False
    for file in files or ["Modelfile"]:
        try:
            failed |= _format(file, check=check, diff=diff)
        except (InputError, FileError) as error:
            console.fail(error)
            failed = True
    if failed:
        raise typer.Exit(1)


def _format(file: str, *, check: bool, diff: bool) -> bool:
    """One file; whether a check fails."""
    data, source, _ = read_source(file)
    modelfile = parse(source)
    lost = [found for found in modelfile.findings if found.rule in (rules.BAD_ENCODING, rules.INVISIBLE)]
    if lost:  # reading has dropped characters, and writing would make that final
        raise ModelfileError(source, lost)
    text = print_modelfile(modelfile)
    is_canonical = text.encode() == data
    if diff:
        console.out("".join(_diff(source.text, text, source.filename, has_mark=data.startswith(BOM_UTF8))), end="")
    elif check and not is_canonical:
        console.note(f"{source.filename}: not in canonical form")
    elif file == "-" and not check:
        console.out(text, end="")
    elif not is_canonical and not check:
        write_source(Path(file), text)
    return check and not is_canonical


def _diff(before: str, after: str, name: str, *, has_mark: bool) -> Iterator[str]:
    old, new = (re.findall(r"[^\n]*\n|[^\n]+", text) for text in ("\ufeff" * has_mark + before, after))
    for line in difflib.unified_diff(old, new, name, name):
        yield line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"
