"""Console: the only place that prints. Data goes to stdout; progress, warnings and errors go to stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..store.errors import CorralError
from ..store.progress import Progress, Report

if TYPE_CHECKING:
    from rich.progress import TaskID


def out(text: str = "", end: str = "\n") -> None:
    """Print data."""
    sys.stdout.write(text + end)
    sys.stdout.flush()


def out_json(value: Any) -> None:
    """Print data for programs."""
    out(json.dumps(value, ensure_ascii=False, indent=2 if sys.stdout.isatty() else None))


def note(text: str) -> None:
    """Say something that is not data."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def fail(error: CorralError) -> None:
    """Print an error: one line, and a hint if there is one. A Modelfile's problems are shown in their lines."""
    render = getattr(error, "render", None)
    if render is not None:
        note(render())
        return
    note(f"Error: {clean(str(error))}")
    if error.hint:
        note(f"  hint: {clean(error.hint)}")


def clean(text: str) -> str:
    """Text from elsewhere, safe for a terminal: no control characters but line ends and tabs."""
    return "".join(c for c in text if c.isprintable() or c in "\n\t")


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table as Ollama prints one: columns padded to their content and four blanks."""
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]
    lines = ["".join(cell.ljust(width + 4) for cell, width in zip(row, widths, strict=True)) for row in (header, *rows)]
    out("\n".join(lines))


@contextmanager
def progress() -> Generator[Report]:
    """A Report that draws bars on a terminal, and elsewhere writes a line for each new status."""
    with _bars() if sys.stderr.isatty() else _lines() as report:
        yield report


@contextmanager
def _lines() -> Generator[Report]:
    last = ""

    def report(step: Progress) -> None:
        nonlocal last
        if step.status != last:
            note(clean(step.status))
        last = step.status

    yield report


@contextmanager
def _bars() -> Generator[Report]:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=Console(stderr=True)) as bars:
        tasks: dict[str, TaskID] = {}

        def report(step: Progress) -> None:
            status = clean(step.status)
            if step.total is None:
                bars.console.print(status, markup=False, highlight=False)
                return
            if status not in tasks:
                tasks[status] = bars.add_task(status, total=step.total)
            bars.update(tasks[status], completed=step.completed or 0)

        yield report
