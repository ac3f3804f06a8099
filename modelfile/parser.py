"""Parse: Modelfile text to syntax tree, by Lark's LALR over grammar.lark and our own lexer. Pure."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from lark import Lark, Token, Transformer

from . import nodes
from .diagnostics import Diagnostic, ModelfileError
from .lexer import ModelfileLexer, Scanner
from .source import Source, Span


def parse(text: str | bytes | Source, filename: str = "Modelfile") -> nodes.Modelfile:
    """The syntax tree of a Modelfile.

    Raises ModelfileError with every lexical problem found and, when there is none, for a file without FROM.
    """
    if isinstance(text, bytes):
        source = Source.decode(text, filename)
    else:
        source = text if isinstance(text, Source) else Source(text, filename)
    scanner = Scanner(source)
    tree: Any = _grammar().parse(scanner)  # pyright: ignore[reportArgumentType] - our lexer takes it
    diagnostics = list(scanner.diagnostics)
    modelfile = nodes.Modelfile(tuple(tree), source)
    if not any(isinstance(node, nodes.From) for node in modelfile.nodes) and not diagnostics:
        diagnostics.append(
            Diagnostic(Span(0, 0), "no FROM line", "say what to build from: FROM ./model.gguf, or FROM name")
        )
    if diagnostics:
        raise ModelfileError(source, diagnostics)
    return modelfile


def _span(first: Token, last: Token | None = None) -> Span:
    return Span(first.start_pos or 0, (last or first).end_pos or 0)


def _simple(kind: type[nodes.Instruction]) -> Callable[[object, list[Token]], nodes.Instruction]:
    def build(_: object, tokens: list[Token]) -> nodes.Instruction:
        keyword, value = tokens
        return kind(str(value), _span(keyword, value), _span(value))

    return build


@cache
def _grammar() -> Lark:
    return Lark.open(
        "grammar.lark",
        rel_to=__file__,
        parser="lalr",
        start="modelfile",
        lexer=ModelfileLexer,
        transformer=_TreeBuilder(),
    )


class _TreeBuilder(Transformer[Token, Any]):
    """One method per rule of the grammar, each giving the node of that name."""

    def modelfile(self, children: list[nodes.Node]) -> list[nodes.Node]:
        return children

    def parameter(self, tokens: list[Token]) -> nodes.Parameter:
        keyword, name, value = tokens
        return nodes.Parameter(str(value), _span(keyword, value), _span(value), str(name), _span(name))

    def message(self, tokens: list[Token]) -> nodes.Message:
        keyword, role, value = tokens
        return nodes.Message(str(value), _span(keyword, value), _span(value), str(role), _span(role))

    def comment(self, tokens: list[Token]) -> nodes.Comment:
        return nodes.Comment(str(tokens[0]), _span(tokens[0]))

    from_ = _simple(nodes.From)
    license = _simple(nodes.License)
    template = _simple(nodes.Template)
    system = _simple(nodes.System)
    adapter = _simple(nodes.Adapter)
    draft = _simple(nodes.Draft)
    renderer = _simple(nodes.Renderer)
    parser = _simple(nodes.Parser)
    requires = _simple(nodes.Requires)
