"""A hundred thousand random and mutated templates and conversations: text or TemplateError, none slow, memory bounded."""

from __future__ import annotations

import os
import random
import time
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from corral.modelfile.template.conversation import ChatMessage, Conversation
from corral.modelfile.template.drift import OwnTemplate
from corral.modelfile.template.errors import TemplateError
from corral.modelfile.template.jinja import render_jinja
from corral.modelfile.template.named import NAMED
from corral.modelfile.template.parser import Template
from corral.modelfile.template.translate import translate

PUBLISHED = sorted((Path(__file__).parent.parent / "modelfile" / "template" / "published").glob("*.jinja"))
LIST = """{{ range $i, $m := .Messages }}{{ $last := eq (len (slice $.Messages $i)) 1 }}
{{- if eq .Role "user" }}{{ if and $last $.Tools }}{{ json $.Tools }}{{ end }}{{ .Content }}
{{- else if .ToolCalls }}{{ range .ToolCalls }}{{ .Function.Name }}{{ .Function.Arguments }}{{ end }}{{ end }}{{ end }}"""
PRINTED = """{{ define "t" }}{{ printf "%-10v|%q|%5.2f" . "x" 1.5 }}{{ end }}
{{- range .Tools }}{{ template "t" .Function }}{{ end }}{{ .Messages }}"""
TYPES = """{{ range .Tools }}{{ range $k, $v := .Function.Parameters.Properties }}{{ $k }}: {{ toTypeScriptType $v }}
{{- end }}{{ end }}{{ .Messages }}"""
LEGACY = "{{ if .System }}{{ .System }}{{ end }}{{ if .Prompt }}{{ .Prompt }}{{ end }}{{ .Response }}"
GO_SEEDS = [*(named.text for named in NAMED), LIST, PRINTED, TYPES, LEGACY]
JINJA_SEEDS = [path.read_text() for path in PUBLISHED]
GO_TEXT = """{{ }} {{- -}} {{end}} {{if {{range {{else}} .Messages .Content $x := | ( ) 1000000000 99999999999999999999
"%999999d" {{break}} nil .A.B.C slice index printf json {{template "t" .}} {{define "t"}} "\\xff" 'a' 1e308 -0 `"""
JINJA_TEXT = """{{ }} {% %} {%- endfor endif range(10**9) * 10**8 ~ messages m.content | join tojson namespace() .__class__
'a'*999999999 {%for~x~in~range(99999999)%} {%endfor%} {%macro~f()%}{{f()}}{%endmacro%} none [1]*9**9 |batch(9**9)"""
GO_WORDS = GO_TEXT.split()
JINJA_WORDS = [word.replace("%for~x~in~", "%for x in ") for word in JINJA_TEXT.split()]
COUNT = 100_000 if os.environ.get("CORRAL_SOAK") else 1_500
SLOWEST = 1.0  # seconds, on any machine that runs this
MOST_MEMORY = 400 << 20


def mutated(rng: random.Random, seeds: Sequence[str], words: Sequence[str]) -> str:
    """Words at random, or a sound template with pieces cut out, doubled and put in."""
    if rng.random() < 0.2:
        return " ".join(rng.choices(words, k=rng.randrange(30)))
    text = rng.choice(seeds)
    for _ in range(rng.randrange(1, 6)):
        start = rng.randrange(len(text) + 1)
        end = min(len(text), start + rng.randrange(30))
        match rng.randrange(3):
            case 0:
                text = text[:start] + text[end:]
            case 1:
                text = text[:start] + text[start:end] * rng.randrange(1, 4) + text[start:]
            case _:
                text = text[:start] + rng.choice(words) + text[end:]
    return text


