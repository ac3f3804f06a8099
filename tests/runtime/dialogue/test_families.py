"""Families: which one a template is of, and what is read out of a template that is of none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from corral.modelfile.template.named import NAMED
from corral.runtime.dialogue.answer import parser_for
from corral.runtime.dialogue.families.recognition import form_of
from corral.runtime.dialogue.families.table import FAMILIES, UNKNOWN, AnswerForm, tagged
from corral.runtime.dialogue.parts import Called
from corral.runtime.dialogue.thinking import ThinkingTags

from tests.runtime.dialogue.outputs import OUTPUTS
from tests.runtime.dialogue.segments import TOOLS, parsed

PUBLISHED = Path(__file__).parents[2] / "modelfile" / "template" / "published"
RECOGNISED = {
    "deepseek-r1-distill": ("deepseek", "<think>"),
    "granite-3.1-instruct": ("granite", ""),
    "hermes-3-tool-use": ("hermes", ""),
    "llama-3-instruct": ("llama3", ""),
    "llama-3.1-instruct": ("llama3", ""),
    "llama-3.2-instruct": ("llama3", ""),
    "mistral-7b-instruct-v0.3": ("mistral", ""),
    "mistral-nemo-instruct-2407": ("mistral", ""),
    "qwen2.5-instruct": ("hermes", ""),
    "qwen3": ("hermes", "<think>"),
}
"""Of the published templates, those that know tools or thinking."""


def go(text: str) -> AnswerForm:
    return form_of(template=text, chat_template="<tool_call>", family="", kind="template")


def jinja(text: str, family: str = "") -> AnswerForm:
    return form_of(template="[TOOL_CALLS]", chat_template=text, family=family, kind="gguf")


@pytest.mark.parametrize("path", sorted(PUBLISHED.glob("*.jinja")), ids=lambda path: path.stem)
def test_a_published_template_is_recognised(path: Path) -> None:
    form = jinja(path.read_text())
    opening = form.thinking.opening if form.thinking else ""
    assert (form.family.name, opening) == RECOGNISED.get(path.stem, ("unknown", ""))


@pytest.mark.parametrize("named", NAMED, ids=lambda named: named.name)
def test_a_named_template_knows_neither_tools_nor_thinking(named: Any) -> None:
    form = go(named.text)
    assert form.family.name == ("llama3" if named.name == "llama3-instruct" else "unknown")
    assert form.thinking is None


@pytest.mark.parametrize(
    ("text", "family", "tags"),
    [
        ("<|channel|>{{ x }}<|message|>", "harmony", ""),
        ("<|tool_calls_section_begin|><|tool_call_begin|>", "kimi", ""),
        ("<｜tool▁calls▁begin｜><｜tool▁call▁begin｜></think>", "deepseek", "<think>"),
        ("{{ '<｜DSML｜function_calls>' }}<think>", "deepseek-dsml", "<think>"),
        ("'｜DSML｜' 'tool_calls>' <｜tool▁calls▁begin｜> <tool_calls>", "deepseek-dsml", ""),
        ("<minimax:tool_call><think>", "minimax", "<think>"),
        ("<seed:tool_call><function=<parameter=<seed:think>", "seed", "<seed:think>"),
        ("<start_function_call>call:", "functiongemma", ""),
        ("<|tool_call>call:<|channel>thought", "gemma4", "<|channel>thought"),
        ("<|tool_call_start|>", "lfm2", ""),
        ("List of tools: <|tool_list_start|>[", "lfm2", ""),
        ("<|START_ACTION|> Action: tool_name <|START_THINKING|>", "command-r7b", "<|START_THINKING|>"),
        ("Action: ```json tool_name", "command-r", ""),
        ("[TOOL_CALLS][ARGS][THINK]", "mistral", "[THINK]"),
        ("<TOOLCALL>", "nemotron", ""),
        ("<|tool_call|><|/tool_call|>", "phi4", ""),
        ("<|tool_call|>", "granite", ""),
        ("<tool_call>{name}<arg_key>", "glm", ""),
        ("<tool_call><function=name><parameter=p>", "qwen3-coder", ""),
        ("<tool_calls>[</tool_calls>", "tool-calls", ""),
        ("within <tool_call></tool_call> tags: <tool_calls>[", "tool-calls", ""),
        ("<tool_calls><arg_key>", "glm", ""),
        ("<tool_calls>[TOOL_CALLS]", "mistral", ""),
        ("message.tool_calls <tool_call>{", "hermes", ""),
        ("<tool_call>{", "hermes", ""),
        ("<function_calls>", "olmo3", ""),
        ("<|header_start|>", "llama4", ""),
        ("<|python_tag|>", "llama3", ""),
        ("{{ tools }}", "unknown", ""),
        ("", "unknown", ""),
    ],
)
def test_a_family_is_recognised_by_its_marks(text: str, family: str, tags: str) -> None:
    for form in (jinja(text), go(text.replace("{{ tools }}", ""))):
        assert form.family.name == family
        assert (form.thinking.opening if form.thinking else "") == tags


def test_every_family_has_a_name_marks_and_an_output() -> None:
    names = [family.name for family in FAMILIES]
    assert len({*names}) == len(names) >= 10
    assert all(family.marks for family in FAMILIES)
    assert {*names} <= {output.family.name for output in OUTPUTS}


def test_gpt_oss_writes_as_it_does_whatever_its_template() -> None:
    for family in ("gptoss", "gpt-oss"):
        assert form_of(template="", chat_template="", family=family, kind="none").family.name == "harmony"


def test_without_a_template_nothing_is_known() -> None:
    form = form_of(template="<tool_call>", chat_template="<tool_call><think>", family="qwen3", kind="none")
    assert form == AnswerForm(family=UNKNOWN)


MESSAGES = "{{ range .Messages }}%s{{ .Content }}{{ end }}"


@pytest.mark.parametrize(
    ("text", "tags"),
    [
        ("{{ if .Thinking }}<think>{{ .Thinking }}</think>{{ end }}", ThinkingTags("<think>", "</think>")),
        ("{{ if .Thinking -}}\n<a>\n{{ .Thinking }}\n</a>\n\n{{ end }}", ThinkingTags("<a>", "</a>")),
        ("{{ $m := . }}(* {{ $m.Thinking }} *){{ end }}", ThinkingTags("(*", "*)")),
        ("<|im_start|>assistant\n<think>{{ .Thinking }}</think>{{ .Content }}", ThinkingTags("<think>", "</think>")),
        ("{{ if .Thinking }}x{{ end }}", None),
        ("{{ .Thinking }}</a>", None),
        ("<a> {{ json .Thinking }} </a>", None),
        ("{{ .Content }}", None),
    ],
)
def test_tags_of_thoughts_stand_around_them_in_the_template(text: str, tags: ThinkingTags | None) -> None:
    assert go(MESSAGES % text).thinking == tags


@pytest.mark.parametrize(
    ("text", "family"),
    [
        ('{{ if .ToolCalls }}<call>{"name": "{{ . }}"}</call>{{ end }}', "tag <call>"),
        ("{{ range .ToolCalls }}\n  CALLS: [{ {{ .Function.Name }} {{ end }}", "tag CALLS: ["),
        ("{{ if .Content }}x{{ else if .ToolCalls }}\n<t>{{ range .ToolCalls }}{{ . }}{{ end }}{{ end }}", "tag <t>"),
        ("{{ if and .Content .ToolCalls }}{{ range $i, $c := .ToolCalls }} @{{ end }}{{ end }}y", "tag @"),
        ('{{ range .ToolCalls }}{"name": "{{ .Function.Name }}"}{{ end }}', "unknown"),
        ('{{ range .ToolCalls }}[{"name": {{ end }}', "unknown"),
        ("{{ range .ToolCalls }}{{ . }}{{ end }}<t>", "unknown"),
        ("{{ if .ToolCalls }}{{ if .Content }}{{ end }}{{ end }}<t>", "unknown"),
        ("{{ .ToolCalls }}<t>", "unknown"),
        ("{{ if .ToolCalls }}<t>{{", "unknown"),
        ('{{ range .ToolCalls }}<tool_call>{"name"{{ end }}', "hermes"),
    ],
)
def test_the_tag_of_calls_is_the_first_text_of_their_branch(text: str, family: str) -> None:
    assert go("{{ range .Messages }}" + text + ("" if text.endswith("{{") else "{{ end }}")).family.name == family


@pytest.mark.parametrize(
    ("tag", "closing"),
    [("<call>", "</call>"), ("[CALL]", "[/CALL]"), ("<|call|>", "<|/call|>"), ("CALL:", ""), ("<call> [", "")],
)
def test_the_closing_tag_is_guessed(tag: str, closing: str) -> None:
    form = AnswerForm(family=tagged(tag))
    assert form.special_tokens == {tag, *([closing] if closing else [])}
    parser = parser_for(form, tools=TOOLS, thinks=True, prompt_end="", new_id=str)
    parts = parsed(parser, f'{tag}{{"name": "clock", "arguments": {{}}}}{closing}')
    assert [type(part) for part in parts] == [Called]
