"""Site: where in which net the values of a shape go. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from .automaton import Net
from .shape import Shape


@dataclass(frozen=True, slots=True)
class Site:
    """A shape, and the states between which its values are to be read."""

    net: Net
    source: int
    target: int
    shape: Shape
    is_alone: bool
    """Whether there is no other shape beside it."""
