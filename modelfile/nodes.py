"""The syntax tree of a Modelfile: one frozen node per instruction, named after its rule in grammar.lark. Pure.

Spans say where a node stands and do not take part in equality.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from .rules import Diagnostic
from .source import Source, Span

_PATH_STARTS = ("/", "./", "../", "~", "\\")


@dataclass(frozen=True, slots=True)
class Instruction:
    """An instruction with one value."""

    value: str
    span: Span = field(compare=False)
    """From the keyword to the end of the value."""
    value_span: Span = field(compare=False)

    @property
    def keyword(self) -> str:
        """The instruction's word, in capitals."""
        return type(self).__name__.upper()

    @property
    def flat(self) -> tuple[str, str]:
        """The pair that Ollama's parser makes of the instruction: a name in lower case and the value."""
        return (self.keyword.lower(), self.value)


class From(Instruction):
    """`FROM path-or-name`."""

    @property
    def flat(self) -> tuple[str, str]:
        """`("model", value)`."""
        return ("model", self.value)

    @property
    def is_path(self) -> bool:
        """Whether the value cannot have meant a model's name, by its looks."""
        return (
            self.value.startswith(_PATH_STARTS)
            or self.value in (".", "..")
            or self.value.lower().endswith((".gguf", ".bin", ".safetensors"))
        )


class License(Instruction):
    """`LICENSE text`; each one is kept."""


class Template(Instruction):
    """`TEMPLATE text`: Go template for the prompt."""


class System(Instruction):
    """`SYSTEM text`."""


class Adapter(Instruction):
    """`ADAPTER path`: a LoRA."""


class Draft(Instruction):
    """`DRAFT path`: a draft model for speculative decoding."""


class Renderer(Instruction):
    """`RENDERER name`: a built-in prompt renderer."""


class Parser(Instruction):
    """`PARSER name`: a built-in answer parser."""


class Requires(Instruction):
    """`REQUIRES version`: the least Ollama version."""


@dataclass(frozen=True, slots=True)
class Parameter(Instruction):
    """`PARAMETER name value`."""

    name: str
    name_span: Span = field(compare=False)

    @property
    def flat(self) -> tuple[str, str]:
        """`(name, value)`."""
        return (self.name, self.value)


@dataclass(frozen=True, slots=True)
class Message(Instruction):
    """`MESSAGE role text`."""

    role: str
    role_span: Span = field(compare=False)

    @property
    def flat(self) -> tuple[str, str]:
        """`("message", "role: text")`."""
        return ("message", f"{self.role}: {self.value}")


@dataclass(frozen=True, slots=True)
class Comment:
    """`# text`, to the end of its line; blanks at the end are not part of it."""

    text: str
    span: Span = field(compare=False)


Node: TypeAlias = "Instruction | Comment"


@dataclass(frozen=True, slots=True)
class Modelfile:
    """A parsed file: its nodes in the order written."""

    nodes: tuple[Node, ...]
    source: Source = field(compare=False)
    findings: tuple[Diagnostic, ...] = field(default=(), compare=False)
    """What is wrong or doubtful in the language, in the order of the text; `parse` lets no error through."""

    @property
    def instructions(self) -> tuple[Instruction, ...]:
        """The nodes that mean something."""
        return tuple(node for node in self.nodes if isinstance(node, Instruction))
