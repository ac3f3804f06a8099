"""Template: a Go template, parsed once and rendered many times. Pure."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from functools import cache, cached_property
from typing import Any

from lark import Lark, Token, Tree
from lark.exceptions import UnexpectedToken

from .collate import render_chat, render_infill
from .compiler import Program, compile_tree
from .conversation import ChatMessage, Conversation, Think
from .cut import cut
from .errors import TemplateError
from .functions import functions
from .lexer import TemplateLexer
from .run import Run
from .values import Value

MAX_TEXT = 64 << 10
"""Characters of a template."""
_OLLAMA = frozenset(("json", "currentDate", "yesterdayDate", "toTypeScriptType"))
"""The functions that are not Go's; the last part of a prompt written exchange by exchange is executed without them."""


def _today() -> date:
    return datetime.now(UTC).astimezone().date()


class Template:
    """A parsed template. As in Ollama, one that prints neither `.Messages` nor `.Response` gets `{{ .Response }}` appended.

    Raises TemplateError, with a line, for text that is no template.
    """

    def __init__(self, text: str, *, today: Callable[[], date] = _today) -> None:
        self.text = text
        self._today = today
        if len(text) > MAX_TEXT:
            raise TemplateError(f"{len(text)} characters, at most {MAX_TEXT} are read")
        with _bounded_depth():
            self._tree = _parse(text)
            if not _fields(self._tree) & {"messages", "response"}:
                self._tree.children += _parse("{{ .Response }}").children
            self._full = compile_tree(self._tree, functions(today))

    @cached_property
    def variables(self) -> tuple[str, ...]:
        """The names of all fields the template refers to, in lower case, sorted."""
        return tuple(sorted(_fields(self._tree)))

    @property
    def is_legacy(self) -> bool:
        """Whether it renders one exchange at a time, from `.Prompt` and `.Response`, instead of `.Messages`."""
        return "messages" not in self.variables

    def render(
        self,
        messages: Sequence[Mapping[str, Any]] = (),
        *,
        tools: Sequence[Mapping[str, Any]] = (),
        prompt: str = "",
        suffix: str = "",
        think: Think = None,
    ) -> str:
        """The prompt for a conversation in the shape of Ollama's chat API, by Ollama's rules.

        With `prompt` and `suffix` it is the one for what belongs between them; `prompt` alone is a last message of the user.
        Raises TemplateError.
        """
        if prompt and suffix:
            return render_infill(self, prompt, suffix, think=think)
        asked = [{"role": "user", "content": prompt}] if prompt else []
        with _bounded_depth():
            return render_chat(self, Conversation([*map(ChatMessage.read, (*messages, *asked))], tools, think))

    def execute(self, data: Mapping[str, Value]) -> str:
        """The text for these values. Raises TemplateError."""
        with _bounded_depth():
            return Run(self._full).text(data)

    def execute_open(self, data: Mapping[str, Value]) -> str:
        """The text up to and with `.Response`: the open end the model continues."""
        with _bounded_depth():
            return Run(self._open).text(data)

    @cached_property
    def _open(self) -> Program:
        known = functions(self._today)
        return compile_tree(cut(self._tree), {name: known[name] for name in known if name not in _OLLAMA}, is_open=True)


def _parse(text: str) -> Tree[Token]:
    try:
        return _grammar().parse(text)
    except UnexpectedToken as error:
        token: Token = error.token
        if token.type == "$END":
            raise TemplateError(
                "unexpected EOF", hint="an {{ if }}, {{ range }} or {{ with }} has no {{ end }}"
            ) from None
        shown = {"_CLOSE": "}}", "_END": "{{end}}", "_ELSE": "{{else}}"}.get(token.type, str(token))
        raise TemplateError(f"unexpected {shown!r}", line=token.line) from None


@contextmanager
def _bounded_depth() -> Generator[None]:
    try:
        yield
    except RecursionError:
        raise TemplateError("nested too deeply") from None


@cache
def _grammar() -> Lark:
    return Lark.open("grammar.lark", rel_to=__file__, parser="lalr", start="list", lexer=TemplateLexer)


def _fields(tree: Tree[Token]) -> set[str]:
    """The fields that Ollama sees: none behind a parenthesis."""
    found: set[str] = set()
    for child in tree.children:
        if isinstance(child, Token):
            if child.type in ("FIELD", "VARIABLE"):
                found.update(part.lower() for part in str(child).split(".")[1:])
        elif child.data != "chain":
            found |= _fields(child)
    return found