def conversation(rng: random.Random) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Messages and tools in the API's shape, some of them odd."""
    values: list[Any] = [None, 0, -1.5, 10**30, True, "", "é☕", [], {}, {"a": [1, {"b": None}]}, "x" * 2000]
    messages: list[dict[str, Any]] = []
    for _ in range(rng.randrange(6)):
        message: dict[str, Any] = {"role": rng.choice(["user", "assistant", "system", "tool", "USER", "", "x"])}
        message["content"] = rng.choice(["", "hi", "a\nb", "{{ .X }}", "<|im_start|>", "\ud800", "x" * 5000])
        if rng.random() < 0.3:
            arguments = {key: rng.choice(values) for key in "ab"}
            message["tool_calls"] = [{"function": {"name": "f", "arguments": arguments}}] * rng.randrange(1, 3)
        if rng.random() < 0.1:
            message[rng.choice(["thinking", "tool_name", "images", "content"])] = rng.choice(values)
        messages.append(message)
    kinds: list[Any] = [*values, {"type": "string"}, {"type": ["a", 1]}, {"anyOf": [{}]}]
    properties = {key: rng.choice(kinds) for key in "xy"}
    function: dict[str, Any] = {
        "name": "f",
        "description": "d",
        "parameters": {"type": "object", "properties": properties},
    }
    return messages, [{"type": "function", "function": function}] * rng.randrange(3)


def is_rendered(run: Callable[[], str]) -> bool:
    """Whether there is a text; else the error is fit to be shown."""
    refused: TemplateError | None = None
    try:
        assert isinstance(run(), str)
    except TemplateError as error:
        refused = error
    assert str(refused).isprintable()
    return refused is None


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_any_template_renders_any_conversation_or_gives_our_errors_soon() -> None:
    rng = random.Random(20261121)
    rendered = 0
    for number in range(COUNT):
        is_go = number % 3 > 0
        text = mutated(rng, GO_SEEDS, GO_WORDS) if is_go else mutated(rng, JINJA_SEEDS, JINJA_WORDS)
        messages, tools = conversation(rng)
        think = rng.choice([None, True, False, "high"])

        def go(text: str = text, messages: Any = messages, tools: Any = tools, think: Any = think) -> str:
            return Template(text).render(messages, tools=tools, think=think)

        def jinja(text: str = text, messages: Any = messages, tools: Any = tools, think: Any = think) -> str:
            return render_jinja(text, Conversation([*map(ChatMessage.read, messages)], tools, think), bos="<s>")

        started = time.process_time()
        rendered += is_rendered(go if is_go else jinja)
        assert time.process_time() - started < SLOWEST, text
    assert rendered > COUNT // 20


def test_a_strangers_chat_template_keeps_no_lint_waiting() -> None:
    rng = random.Random(7)
    for _ in range(COUNT // 50):
        own = OwnTemplate(mutated(rng, JINJA_SEEDS, JINJA_WORDS), None)
        started = time.process_time()
        translate(own)
        assert time.process_time() - started < 10 * SLOWEST


@pytest.mark.parametrize(
    "text",
    [
        "{{ range 100000000 }}{{ $.Messages }}{{ end }}",
        '{{ $x := "xxxxxxxx" }}{{ range 60 }}{{ $x = printf "%s%s" $x $x }}{{ end }}{{ .Messages }}',
        '{{ range 1000 }}{{ printf "%999999d" 1 }}{{ end }}{{ .Messages }}',
        "{{ range 1000000 }}{{ json $.Messages }}{{ end }}",
    ],
)
def test_memory_of_a_go_template_is_bounded(text: str) -> None:
    tracemalloc.start()
    try:
        assert not is_rendered(lambda: Template(text).render([{"role": "user", "content": "x" * 100_000}]))
        assert tracemalloc.get_traced_memory()[1] < MOST_MEMORY
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "text",
    [
        "{{ 'a' * 500000000 }}",
        "{% for i in range(10**18) %}{% endfor %}",
        "{% for i in range(9999) %}{% for j in range(9999) %}{% for k in range(9999) %}x{% endfor %}{% endfor %}{% endfor %}",
        "{% set ns = namespace(s='aaaaaaaa') %}{% for i in range(60) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
        "{% macro f() %}{{ f() }}{{ f() }}{% endmacro %}{{ f() }}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages | map('attr', '__class__') | list }}",
        "{{ '%500000000d' % 1 }}",
        "{{ [1] * 500000000 }}",
        "{{ messages[0].content | replace('x', 'y' * 99999) }}",
    ],
)
def test_hostile_jinja_is_stopped_within_its_limits(text: str) -> None:
    talk = Conversation([ChatMessage("user", "x" * 10_000)])
    tracemalloc.start()
    started = time.process_time()
    try:
        is_rendered(lambda: render_jinja(text, talk))
        assert tracemalloc.get_traced_memory()[1] < MOST_MEMORY
        assert time.process_time() - started < 20 * SLOWEST  # tracing makes it ten times slower
    finally:
        tracemalloc.stop()
