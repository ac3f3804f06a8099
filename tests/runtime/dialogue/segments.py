"""Segments: an output of a model laid out so that a test knows what each piece of it is, and how it is parsed."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from corral.modelfile.template.conversation import ToolCall
from corral.runtime.dialogue.answer import AnswerParser, parser_for
from corral.runtime.dialogue.families.table import FAMILIES, UNKNOWN, AnswerForm, Family
from corral.runtime.dialogue.parts import Called, Content, Part, Thought
from corral.runtime.dialogue.thinking import ThinkingTags

THINK = ThinkingTags("<think>", "</think>")
TOOLS: list[dict[str, Any]] = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
            },
        },
    },
    {
        "name": "note",  # a bare function, as some clients send it
        "parameters": {
            "properties": {
                "text": {"type": "string"},
                "tags": {"type": "array", "items": {"type": "string"}},
                "urgent": {"type": ["boolean", "null"]},
                "place": {"anyOf": [{"type": "object"}, {"type": "null"}]},
                "weight": {"type": "number"},
            }
        },
    },
    {"type": "function", "function": {"name": "clock"}},
]
BY_NAME = {family.name: family for family in FAMILIES}


@dataclass(frozen=True)
class Markup:
    """What is nobody's."""

    text: str


@dataclass(frozen=True)
class Call:
    """A call, with all that is written for it, blanks before it included."""

    text: str
    name: str
    arguments: dict[str, Any]


Segment: TypeAlias = Content | Thought | Markup | Call


@dataclass(frozen=True)
class Output:
    """An answer of a model."""

    title: str
    family: Family
    segments: Sequence[Segment]
    thinking: ThinkingTags | None = THINK
    prompt_end: str = ""

    @property
    def text(self) -> str:
        return "".join(segment.text for segment in self.segments)

    @property
    def parts(self) -> list[Part]:
        calls = itertools.count()
        return merged(
            Called(ToolCall(segment.name, segment.arguments, "call_id", next(calls)))
            if isinstance(segment, Call)
            else segment
            for segment in self.segments
            if not isinstance(segment, Markup)
        )

    def parser(self, tools: Sequence[dict[str, Any]] = TOOLS, *, thinks: bool = True) -> AnswerParser:
        form = AnswerForm(family=self.family, thinking=self.thinking)
        return parser_for(form, tools=tools, thinks=thinks, prompt_end=self.prompt_end, new_id=lambda: "call_id")


def output(title: str, family: str, *segments: Segment, **others: Any) -> Output:
    """An output of a family of the table, or of an unknown one."""
    return Output(f"{family}: {title}", BY_NAME.get(family, UNKNOWN), segments, **others)


ROME = {"city": "Rome", "days": 3}
ROME_JSON = '{"city": "Rome", "days": 3}'
NESTED = {
    "text": 'a "b" \\ <tool_call>{"name": </tool_call>',
    "tags": ["ü", "🌍", "}{"],
    "place": {"a": [{"b": None}]},
}
NESTED_JSON = (
    r'{"text": "a \"b\" \\ <tool_call>{\"name\": </tool_call>", "tags": ["ü", "\ud83c\udf0d", "}{"],'
    r' "place": {"a": [{"b": null}]}}'
)
THOUGHT: tuple[Segment, ...] = (Markup("\n<think>\n"), Thought("Rome? <b>\n\n"), Markup("</think>\n\n"))


def hermes(arguments: str, name: str = "weather") -> str:
    """A call as most families write it."""
    return f'<tool_call>\n{{"name": "{name}", "arguments": {arguments}}}\n</tool_call>'


def merged(parts: Iterable[Part]) -> list[Part]:
    """The parts with neighbours of a kind made one."""
    together: list[Part] = []
    for part in parts:
        last = together[-1] if together else None
        if isinstance(part, Content) and isinstance(last, Content):
            together[-1] = Content(last.text + part.text)
        elif isinstance(part, Thought) and isinstance(last, Thought):
            together[-1] = Thought(last.text + part.text)
        else:
            together.append(part)
    return together


def parsed(parser: AnswerParser, pieces: Iterable[str]) -> list[Part]:
    """What comes of the pieces."""
    parts = [part for piece in pieces for part in parser.feed(piece)]
    return merged([*parts, *parser.end()])
