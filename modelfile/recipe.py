"""Recipe: what a Modelfile asks for, its instructions folded by Ollama's rules of repetition (spec part 3.4). Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from . import nodes
from .diagnostics import Diagnostic, ModelfileError
from .parameters import DEPRECATED, ParameterError, Value, read_parameter
from .source import Span
from .template.errors import TemplateError
from .template.parser import Template

_SEMVER = re.compile(r"v?\d+(\.\d+){0,2}(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?")


@dataclass(frozen=True, slots=True)
class Recipe:
    """A checked Modelfile. Empty texts are as good as absent: they inherit."""

    sources: tuple[nodes.From, ...]
    adapter: nodes.Adapter | None = None
    drafts: tuple[nodes.Draft, ...] = ()
    template: str = ""
    system: str = ""
    renderer: str = ""
    parser: str = ""
    requires: str = ""
    parameters: Mapping[str, Value] = field(default_factory=dict[str, Value])
    messages: tuple[tuple[str, str], ...] = ()
    """Role and text."""
    licenses: tuple[str, ...] = ()
    warnings: tuple[Diagnostic, ...] = ()


def check(modelfile: nodes.Modelfile) -> Recipe:
    """Fold and check the instructions. Raises ModelfileError with every problem found."""
    texts = {"template": "", "system": "", "renderer": "", "parser": "", "requires": ""}
    sources: list[nodes.From] = []
    drafts: list[nodes.Draft] = []
    adapter: nodes.Adapter | None = None
    parameters: dict[str, Value] = {}
    messages: list[tuple[str, str]] = []
    licenses: list[str] = []
    found: list[Diagnostic] = []
    for node in modelfile.instructions:
        match node:
            case nodes.From():
                sources.append(node)
                if not node.value:
                    found.append(Diagnostic(node.span, "FROM names nothing", "FROM ./model.gguf, or FROM name"))
            case nodes.Parameter():
                _add_parameter(node, parameters, found)
            case nodes.Message():
                messages.append((node.role, node.value))
            case nodes.License():
                licenses += [node.value] if node.value else []
            case nodes.Adapter():
                adapter = node
            case nodes.Draft():
                drafts.append(node)
            case nodes.Template():
                texts["template"] = node.value
                _check_template(node, modelfile.source.text, found)
            case nodes.Requires():
                texts["requires"] = node.value.removeprefix("v")
                if not _SEMVER.fullmatch(node.value):
                    found.append(Diagnostic(node.value_span, "requires must be a valid semver (e.g. 0.14.0)"))
            case _:
                texts[type(node).__name__.lower()] = node.value
    errors = [diagnostic for diagnostic in found if diagnostic.severity == "error"]
    if errors:
        raise ModelfileError(modelfile.source, errors)
    return Recipe(
        tuple(sources),
        adapter,
        tuple(drafts),
        parameters=parameters,
        messages=tuple(messages),
        licenses=tuple(licenses),
        warnings=tuple(found),
        **texts,
    )


def _add_parameter(node: nodes.Parameter, parameters: dict[str, Value], found: list[Diagnostic]) -> None:
    if node.name in DEPRECATED:
        message = f"parameter {node.name} is deprecated"
        found.append(Diagnostic(node.name_span, message, "it has no effect; remove the line", "warning"))
        return
    try:
        value = read_parameter(node.name, node.value)
    except ParameterError as error:
        span = node.name_span if error.about == "name" else node.value_span
        found.append(Diagnostic(span, str(error), error.hint))
        return
    before = parameters.get(node.name)
    parameters[node.name] = before + value if isinstance(before, list) and isinstance(value, list) else value


def _check_template(node: nodes.Template, text: str, found: list[Diagnostic]) -> None:
    try:
        Template(node.value)
    except TemplateError as error:
        start, end = node.value_span.start, node.value_span.end
        for _ in range(1, error.line or 1):
            start = text.find("\n", start, end) + 1 or start
        stop = text.find("\n", start, end)
        span = Span(start, end if stop < 0 else stop)
        found.append(Diagnostic(span, f"template error: {error}", error.hint))
