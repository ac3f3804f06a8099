"""Print: nodes to Modelfile text that parses to the same nodes. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from . import nodes
from .lexer import Scanner
from .source import Source


class UnprintableError(ValueError):
    """A value the language has no way to write: there are no escapes (invisible characters, a line ending in `\"""`)."""


def print_instruction(node: nodes.Instruction) -> str:
    """One instruction as canonical text, without a line end. Raises UnprintableError."""
    keyword = type(node).__name__.upper()
    match node:
        case nodes.Parameter():
            head = f"{keyword} {node.name}"
        case nodes.Message():
            head = f"{keyword} {node.role}"
        case _:
            head = keyword
    for written in (node.value, f'"{node.value}"', f'"""{node.value}"""'):
        text = f"{head} {written}"
        if written and _reads_back(text, node.value):
            return text
    raise UnprintableError(f"{head}: the language cannot express this value")


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
    return not scanner.diagnostics and len(tokens) in (2, 3) and tokens[-1].type == "VALUE" and tokens[-1] == value
