"""The syntax tree of a Modelfile: one frozen node per instruction, named after its rule in grammar.lark. Pure.

Spans say where a node stands and do not take part in equality.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from .source import Source, Span


@dataclass(frozen=True, slots=True)
class Instruction:
    """An instruction with one value."""

    value: str
    span: Span = field(compare=False)
    """From the keyword to the end of the value."""
    value_span: Span = field(compare=False)


class From(Instruction):
    """`FROM path-or-name`."""


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


@dataclass(frozen=True, slots=True)
class Message(Instruction):
    """`MESSAGE role text`."""

    role: str
    role_span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class Comment:
    """`# text`, to the end of its line."""

    text: str
    span: Span = field(compare=False)


Node: TypeAlias = "Instruction | Comment"


@dataclass(frozen=True, slots=True)
class Modelfile:
    """A parsed file: its nodes in the order written."""

    nodes: tuple[Node, ...]
    source: Source = field(compare=False)

    @property
    def instructions(self) -> tuple[Instruction, ...]:
        """The nodes that mean something."""
        return tuple(node for node in self.nodes if isinstance(node, Instruction))
