"""Print: nodes to Modelfile text that parses to the same nodes. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

from . import nodes
from .lexer import Scanner
from .source import Source

_LINE_END = re.compile(r"\r\n|\r|\n")


class UnprintableError(ValueError):
    """A value the language has no way to write: there are no escapes (invisible characters, a line ending in `\"""`)."""


def print_instruction(node: nodes.Instruction) -> str:
    """One instruction as canonical text, without a line end. Raises UnprintableError."""
    keyword = node.keyword
    match node:
        case nodes.Parameter():
            head = f"{keyword} {node.name}"
        case nodes.Message():
            head = f"{keyword} {node.role}"
        case _:
            head = keyword
    plain, quoted, thrice = node.value, f'"{node.value}"', f'"""{node.value}"""'
    has_lines = "\n" in node.value or "\r" in node.value
    for written in (thrice, quoted) if has_lines else (plain, quoted, thrice):
        text = f"{head} {written}"
        if written and _reads_back(text, node.value):
            return text
    raise UnprintableError(f"{head}: the language cannot express this value")


def print_modelfile(modelfile: nodes.Modelfile) -> str:
    """A whole file in canonical form: a line for each instruction and comment, runs of blank lines as one.

    What it parses to is what `modelfile` is, comments included.
    """
    text = modelfile.source.text
    lines: list[str] = []
    end = 0
    for node in modelfile.nodes:
        between = text[end : node.span.start]
        if lines and len(_LINE_END.findall(between)) > 1:
            lines.append("")
        lines.append(f"#{node.text}" if isinstance(node, nodes.Comment) else print_instruction(node))
        end = node.span.end
    return "\n".join([*lines, ""])


def print_lines(instructions: Iterable[nodes.Instruction]) -> tuple[str, bool]:
    """The instructions a line each, and whether all could be written; for one that cannot, a comment stands there."""
    lines: list[str] = []
    complete = True
    for node in instructions:
        try:
            lines.append(print_instruction(node))
        except UnprintableError as error:
            complete = False
            lines.append(f"# {error}")
    return "\n".join(lines) + "\n", complete


def _reads_back(text: str, value: str) -> bool:
    scanner = Scanner(Source(text + "\n"))
    tokens = list(scanner.tokens())
    failed = any(found.severity == "error" for found in scanner.diagnostics)
    return not failed and len(tokens) in (2, 3) and tokens[-1].type == "VALUE" and tokens[-1] == value
