"""Parse: Modelfile text to syntax tree, by Lark's LALR over grammar.lark and our own lexer. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from typing import Any, Literal, TypeAlias

from lark import Lark, Token, Transformer

from . import nodes, rules
from .diagnostics import ModelfileError
from .lexer import ModelfileLexer, Scanner
from .parameters import PARAMETERS
from .rules import Diagnostic
from .source import MAX_BYTES, Source, Span

Mode: TypeAlias = Literal["ollama", "strict"]


def parse(text: str | bytes | Source, mode: Mode = "ollama", *, filename: str = "Modelfile") -> nodes.Modelfile:
    """The syntax tree of a Modelfile.

    Mode "ollama" accepts exactly what Ollama's parser accepts, with the same values; "strict" also refuses what Ollama
    silently swallows, drops or replaces. Raises ModelfileError with every problem of the language found; what the values
    mean is looked at later.
    """
    if not isinstance(text, Source) and len(text) > MAX_BYTES:
        nothing = Source("", filename)
        raise ModelfileError(nothing, [rules.TOO_LARGE.at(Span(0, 0), f"more than {MAX_BYTES} bytes")])
    modelfile = read(text if isinstance(text, Source) else _source(text, filename), mode)
    errors = [found for found in modelfile.findings if found.severity == "error"]
    if errors:
        raise ModelfileError(modelfile.source, errors)
    return modelfile


def read(source: Source, mode: Mode = "ollama") -> nodes.Modelfile:
    """The syntax tree of what is well-formed in a Modelfile; what is not is among its findings."""
    strict = mode == "strict"
    scanner = Scanner(source, strict=strict)
    tree: Any = _grammar().parse(scanner)  # pyright: ignore[reportArgumentType] - our lexer takes it
    found = scanner.diagnostics
    if source.damaged_at >= 0:
        span = Span(source.damaged_at, source.damaged_at + 1)
        found.append(rules.BAD_ENCODING.at(span, "bytes here are no text", "save the file as UTF-8", strict=strict))
    if modctl := [one for one in found if one.rule is rules.MODCTL]:
        found = modctl  # the rest is right in its own language
    modelfile = nodes.Modelfile(tuple(tree), source)
    found += _replaced(modelfile, strict=strict)
    # Ollama goes by the pairs, where `PARAMETER model x` is one too; as a parameter it is refused later.
    if "FROM" not in scanner.failed and not any(node.flat[0] == "model" for node in modelfile.instructions):
        found.append(
            rules.NO_FROM.at(Span(0, 0), "no FROM line", "say what to build from: FROM ./model.gguf, or FROM name")
        )
    found.sort(key=lambda one: one.span.start)
    return replace(modelfile, findings=tuple(found))


def _source(text: str | bytes, filename: str) -> Source:
    return Source.decode(text, filename) if isinstance(text, bytes) else Source(text.removeprefix("\ufeff"), filename)


def _replaced(modelfile: nodes.Modelfile, *, strict: bool) -> Iterator[Diagnostic]:
    """Instructions of which only the last counts, where there are several."""
    seen: dict[str, int] = {}
    named = [node for node in modelfile.instructions if isinstance(node, nodes.From) and not node.is_path]
    for node in modelfile.instructions:
        if isinstance(node, nodes.From) and named and node is not named[-1]:
            message = f"this FROM is passed over: of several the last name counts, {named[-1].value[:200]}"
            yield rules.DUPLICATE.at(node.span, message, "remove it", strict=strict)
        if isinstance(node, (nodes.From, nodes.License, nodes.Message, nodes.Draft)):
            continue
        is_parameter = isinstance(node, nodes.Parameter)
        if is_parameter and PARAMETERS.get(node.name, PARAMETERS["stop"]).kind == "strings":
            continue
        what = f"PARAMETER {node.name}" if is_parameter else node.keyword
        if what in seen:
            message = f"this {what} replaces the one on line {seen[what]}"
            yield rules.DUPLICATE.at(node.span, message, "only the last one counts; remove the other", strict=strict)
        seen[what] = modelfile.source.position(node.span.start)[0]


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
        return nodes.Comment(str(tokens[0]).rstrip(), _span(tokens[0]))

    from_ = _simple(nodes.From)
    license = _simple(nodes.License)
    template = _simple(nodes.Template)
    system = _simple(nodes.System)
    adapter = _simple(nodes.Adapter)
    draft = _simple(nodes.Draft)
    renderer = _simple(nodes.Renderer)
    parser = _simple(nodes.Parser)
    requires = _simple(nodes.Requires)
