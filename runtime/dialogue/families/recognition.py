"""Recognition: which family a model is of, and between which tags it thinks, from what its template says. Pure.

What a Go template says of a family that is not in the table is read by Ollama's rules (thinking/template.go and
tools/template.go, v0.33), but from the tokens rather than from the tree.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

from lark import Token

from ....modelfile.template.errors import TemplateError
from ....modelfile.template.lexer import TemplateLexer
from ..thinking import ThinkingTags
from .table import FAMILIES, AnswerForm, Family, tagged

_HARMONY = frozenset({"gptoss", "gpt-oss"})
"""Families whose answers are read in one way, whatever the template says."""
_THINKING = tuple(
    ThinkingTags(*tags.split(" "))
    for tags in (
        "<think> </think>",
        "[THINK] [/THINK]",
        "<seed:think> </seed:think>",
        "<|START_THINKING|> <|END_THINKING|>",
        "<|channel>thought <channel|>",
        "<thought> </thought>",
        "<thinking> </thinking>",
        "<reasoning> </reasoning>",
    )
)
_BRANCHES = ("_IF", "_ELSE_IF", "_RANGE", "_WITH", "_ELSE_WITH")
_BLOCKS = ("_IF", "_RANGE", "_WITH", "_DEFINE", "_BLOCK")


def form_of(*, template: str, chat_template: str, family: str, kind: Literal["template", "gguf", "none"]) -> AnswerForm:
    """How the model answers; `kind` says which of its templates makes the prompts, `family` is the GGUF's architecture."""
    return _form(
        {"template": template, "gguf": chat_template, "none": ""}[kind], family in _HARMONY, kind == "template"
    )


@lru_cache(maxsize=64)
def _form(text: str, is_harmony: bool, is_go: bool) -> AnswerForm:  # noqa: FBT001 - the cache's key
    tokens = _tokens(text) if is_go else ()
    known = FAMILIES[0] if is_harmony else _known(text)
    thinking = None if known and known.whole else _thinking_tags(tokens) or _known_tags(text)
    return AnswerForm(family=known or tagged(_tool_tag(tokens)), thinking=thinking)


def _known(text: str) -> Family | None:
    return next(
        (family for family in FAMILIES if any(all(mark in text for mark in group) for group in family.marks)), None
    )


def _known_tags(text: str) -> ThinkingTags | None:
    return next((tags for tags in _THINKING if tags.opening in text or tags.closing in text), None)


def _tokens(text: str) -> Sequence[Token]:
    try:
        return [*TemplateLexer(None).lex(text)]
    except TemplateError:
        return ()


def _thinking_tags(tokens: Sequence[Token]) -> ThinkingTags | None:
    """The texts at once before and after `{{ .Thinking }}`."""
    for i in range(1, len(tokens) - 3):
        opening, begin, field, end, closing = tokens[i - 1 : i + 4]
        is_printed = begin.type == "_OPEN" and end.type == "_CLOSE" and field.type in ("FIELD", "VARIABLE")
        if is_printed and str(field).endswith(".Thinking") and opening.type == closing.type == "TEXT":
            before, after = opening.strip(), closing.strip()
            for tags in _THINKING:
                if before.endswith(tags.opening) and after.startswith(tags.closing):
                    return tags
            if before and after:
                return ThinkingTags(before, after)
    return None


def _tool_tag(tokens: Sequence[Token]) -> str:
    """The first text below `if .ToolCalls` or `range .ToolCalls`, up to the first brace."""
    depth = -1
    for i, token in enumerate(tokens):
        if depth < 0 and token.type in _BRANCHES:
            end = next(j for j in range(i, len(tokens)) if tokens[j].type == "_CLOSE")
            depth = 0 if any(str(inner).endswith(".ToolCalls") for inner in tokens[i:end]) else -1
        elif depth >= 0 and token.type in _BLOCKS:
            depth += 1
        elif depth >= 0 and token.type == "_END":
            depth -= 1
        elif depth >= 0 and token.type == "TEXT" and token.strip():
            return str(token).strip().partition("{")[0].strip()
    return ""
