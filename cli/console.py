"""Console: the only place that prints. Data goes to stdout; progress, warnings and errors go to stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from ..store.errors import CorralError
from ..store.progress import Report


def out(text: str = "", end: str = "\n") -> None:
    """Print data."""
    sys.stdout.write(text + end)
    sys.stdout.flush()


def out_bytes(data: bytes) -> None:
    """Print data that is not to be changed by a byte."""
    sys.stdout.flush()
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


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
def progress(*, as_json: bool = False) -> Generator[Report]:
    """A Report that draws bars on a terminal, and elsewhere writes lines; or writes the API's objects to stdout.

    With `as_json` an error in the block is the last object, besides what is said of it on stderr.
    """
    if not as_json:
        with _bars() if sys.stderr.isatty() else _lines() as report:
            yield report
        return
    from .progress import Objects

    def write(fields: Mapping[str, str | int]) -> None:
        out(json.dumps(fields, ensure_ascii=False))

    try:
        yield Objects(write).report
    except CorralError as error:
        write({"error": str(error)})
        raise


@contextmanager
def _lines() -> Generator[Report]:
    from .progress import Lines

    yield Lines(lambda text: note(clean(text))).report


@contextmanager
def _bars() -> Generator[Report]:
    from rich.console import Console

    from .bars import Bars

    with Bars(Console(stderr=True)) as bars:
        yield lambda step: bars.take(replace(step, status=clean(step.status)))
