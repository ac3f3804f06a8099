"""Answering: how a model's answer to a request is written: what its text means, and what it has to be."""

from __future__ import annotations

import secrets
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from .dialogue.answer import AnswerParser, parser_for
from .dialogue.families.recognition import form_of
from .dialogue.families.table import AnswerForm, tagged
from .dialogue.prompt import Draft
from .dialogue.schema import after_thinking, call_grammar, json_grammar, schema_grammar
from .request import Chat, Format, InferenceRequest
from .served import ModelFacts

_TAIL = 256
"""Characters of a prompt's end: a tag that is open there is no longer."""


@dataclass(frozen=True, slots=True)
class Answering:
    """See the module."""

    form: AnswerForm | None
    """None: the text is the answer."""
    tools: Sequence[Mapping[str, Any]] = ()
    thinks: bool = False
    grammar: str = ""
    is_single: bool = False
    """Whether only the first call counts."""

    @classmethod
    def of(cls, model: ModelFacts, request: InferenceRequest, draft: Draft) -> Answering:
        """How this request is answered. Raises InputError for a schema that cannot be enforced."""
        task = request.task
        grammar = _grammar(request.format)
        if draft.is_raw or draft.suffix:
            return cls(None, grammar=grammar)
        templates = draft.templates
        kind = "template" if templates.go else "gguf" if templates.jinja else "none"
        form = form_of(template=templates.go, chat_template=templates.jinja, family=model.family, kind=kind)
        tools = task.tools if isinstance(task, Chat) and task.calls != "none" else ()
        if isinstance(task, Chat) and task.calls == "required":
            form = replace(form, family=tagged("{"))
            grammar = call_grammar(tools, name=task.tool)
        think = draft.conversation.think
        thinks = think is not False if form.family.whole else bool(think) and form.thinking is not None
        return cls(form, tools, thinks, grammar, is_single=isinstance(task, Chat) and task.is_single)

    def begun(self, prompt: str) -> tuple[AnswerParser, str]:
        """What reads the answer to this prompt, and the grammar that it keeps to, "" for none."""
        end = prompt[-_TAIL:]
        form = self.form or _PLAIN
        parser = parser_for(form, tools=self.tools, thinks=self.thinks, prompt_end=end, new_id=_new_id)
        tags = form.thinking
        if not (self.grammar and self.thinks and tags) or tags.are_closed_in(end):
            return parser, self.grammar
        inside = tags.are_open_in(end)
        return parser, after_thinking(self.grammar, tags.opening, tags.closing, is_inside=inside)


_PLAIN = AnswerForm(family=tagged("{"))
"""Without tools and thoughts all of it is content."""
_ALPHABET = string.ascii_lowercase + string.digits


def _grammar(wanted: Format) -> str:
    if wanted is None:
        return ""
    return json_grammar() if wanted == "json" else schema_grammar(wanted)


def _new_id() -> str:
    return "call_" + "".join(secrets.choice(_ALPHABET) for _ in range(8))
