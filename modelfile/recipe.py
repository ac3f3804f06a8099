"""Recipe: what a Modelfile asks for, its instructions folded by Ollama's rules of repetition (spec part 3.4). Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from . import nodes, rules
from .diagnostics import ModelfileError
from .level import API_LEVEL, is_above_level, is_version
from .parameters import PARAMETERS, ParameterError, Value, read_parameter
from .rules import Diagnostic
from .source import Span


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

    @property
    def extras(self) -> tuple[nodes.Adapter | nodes.Draft, ...]:
        """The instructions that name a file besides FROM."""
        return (*([self.adapter] if self.adapter else []), *self.drafts)


def check(modelfile: nodes.Modelfile) -> tuple[Recipe, tuple[Diagnostic, ...]]:
    """The recipe, and the warnings. Raises ModelfileError with every error, those of the language included."""
    recipe, found = examine(modelfile)
    errors = [one for one in found if one.severity == "error"]
    if errors:
        raise ModelfileError(modelfile.source, errors)
    return recipe, tuple(found)


def examine(modelfile: nodes.Modelfile) -> tuple[Recipe, list[Diagnostic]]:
    """Fold the instructions; what is wrong in them is left out. And all findings, those of the language included."""
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
                    found.append(
                        rules.EMPTY_FROM.at(node.span, "FROM names nothing", "FROM ./model.gguf, or FROM name")
                    )
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
                _check_version(node, found)
            case _:
                texts[type(node).__name__.lower()] = node.value
    recipe = Recipe(
        tuple(sources),
        adapter,
        tuple(drafts),
        parameters=parameters,
        messages=tuple(messages),
        licenses=tuple(licenses),
        **texts,
    )
    # In strict mode the language has said so already.
    known = {(one.rule, one.span.start) for one in modelfile.findings}
    found = [*modelfile.findings, *(one for one in found if (one.rule, one.span.start) not in known)]
    return recipe, sorted(found, key=lambda one: one.span.start)


def _add_parameter(node: nodes.Parameter, parameters: dict[str, Value], found: list[Diagnostic]) -> None:
    spec = PARAMETERS.get(node.name)
    if spec and spec.is_deprecated:
        message = f"parameter {node.name} is deprecated"
        found.append(rules.DEPRECATED.at(node.name_span, message, "it has no effect; remove the line"))
        return
    try:
        value = read_parameter(node.name, node.value)
    except ParameterError as error:
        is_name = error.about == "name"
        rule = rules.BAD_VALUE if not is_name else rules.UNKNOWN_PARAMETER if node.name else rules.DOUBLED_BLANK
        found.append(rule.at(node.name_span if is_name else node.value_span, str(error), error.hint))
        return
    if spec and not spec.allows(value):
        message = f"{node.name} is {node.value}, which cannot be right"
        found.append(rules.OUT_OF_RANGE.at(node.value_span, message, f"{spec.meaning}: {spec.range_text}"))
    before = parameters.get(node.name)
    if isinstance(before, list) and isinstance(value, list):
        before += value
    else:
        parameters[node.name] = value


def _check_version(node: nodes.Requires, found: list[Diagnostic]) -> None:
    if not is_version(node.value):
        message = "requires must be a valid semver (e.g. 0.14.0)"
        found.append(rules.BAD_VERSION.at(node.value_span, message))
    elif is_above_level(node.value):
        message = f"requires {node.value}, and this is level {API_LEVEL} of Ollama's API"
        found.append(
            rules.NEWER_VERSION.at(node.value_span, message, "the model may not work here; a newer Corral may do")
        )


def _check_template(node: nodes.Template, text: str, found: list[Diagnostic]) -> None:
    from .template.errors import TemplateError
    from .template.parser import Template

    try:
        Template(node.value)
    except TemplateError as error:
        start, end = node.value_span.start, node.value_span.end
        for _ in range(1, error.line or 1):
            start = text.find("\n", start, end) + 1 or start
        stop = text.find("\n", start, end)
        span = Span(start, end if stop < 0 else stop)
        found.append(rules.BAD_TEMPLATE.at(span, f"template error: {error}", error.hint))
