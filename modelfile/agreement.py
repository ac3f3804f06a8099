"""Agreement: whether a Modelfile's TEMPLATE and stop texts fit their model; and a Modelfile where they do. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property

from ..store.errors import InputError
from ..store.gguf import GGUF
from ..store.name import Name
from ..store.vocabulary import Vocabulary
from . import nodes, rules
from .printer import UnprintableError, print_instruction
from .rules import Diagnostic
from .source import Span
from .template.beside import side_by_side
from .template.cases import CASES
from .template.causes import PLAIN_MARKS, SPECIAL, foreign_tokens
from .template.choice import Choice, choose
from .template.collate import render_chat
from .template.drift import NO_VOCABULARY, OwnTemplate
from .template.errors import TemplateError
from .template.parser import Template
from .template.translate import recognise, translate

_NOWHERE = Span(0, 0)


class Agreement:
    """A Modelfile beside the model its FROM names; `inherited` is that model's TEMPLATE, "" without one."""

    def __init__(
        self, modelfile: nodes.Modelfile, inherited: str, weights: GGUF, vocabulary: Vocabulary | None
    ) -> None:
        self._modelfile = modelfile
        instructions = modelfile.instructions
        self._own_node = next((n for n in reversed(instructions) if isinstance(n, nodes.Template) and n.value), None)
        self._from = next((n for n in reversed(instructions) if isinstance(n, nodes.From)), None)
        self._stops = [n for n in instructions if isinstance(n, nodes.Parameter) and n.name == "stop"]
        self._renderer = next((n for n in reversed(instructions) if isinstance(n, nodes.Renderer) and n.value), None)
        self._template = self._own_node.value if self._own_node else inherited
        self._jinja = weights.chat_template or ""
        self._family = weights.architecture
        self._vocabulary = vocabulary

    def findings(self) -> Iterator[Diagnostic]:
        """What does not fit. Nothing is said of a model without tokenizer and chat template."""
        if not self._jinja and not self._vocabulary:
            return
        try:
            renderer = self._renderer.value if self._renderer else ""
            choice = choose(self._template, self._jinja, renderer, self._family)
        except InputError as error:
            assert self._renderer
            message = f"{error}: a request for this model will fail"
            yield rules.UNKNOWN_RENDERER.at(self._renderer.value_span, message, error.hint)
            return
        yield from self._wrong_stops()
        if not self._template:
            yield self._chosen(choice)
            return
        yield from self._tokens()
        if choice.kind == "gguf":
            hint = "leave TEMPLATE out, or write one that does that too"
            yield rules.TEMPLATE_UNUSED.at(self._place, f"TEMPLATE is not used: {choice.reason}", hint)
        elif self._own:
            yield from self._drift(self._own)

    @property
    def _place(self) -> Span:
        node = self._own_node or self._from
        return node.value_span if node else _NOWHERE

    @cached_property
    def _own(self) -> OwnTemplate | None:
        return OwnTemplate(self._jinja, self._vocabulary) if self._jinja else None

    @cached_property
    def _translation(self) -> str | None:
        return translate(self._own) if self._own else None

    def _chosen(self, choice: Choice) -> Diagnostic:
        named = recognise(self._own) if self._own else None
        if named:
            message = f"there is no TEMPLATE, and the GGUF's chat template is used, which is that of {named.name}"
        elif choice.kind == "gguf":
            message = f"the GGUF's chat template is used: {choice.reason}"
        else:
            message = f"{choice.reason}: chats are written in ChatML, prompts as they are"
        return rules.TEMPLATE_CHOSEN.at(self._place, message)

    def _tokens(self) -> Iterator[Diagnostic]:
        """What TEMPLATE writes that this model's tokenizer takes for something else."""
        known = self._vocabulary
        if not known:
            return
        foreign = [one for one in foreign_tokens(self._template, known) if self._is_foreign(one)]
        if foreign:
            message = f"TEMPLATE writes {', '.join(foreign)}, which this model has no token for"
            yield rules.NOT_A_TOKEN.at(self._place, message, self._cure())
        try:
            prompt = render_chat(Template(self._template), CASES[0].conversation)
        except TemplateError:
            return
        begins = known.bos and prompt.startswith(known.bos if known.adds_bos else known.bos * 2)
        if begins:
            message = f"doubled beginning: TEMPLATE begins with {known.bos}, and the tokenizer adds one"
            if not known.adds_bos:
                message = f"doubled beginning: TEMPLATE begins with {known.bos} twice"
            yield rules.DOUBLED_BOS.at(self._place, message, f"take {known.bos} out of TEMPLATE")

    def _is_foreign(self, token: str) -> bool:
        known = self._vocabulary or NO_VOCABULARY
        return (
            bool(known.special) and token not in known.special and token not in self._jinja and token not in PLAIN_MARKS
        )

    def _wrong_stops(self) -> Iterator[Diagnostic]:
        for node in self._stops:
            if self._is_wrong_stop(node):
                message = f"stop {node.value} is no token of this model, which never writes it"
                hint = f"this model ends its turns with {' or '.join(self._ends)}" if self._ends else None
                yield rules.STOP_NEVER_WRITTEN.at(node.value_span, message, hint)

    def _is_wrong_stop(self, node: nodes.Parameter) -> bool:
        return bool(SPECIAL.fullmatch(node.value)) and self._is_foreign(node.value)

    @cached_property
    def _ends(self) -> Sequence[str]:
        """The texts that end this model's turns: those its chat template writes, else the end of a text."""
        known = self._vocabulary or NO_VOCABULARY
        written = [end for end in sorted(known.ends) if end in self._jinja]
        return written or ([known.eos] if known.eos else [])

    def _drift(self, own: OwnTemplate) -> Iterator[Diagnostic]:
        if own.failure:
            message = f"TEMPLATE was not compared: the GGUF's chat template fails: {own.failure.reason}"
            yield rules.NOT_CHECKED.at(self._place, message)
            return
        try:
            found = own.differences(self._template)
        except TemplateError:
            return  # it is no template, which is said already
        found.sort(key=lambda one: one.is_edge)
        for first in found[:1]:
            rule = rules.TEMPLATE_EDGE if first.is_edge else rules.TEMPLATE_DRIFT
            message = (
                f"with {first.case.name}, TEMPLATE gives another prompt than the GGUF's chat template: {first.cause}"
            )
            beside = side_by_side(("TEMPLATE", first.ours), ("the GGUF's chat template", first.theirs))
            yield rule.at(self._place, message, None if first.is_edge else self._cure(), detail=tuple(beside))

    def _cure(self) -> str | None:
        if self._translation:
            return "`corral lint --fix` writes a TEMPLATE that agrees"
        return "without TEMPLATE the GGUF's chat template is used" if self._jinja else None

    def fixed(self) -> str | None:
        """The Modelfile's text with a TEMPLATE that agrees, and stop texts this model writes; None when nothing changes."""
        text = self._modelfile.source.text
        edits = [(node.span, "") for node in self._stops if self._is_wrong_stop(node)]
        if edits:
            edits[0] = (edits[0][0], "\n".join(map(_stop, self._missing_ends)))
        if (template := self._better_template) and self._own_node:
            edits.append((self._own_node.span, template))
        elif template and self._from:
            edits.append((Span(self._from.span.end, self._from.span.end), f"\n{template}"))
        for span, new in sorted(edits, key=lambda edit: edit[0].start, reverse=True):
            rest = text[span.end :]
            if not new:  # the line goes with its end
                rest = rest.removeprefix("\r").removeprefix("\n")
            text = text[: span.start] + new + rest
        return text if edits else None

    def remedy(self, name: Name) -> str | None:
        """The same as a Modelfile on the stored model itself, which inherits all that it does not name."""
        lines = [self._better_template] if self._better_template else []
        if any(map(self._is_wrong_stop, self._stops)):
            right = [node.value for node in self._stops if not self._is_wrong_stop(node)]
            lines += map(_stop, [*right, *self._missing_ends])
        return "\n".join([f"FROM {name}", *lines, ""]) if lines else None

    @cached_property
    def _better_template(self) -> str:
        """The instruction of a TEMPLATE that agrees, "" where none is needed or none can be written."""
        if not self._translation or not any(one.rule in _FIXABLE for one in self.findings()):
            return ""
        try:
            return print_instruction(nodes.Template(self._translation, _NOWHERE, _NOWHERE))
        except UnprintableError:
            return ""

    @property
    def _missing_ends(self) -> Sequence[str]:
        """The texts that end this model's turns, where no stop is one of them."""
        return [] if any(node.value in self._ends for node in self._stops) else self._ends


def _stop(text: str) -> str:
    return print_instruction(nodes.Parameter(text, _NOWHERE, _NOWHERE, "stop", _NOWHERE))


_FIXABLE = (rules.TEMPLATE_DRIFT, rules.NOT_A_TOKEN, rules.DOUBLED_BOS)
