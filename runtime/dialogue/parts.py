"""Parts: what an answer is made of. Values only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from ...modelfile.template.conversation import ToolCall


@dataclass(frozen=True, slots=True)
class Content:
    """Some of what the model says."""

    text: str


@dataclass(frozen=True, slots=True)
class Thought:
    """Some of what it thinks before it says something."""

    text: str


@dataclass(frozen=True, slots=True)
class Called:
    """A tool that it calls, whole."""

    call: ToolCall


Part: TypeAlias = Content | Thought | Called
