"""Drift: where a TEMPLATE gives another prompt than the chat template in the model's own GGUF. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property, lru_cache

from ...store.vocabulary import Vocabulary
from .cases import CASES, Case
from .causes import find_cause
from .collate import render_chat
from .conversation import ChatMessage, Conversation
from .errors import TemplateError
from .jinja import render_jinja
from .parser import Template
from .sandbox import Budget

_NOW = datetime(2024, 7, 26, tzinfo=UTC)
"""When all prompts are rendered, so that two that write the date write the same."""
_MARK = "corral\N{MIDDLE DOT}mark"
NO_VOCABULARY = Vocabulary(frozenset(), frozenset(), "", "", adds_bos=False)


@dataclass(frozen=True, slots=True)
class Difference:
    """A conversation for which the two prompts are not the same."""

    case: Case
    ours: str
    """By TEMPLATE."""
    theirs: str
    """By the model's own template."""
    cause: str
    is_edge: bool
    """Whether it is no mistake: see Case."""


class OwnTemplate:
    """A model's own chat template, and the prompts it makes of the cases."""

    def __init__(self, jinja: str, vocabulary: Vocabulary | None) -> None:
        self.jinja = jinja
        self._vocabulary = vocabulary or NO_VOCABULARY
        self._budget = Budget()
        """For all its prompts together; what is said in them is short."""
        self._made: dict[str, str | TemplateError] = {}

    @cached_property
    def failure(self) -> TemplateError | None:
        """Why it cannot make a prompt of a single question, None when it can."""
        plain = next(case for case in CASES if len(case.conversation.messages) == 1)
        try:
            self.prompt(plain.conversation)
        except TemplateError as error:
            return error
        return None

    @cached_property
    def prompts(self) -> Mapping[str, str]:
        """By the cases' names; a case that the template refuses is left out."""
        found: dict[str, str] = {}
        for case in CASES:
            try:
                found[case.name] = self.prompt(case.conversation)
            except TemplateError:
                continue
        return found

    @cached_property
    def tells(self) -> bool:
        """Whether some prompt has all that was said in it; one that never has agrees with every template."""
        cases = [case for case in CASES if case.name in self.prompts]
        return any(
            all(message.content in self.prompts[case.name] for message in case.conversation.messages) for case in cases
        )

    @property
    def takes_system(self) -> bool:
        """Whether it makes prompts of conversations with a system message."""
        return CASES[0].name in self.prompts

    def prompt(self, conversation: Conversation) -> str:
        """The prompt without the token that the tokenizer adds. Raises TemplateError."""
        key = repr(conversation)
        if key not in self._made:
            try:
                self._made[key] = self.bare(self._rendered(conversation))
            except TemplateError as error:
                self._made[key] = error
        if isinstance(made := self._made[key], TemplateError):
            raise made
        return made

    def _rendered(self, conversation: Conversation) -> str:
        bos, eos = self._vocabulary.bos, self._vocabulary.eos
        return render_jinja(self.jinja, conversation, bos=bos, eos=eos, now=lambda: _NOW, budget=self._budget)

    def bare(self, prompt: str) -> str:
        """A prompt without the token that the tokenizer adds."""
        return prompt.removeprefix(self._vocabulary.bos) if self._vocabulary.adds_bos else prompt

    def differences(self, text: str) -> list[Difference]:
        """Where a TEMPLATE differs, in the order of the cases. Raises TemplateError for what is no template."""
        template = _parsed(text)
        has_tools = "tools" in template.variables
        found: list[Difference] = []
        for case in CASES:
            theirs = self.prompts.get(case.name)
            if theirs is None or (case.conversation.tools and not has_tools):
                continue
            try:
                ours = self.bare(render_chat(template, case.conversation))
            except TemplateError as error:
                found.append(Difference(case, "", theirs, f"it fails: {error.reason}", case.is_edge))
                continue
            if ours not in (theirs, self._continued(case.conversation)):
                found.append(self._difference(template, case, ours, theirs))
        return found

    def agrees(self, text: str, *, everywhere: bool = False) -> bool:
        """Whether a TEMPLATE gives the same prompts; those of edge cases only count `everywhere`."""
        return not any(everywhere or not one.is_edge for one in self.differences(text))

    def _continued(self, conversation: Conversation) -> str | None:
        """The other way to write a reply that is begun: the model goes on with it."""
        *before, last = conversation.messages
        if last.role != "assistant":
            return None
        try:
            return self.prompt(replace(conversation, messages=before)) + last.content
        except TemplateError:
            return None

    def _difference(self, template: Template, case: Case, ours: str, theirs: str) -> Difference:
        messages = case.conversation.messages
        default = self.default_system(messages)
        if default:
            with_default = replace(case.conversation, messages=(ChatMessage("system", default), *messages))
            if self.bare(render_chat(template, with_default)) == theirs:
                cause = f"without a system message the model's own template says {default!r}"
                return Difference(case, ours, theirs, cause, is_edge=True)
        # A template that leaves out what was said is no model for others.
        is_edge = case.is_edge or any(message.content not in theirs for message in messages)
        return Difference(case, ours, theirs, find_cause(case, ours, theirs, self._vocabulary), is_edge)

    def default_system(self, messages: Sequence[ChatMessage]) -> str:
        """The system message that the template writes when a conversation has none; "" when it writes none."""
        if messages[0].role == "system":
            return ""
        try:
            head, _, tail = self.prompt(Conversation((ChatMessage("system", _MARK), *messages))).partition(_MARK)
            without = self.prompt(Conversation(messages))
        except TemplateError:
            return ""
        if not (without.startswith(head) and without.endswith(tail)):
            return ""
        return without[len(head) : len(without) - len(tail)]


@lru_cache(maxsize=64)
def _parsed(text: str) -> Template:
    return Template(text, today=_NOW.date)
