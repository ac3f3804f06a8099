"""Thinking: what a model writes between two tags before it answers. Pure.

The rules are those of Ollama (thinking/parser.go, v0.33): only blanks may come before the opening tag, and the blanks after
either tag belong to nobody.
"""

from __future__ import annotations

from dataclasses import dataclass

from .parts import Thought
from .scanner import Scanner, Steps


@dataclass(frozen=True, slots=True)
class ThinkingTags:
    """What stands before and after the thoughts."""

    opening: str
    closing: str

    @property
    def both(self) -> tuple[str, str]:
        """Both of them."""
        return self.opening, self.closing

    def are_open_in(self, prompt: str) -> bool:
        """Whether the prompt's end has begun a thought."""
        return prompt.rstrip().endswith(self.opening)

    def are_closed_in(self, prompt: str) -> bool:
        """Whether the prompt's end has a thought already, an empty one: the model shall not think."""
        before = prompt.rstrip()
        return before.endswith(self.closing) and self.are_open_in(before.removesuffix(self.closing))


def thoughts(scanner: Scanner, tags: ThinkingTags, *, is_open: bool) -> Steps[None]:
    """thoughts := [blanks opening] blanks thought closing blanks

    The opening tag has been written by the prompt when `is_open`. Without it nothing is a thought, and nothing is read.
    """
    if not is_open:
        is_open = bool((yield from scanner.attempt("", _opening(scanner, tags.opening))))
    if not is_open:
        return
    yield from scanner.blanks()
    yield from scanner.say_until(Thought, (tags.closing,))
    yield from scanner.blanks()


def _opening(scanner: Scanner, opening: str) -> Steps[bool]:
    yield from scanner.blanks()
    yield from scanner.expect(opening)
    return True
