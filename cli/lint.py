"""`corral lint`: everything that is wrong or doubtful in Modelfiles."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ..modelfile.builder import build
from ..modelfile.diagnostics import render
from ..modelfile.lint import fix, fix_model, lint, lint_model
from ..modelfile.parser import Mode, read
from ..modelfile.reports import FileReport, to_github, to_json, to_sarif
from ..modelfile.source import Source
from ..store.errors import FileError, InputError
from ..store.local import Store
from ..store.name import Name
from . import console
from .settings import Settings
from .sources import read_source, write_source

CLEAN, WARNINGS, ERRORS = 0, 1, 2


class Format(StrEnum):
    """How findings are printed."""

    text = "text"
    json = "json"
    sarif = "sarif"
    github = "github"


def command(
    files: Annotated[list[str] | None, typer.Argument(help="Modelfiles, or - for standard input.")] = None,
    *,
    model: Annotated[
        str | None, typer.Option("--model", help="Check how a stored model's prompts are made, instead of files.")
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="What Ollama swallows silently is an error; any warning exits 1.")
    ] = False,
    fix_: Annotated[
        bool, typer.Option("--fix", help="Write a TEMPLATE that agrees with the model's own, and stops that it writes.")
    ] = False,
    format_: Annotated[Format, typer.Option("--format", help="For people, or for a program.")] = Format.text,
) -> None:
    """Check Modelfiles. Exit code 0: clean; 1: warnings, with --strict; 2: errors."""
    store = Settings.from_environment().store
    if model is not None and files:
        raise InputError("name files or a --model, not both")
    reports: list[FileReport] = []
    severities: set[str] = set()
    for target in [model] if model is not None else files or ["Modelfile"]:
        try:
            if model is not None:
                reports.append(_check_model(target, store, fixes=fix_))
            else:
                reports.append(_check_file(target, store, fixes=fix_, mode="strict" if strict else "ollama"))
        except (InputError, FileError) as error:
            console.fail(error)
            severities.add("error")
            continue
        severities.update(one.severity for one in reports[-1].diagnostics)
    _print(reports, format_)
    raise typer.Exit(ERRORS if "error" in severities else WARNINGS if strict and "warning" in severities else CLEAN)


def _check_file(file: str, store: Store, *, fixes: bool, mode: Mode) -> FileReport:
    from .wiring import token_counter

    _, source, folder = read_source(file)
    modelfile = read(source, mode)
    text = fix(modelfile, store, folder) if fixes else None
    if text is not None and file == "-":
        console.out(text, end="")
    elif text is not None:
        write_source(Path(file), text)
        console.note(f"{source.filename}: fixed")
    if text is not None:
        source = Source(text, source.filename)
        modelfile = read(source, mode)
    return FileReport(source, lint(modelfile, store, folder=folder, count_tokens=token_counter()))


def _check_model(text: str, store: Store, *, fixes: bool) -> FileReport:
    name = Name.parse(text)
    modelfile, found = lint_model(store, name)
    remedy = fix_model(modelfile, store, name) if fixes else None
    if remedy is not None:
        build(name, remedy, store, folder=store.root)
        console.note(f"{name}: fixed")
        modelfile, found = lint_model(store, name)
    return FileReport(modelfile.source, found)


def _print(reports: list[FileReport], format_: Format) -> None:
    match format_:
        case Format.json:
            console.out_json(to_json(reports))
        case Format.sarif:
            from .. import __version__

            console.out_json(to_sarif(reports, __version__))
        case Format.github:
            for line in to_github(reports):
                console.out(line)
        case Format.text:
            for report in reports:
                for found in report.diagnostics:
                    console.out(render(found, report.source))
