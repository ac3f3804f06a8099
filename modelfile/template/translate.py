"""Translate: a Go TEMPLATE that gives the same prompts as a chat template in Jinja. Pure.

The Jinja text is not read but asked: from its prompts for marked conversations follows what it writes before and after
each role's text. What comes of it is taken only when it agrees on every case, which is the proof.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from .causes import SPECIAL
from .choice import jinja_capabilities
from .conversation import ChatMessage, Conversation
from .drift import OwnTemplate
from .errors import TemplateError
from .named import NAMED, NamedTemplate

_END = re.compile(rf"\s*(?:{SPECIAL.pattern})\s*")
"""What looks like the end of a turn; where to cut between two turns is a matter of taste only."""
_S, _U, _A, _V = (f"corral\N{MIDDLE DOT}{letter}" for letter in "suav")
"""What the marked conversations say: system, user, assistant, and the user again."""


def translate(own: OwnTemplate) -> str | None:
    """A TEMPLATE that agrees on all cases, None when the chat template is not of a form that can be translated.

    One that knows tools or thinking never is: the TEMPLATE would not, and not be used (see choice.py).
    """
    if own.failure or jinja_capabilities(own.jinja):
        return None
    candidates = [named.text for named in NAMED]
    try:
        form = _observed(own)
        candidates += [form.text(), replace(form, skips_empty_system=True).text()]
    except (TemplateError, _OtherFormError):
        pass
    return next((text for text in candidates if own.agrees(text, everywhere=True)), None)


def recognise(own: OwnTemplate) -> NamedTemplate | None:
    """The template known by name that agrees with a chat template, None when none does, or when it can do less.

    Of two formats of one family that write the same, the later one is that of the models that take system messages.
    """
    if own.failure or jinja_capabilities(own.jinja) or not own.tells:
        return None
    found = [named for named in NAMED if own.agrees(named.text)]
    return found[-1 if own.takes_system else 0] if found else None


class _OtherFormError(Exception):
    """The prompts are not of the form looked for."""


@dataclass(frozen=True, slots=True)
class _Form:
    """A list of turns: what stands around the texts of each role."""

    lead: str
    """Before the first turn, when there is no system message."""
    system: tuple[str, str] | None
    """None when system messages are refused or left out."""
    joins_system: bool
    """Whether the system message is the beginning of the user's first one."""
    user: str
    reply: str
    """From the user's text to the model's, in the past."""
    next_reply: str
    """From the user's text to where the model goes on."""
    end: str
    """After the model's text."""
    skips_empty_system: bool = False

    def text(self) -> str:
        """As a Go template."""
        has_system = "$.System" if self.skips_empty_system else '(eq (index $.Messages 0).Role "system")'
        lead, user, reply, end = map(_literal, (self.lead, self.user, self.reply, self.end))
        if lead and self.system:
            lead = f"{{{{ if not {has_system} }}}}{lead}{{{{ end }}}}"
        if lead:
            lead = f"{{{{ if eq $i 0 }}}}{lead}{{{{ end }}}}"
        if self.joins_system:
            user = f"{{{{ if not (and (eq $i 1) {has_system}) }}}}{user}{{{{ end }}}}"
        if self.next_reply != self.reply:
            reply = f"{{{{ if le $left 2 }}}}{_literal(self.next_reply)}{{{{ else }}}}{reply}{{{{ end }}}}"
        if end:
            end = f"{{{{ if gt $left 1 }}}}{end}{{{{ end }}}}"
        turns = (
            f'{{{{ if eq .Role "user" }}}}{user}{{{{ .Content }}}}{reply}'
            f'{{{{ else if eq .Role "assistant" }}}}{{{{ .Content }}}}{end}{{{{ end }}}}'
        )
        if self.system:
            system = "{{ .Content }}".join(map(_literal, self.system))
            is_system = '(and (eq .Role "system") .Content)' if self.skips_empty_system else 'eq .Role "system"'
            turns = f"{{{{ if {is_system} }}}}{system}{{{{ end }}}}{turns}"
        left = "{{ $left := len (slice $.Messages $i) }}"
        return f"{{{{ range $i, $message := .Messages }}}}{left}{lead}{turns}{{{{ end }}}}"


def _observed(own: OwnTemplate) -> _Form:
    """The form of a chat template. Raises _OtherFormError, TemplateError."""
    single = _parts(own.prompt(_talk("user", _U)), _U)
    first, reply, between, tail = _parts(own.prompt(_talk("user", _U, "assistant", _A, "user", _V)), _U, _A, _V)
    if single != [first, tail]:
        raise _OtherFormError
    mark = _END.match(between)
    user = between[mark.end() :] if mark else ""
    if not user or not first.endswith(user):
        user = _common_end(first, between)
    lead, end = first.removesuffix(user), between.removesuffix(user)
    system, joins = None, False
    try:
        prompt = own.prompt(_talk("system", _S, "user", _U))
    except TemplateError:
        prompt = ""
    if _S in prompt:
        before, after, _ = _parts(prompt, _S, _U)
        joins = not (user and after.endswith(user))
        system = (before, after if joins else after.removesuffix(user))
    return _Form(lead, system, joins, user, reply, tail, end)


def _talk(*turns: str) -> Conversation:
    return Conversation([ChatMessage(role, text) for role, text in zip(turns[::2], turns[1::2], strict=True)])


def _parts(prompt: str, *marks: str) -> list[str]:
    """What stands before, between and after the marks. Raises _OtherFormError unless each is there once, in this order."""
    parts: list[str] = []
    for mark in marks:
        before, found, prompt = prompt.partition(mark)
        if not found or mark in prompt:
            raise _OtherFormError
        parts.append(before)
    return [*parts, prompt]


def _common_end(a: str, b: str) -> str:
    same = 0
    while same < min(len(a), len(b)) and a[-1 - same] == b[-1 - same]:
        same += 1
    return a[len(a) - same :]


def _literal(text: str) -> str:
    """Text as a template has it; what would begin an action is printed by one."""
    return text.replace("{{", '{{ "{{" }}')
