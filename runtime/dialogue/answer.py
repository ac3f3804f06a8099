"""Answer: from a model's text, as it streams in, to content, thoughts and tool calls. Pure.

Whatever the pieces are that the text comes in, the parts are the same, but for where content and thoughts are cut. Nothing
the model says is lost: what is no call after all is content, as it was written. Only markup goes, and blanks beside a call;
and the thoughts of a model that was not to think, if it is of a form that has a place for them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import Any

from .families.table import AnswerForm, Family
from .parts import Called, Content, Part, Thought
from .scanner import Scanner, Steps
from .thinking import ThinkingTags, thoughts
from .toolcalls import Offer


class AnswerParser:
    """One answer's: feed it the text, and end it."""

    def __init__(
        self, scanner: Scanner, steps: Steps[None], *, special_tokens: frozenset[str], has_calls: bool, thinks: bool
    ) -> None:
        self.special_tokens = special_tokens
        """Texts of control tokens that the engine has to print for this answer."""
        self._scanner = scanner
        self._steps = steps
        self._tidy = _Tidy() if has_calls else None
        self._thinks = thinks
        next(steps, None)

    def feed(self, text: str) -> list[Part]:
        """The parts that are now certain."""
        self._scanner.add(text)
        next(self._steps, None)
        parts = [part for part in self._scanner.taken() if self._thinks or not isinstance(part, Thought)]
        if parts and self._tidy:
            parts = self._tidy.beside_calls(parts)
        return parts if len(parts) < 2 else _merged(parts)

    def end(self) -> list[Part]:
        """What was held back, now that nothing follows."""
        self._scanner.close()
        parts = self.feed("")
        return _merged([*parts, *self._tidy.rest()]) if self._tidy else parts


def parser_for(
    form: AnswerForm, *, tools: Sequence[Mapping[str, Any]], thinks: bool, prompt_end: str, new_id: Callable[[], str]
) -> AnswerParser:
    """A parser for one answer. Without tools no call is looked for; unless it thinks, the tags of thoughts are content, and
    thoughts without tags are left out.

    `tools` are those offered, in the API's shape or bare functions; `prompt_end` is the end of the prompt, which may have
    begun a thought, or ended it; `new_id` gives each call its id. A form that is a row of messages is read in any case.
    """
    scanner, offer = Scanner(new_id), Offer(tools)
    whole, tags = form.family.whole, form.thinking if thinks else None
    steps = whole(scanner, offer, prompt_end) if whole else _answer(scanner, form.family, tags, offer, prompt_end)
    special = form.special_tokens if whole or tags or offer else frozenset[str]()
    return AnswerParser(scanner, steps, special_tokens=special, has_calls=bool(offer), thinks=thinks)


def _answer(scanner: Scanner, family: Family, tags: ThinkingTags | None, offer: Offer, prompt_end: str) -> Steps[None]:
    """answer := [thoughts] [bare calls] { content | opening calls | frame }"""
    if tags and not tags.are_closed_in(prompt_end):
        yield from thoughts(scanner, tags, is_open=tags.are_open_in(prompt_end))
    if offer and family.bare:
        yield from scanner.attempt("", family.bare(scanner, offer))
    openings = family.openings if offer else ()
    frame = family.frame if offer or tags else ()
    while tag := (yield from scanner.say_until(Content, (*openings, *frame))):
        if tag in openings:
            yield from scanner.attempt(tag, family.read(scanner, offer, tag))


class _Tidy:
    """Leaves out the blanks before and after calls, so that they do not look like content."""

    def __init__(self) -> None:
        self._held: list[str] = []
        self._follows_call = False

    def beside_calls(self, parts: Sequence[Part]) -> list[Part]:
        """The parts without those blanks; blanks that may turn out to be some are held back."""
        tidy: list[Part] = []
        for part in parts:
            if isinstance(part, Called):
                self._held.clear()
                self._follows_call = True
                tidy.append(part)
                continue
            if isinstance(part, Thought):
                tidy += *self.rest(), part
                continue
            text = part.text.lstrip() if self._follows_call else part.text
            said = text.rstrip()
            if said:
                if self._held:
                    tidy += self.rest()
                tidy.append(part if said == part.text else Content(said))
                self._follows_call = False
            if len(said) < len(text):
                self._held.append(text[len(said) :])
        return tidy

    def rest(self) -> list[Part]:
        """What is held back."""
        held, self._held = self._held, []
        return [Content("".join(held))] if held else []


def _merged(parts: list[Part]) -> list[Part]:
    """The parts with neighbours of a kind made one."""
    merged: list[Part] = []
    for kind, some in groupby(parts, type):
        if kind is Called:
            merged += some
        else:
            texts = "".join(part.text for part in some if not isinstance(part, Called))
            merged.append(Thought(texts) if kind is Thought else Content(texts))
    return merged
