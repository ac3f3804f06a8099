"""`corral parse`: a Modelfile's instructions for other tools."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from ..modelfile.parser import parse
from . import console
from .sources import read_source


def command(
    file: Annotated[str, typer.Argument(help="The Modelfile, or - for standard input.")] = "Modelfile",
    *,
    strict: Annotated[bool, typer.Option("--strict", help="What Ollama swallows silently is an error.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON array.")] = False,
) -> None:
    """Print the name-and-value pairs that Ollama makes of a Modelfile, with their lines."""
    _, source, _ = read_source(file)
    pairs: list[dict[str, str | int]] = []
    for node in parse(source, "strict" if strict else "ollama").instructions:
        name, value = node.flat
        line, column = source.position(node.span.start)
        end_line, _ = source.position(node.span.end)
        pairs.append({"name": name, "value": value, "line": line, "column": column, "end_line": end_line})
    if as_json:
        console.out_json(pairs)
    else:
        for pair in pairs:
            console.out(f"{pair['line']}\t{pair['name']}\t{json.dumps(pair['value'], ensure_ascii=False)}")
