"""`corral lint`: everything that is wrong or doubtful in Modelfiles."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from ..modelfile.diagnostics import render
from ..modelfile.lint import lint
from ..modelfile.parser import read
from ..modelfile.reports import FileReport, to_github, to_json, to_sarif
from ..store.errors import FileError, InputError
from . import console
from .settings import Settings
from .sources import read_source

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
    strict: Annotated[
        bool, typer.Option("--strict", help="What Ollama swallows silently is an error; any warning exits 1.")
    ] = False,
    format_: Annotated[Format, typer.Option("--format", help="For people, or for a program.")] = Format.text,
) -> None:
    """Check Modelfiles. Exit code 0: clean; 1: warnings, with --strict; 2: errors."""
    from .wiring import token_counter

    store = Settings.from_environment().store
    reports: list[FileReport] = []
    severities: set[str] = set()
    for file in files or ["Modelfile"]:
        try:
            _, source, folder = read_source(file)
        except (InputError, FileError) as error:
            console.fail(error)
            severities.add("error")
            continue
        modelfile = read(source, "strict" if strict else "ollama")
        found = lint(modelfile, store, folder=folder, count_tokens=token_counter())
        reports.append(FileReport(source, found))
        severities.update(one.severity for one in found)
    _print(reports, format_)
    raise typer.Exit(ERRORS if "error" in severities else WARNINGS if strict and "warning" in severities else CLEAN)


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
