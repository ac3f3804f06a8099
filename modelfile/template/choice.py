"""Choice: which template a model's prompts are made with, and what a template can do. Pure.

The rules are those of Ollama (v0.33). Its built-in renderers are not here: the chat template that the GGUF itself carries
does their work.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Literal

import jinja2
from jinja2 import nodes

from ...store.errors import InputError, shown
from .errors import TemplateError
from .parser import Template
from .sandbox import MAX_TEXT, Sandbox

_BUILT_IN = """
    cogito cohere deepseek3.1 functiongemma gemma4 gemma4-large gemma4-small glimmer glm-4.7 glm-ocr laguna lfm2 lfm2-thinking
    nemotron-3-nano nemotron-3.5-nano olmo3 olmo3-32b-think olmo3-think olmo3.1 ornith poolside-v1 qwen3-coder
    qwen3-vl-instruct qwen3-vl-thinking qwen3.5 qwen3.8
"""
RENDERERS = frozenset(_BUILT_IN.split())
"""The names that RENDERER may give."""
_HARMONY = ("gptoss", "gpt-oss")
"""Families whose prompts Ollama writes by itself."""
_COMPARED = frozenset({"tools", "thinking"})
"""The capabilities for which the GGUF's own template is preferred."""
_THINKING = frozenset({"enable_thinking", "thinking", "reasoning_content"})
_HINTS = ("tools", "think", "suffix", "reasoning_content")
"""Without any of these words in it a template is not worth parsing."""
_KEPT = 1024
"""Templates whose capabilities are remembered: a listing asks for those of every model."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What makes a model's prompts."""

    kind: Literal["template", "gguf", "none"]
    """TEMPLATE, the GGUF's own chat template, or neither: ChatML for chats then, and `{{ .Prompt }}` for prompts."""
    reason: str
    """One line for people."""
    capabilities: frozenset[str]
    """`tools` and `thinking`, as the chosen template has them, and `insert`, which is TEMPLATE's alone."""


def choose(template: str, chat_template: str, renderer: str = "", family: str = "") -> Choice:
    """Choose between TEMPLATE and the GGUF's chat template, either may be "". Raises InputError for an unknown RENDERER."""
    if renderer and renderer not in RENDERERS:
        raise InputError(f"unknown renderer {shown(renderer)}")
    own = template_capabilities(template)
    if chat_template:
        native = jinja_capabilities(chat_template)
        reason = ""
        if renderer or family in _HARMONY:
            what = f"RENDERER {renderer}" if renderer else f"the family {family}"
            reason = f"Ollama has code of its own for {what}; here the GGUF's chat template does that work"
        elif not template:
            reason = "there is no TEMPLATE, but a chat template in the GGUF"
        elif own & _COMPARED < native:
            reason = f"the GGUF's chat template knows {' and '.join(sorted(native - own))}, which TEMPLATE does not"
        if reason:
            return Choice("gguf", reason, native | (own & {"insert"}))
    if template:
        return Choice("template", "there is a TEMPLATE", own)
    return Choice("none", "there is no TEMPLATE, and no chat template in the GGUF", frozenset())


@lru_cache(maxsize=_KEPT)
def template_capabilities(text: str) -> frozenset[str]:
    """Of `tools`, `insert` and `thinking`, what a Go template can do; nothing when it is no template."""
    if not _is_worth_parsing(text):
        return frozenset()
    try:
        variables = Template(text).variables
    except TemplateError:
        return frozenset()
    names = {"tools": "tools", "suffix": "insert", "thinking": "thinking", "think": "thinking"}
    return frozenset(names[variable] for variable in variables if variable in names)


@lru_cache(maxsize=_KEPT)
def jinja_capabilities(text: str) -> frozenset[str]:
    """Of `tools` and `thinking`, what a chat template in Jinja can do; nothing when it is no template."""
    if not _is_worth_parsing(text) or len(text) > MAX_TEXT:
        return frozenset()
    try:
        tree = _sandbox().parse(text)
        names = {name.name for name in tree.find_all(nodes.Name) if name.ctx == "load"}
        read = names.union(_keys(tree))
    except (jinja2.TemplateError, ValueError, RecursionError):
        return frozenset()
    # Tools are given to a template by this name; one that looks for them inside the messages would never see any.
    tools = {"tools"} & names
    return frozenset(tools | ({"thinking"} if "<think>" in text or read & _THINKING else set[str]()))


def _keys(tree: nodes.Template) -> Iterator[str]:
    """Whatever may be read of a message: `m.key`, and any text, for `m["key"]`, `m.get("key")` and `"key" in m`."""
    yield from (node.attr for node in tree.find_all(nodes.Getattr))
    yield from (node.value for node in tree.find_all(nodes.Const) if isinstance(node.value, str))


def _is_worth_parsing(text: str) -> bool:
    lower = text.lower()
    return any(hint in lower for hint in _HINTS)


@cache
def _sandbox() -> Sandbox:
    return Sandbox({})
