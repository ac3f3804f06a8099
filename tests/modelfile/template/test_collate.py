"""Conversations to prompts: merging, one pass over `.Messages`, or exchange by exchange (spec part 8.4)."""

from __future__ import annotations

from typing import Any

import pytest
from corral.modelfile.template.collate import render_chat
from corral.modelfile.template.conversation import ChatMessage, Conversation
from corral.modelfile.template.errors import TemplateError
from corral.modelfile.template.parser import Template

LEGACY = (
    "{{ if .System }}<s>{{ .System }}</s>{{ end }}{{ if .Prompt }}<u>{{ .Prompt }}</u>{{ end }}<a>{{ .Response }}</a>"
)
LIST = "{{ range .Messages }}[{{ .Role }}: {{ .Content }}]{{ end }}"


def talk(*turns: str) -> Conversation:
    """`s text`, `u text`, `a text`, `t text`: a conversation."""
    roles = {"s": "system", "u": "user", "a": "assistant", "t": "tool"}
    return Conversation([ChatMessage(roles[turn[0]], turn[2:]) for turn in turns])


@pytest.mark.parametrize(
    ("turns", "prompt"),
    [
        (("u hi",), "<u>hi</u><a>"),
        (("s be kind", "u hi"), "<s>be kind</s><u>hi</u><a>"),
        (("u 1", "a 2", "u 3"), "<u>1</u><a>2</a><u>3</u><a>"),
        (("s x", "u 1", "a 2", "u 3"), "<s>x</s><u>1</u><a>2</a><u>3</u><a>"),
        # A reply that is begun goes on: the text ends with it.
        (("u 1", "a begun"), "<u>1</u><a>begun"),
        # Two of one role are one message.
        (("u 1", "u 2"), "<u>1\n\n2</u><a>"),
        # A system message in the middle ends the exchange before it.
        (("u 1", "s x", "u 2"), "<u>1</u><a></a><s>x</s><u>2</u><a>"),
        (("a greets", "u hi"), "<a>greets</a><u>hi</u><a>"),
        (("u 1", "t ignored", "a 2", "u 3"), "<u>1</u><a>2</a><u>3</u><a>"),
        ((), "<a>"),
    ],
)
def test_exchanges(turns: tuple[str, ...], prompt: str) -> None:
    assert render_chat(Template(LEGACY), talk(*turns)) == prompt


@pytest.mark.parametrize(
    ("turns", "prompt"),
    [
        (("u hi",), "[user: hi]"),
        (("s a", "s b", "u 1", "a 2", "u 3", "u 4"), "[system: a\n\nb][user: 1][assistant: 2][user: 3\n\n4]"),
        (("t 1", "t 2"), "[tool: 1][tool: 2]"),
    ],
)
def test_all_messages_at_once(turns: tuple[str, ...], prompt: str) -> None:
    assert render_chat(Template(LIST), talk(*turns)) == prompt


def test_all_system_texts_are_in_system_too() -> None:
    template = Template("{{ .System }}|" + LIST)
    assert render_chat(template, talk("s a", "u 1", "s b")) == "a\n\nb|[system: a][user: 1][system: b]"


@pytest.mark.parametrize(
    ("text", "prompt"),
    [
        # What stands after the reply is not printed in the exchange that the model continues.
        ("{{ .Prompt }}>{{ .Response }}<end>", "1>2<end>3>"),
        ("{{ .Prompt }}", "123"),
        # A condition on the reply is no reply; what it encloses is.
        ("{{ .Prompt }}{{ if .Response }}>{{ .Response }}<{{ end }}!", "1>2<!3"),
        ("{{ .Prompt }}{{ if .Prompt }}>{{ .Response }}<{{ end }}!", "1>2<!3>"),
        # As in Ollama, only the very field `.Response` counts, and the rest of its action goes too.
        ("{{ with .Prompt }}{{ . }}>{{ $.Response }}<{{ end }}!", "1>2<!3><!"),
        ("{{ .Prompt }}{{ .Response | print }}x", "12x3"),
        ("{{ print .Prompt .Response .Prompt }}x", "121x3"),
        ("{{ if .Response }}a{{ else }}{{ .Response }}b{{ end }}c", "ac"),
    ],
)
def test_the_last_exchange_ends_at_the_reply(text: str, prompt: str) -> None:
    assert render_chat(Template(text), talk("u 1", "a 2", "u 3")) == prompt


def test_in_the_last_exchange_a_field_of_nothing_is_nothing() -> None:
    assert render_chat(Template("{{ .Nope.A }}{{ .Prompt }}"), talk("u 1")) == "<no value>1"


@pytest.mark.parametrize(
    "text",
    [
        "{{ json .Prompt }}{{ .Response }}",
        "{{ currentDate }}{{ .Prompt }}{{ .Response }}",
        '{{ define "t" }}[{{ . }}]{{ end }}{{ template "t" .Prompt }}{{ .Response }}',
        "{{ if .Prompt }}{{ .Response }}{{ else }}-{{ end }}",
    ],
)
def test_what_ollama_cannot_render_is_an_error(text: str) -> None:
    with pytest.raises(TemplateError):
        render_chat(Template(text), talk("u 1"))


TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Says <how> it is.",
        "parameters": {
            "type": "object",
            "required": ["city"],
            "properties": {
                "unit": {"type": ["string", "null"], "enum": ["C", "F"]},
                "city": {"type": "string", "description": "Where"},
            },
        },
    },
}
CALL = {
    "id": "1",
    "function": {"name": "weather", "arguments": {"days": 3, "city": "Rom & Köln", "deep": {"n": 1000000}}},
}
TOOL_JSON = (
    '{"type":"function","function":{"name":"weather","description":"Says \\u003chow\\u003e it is.",'
    '"parameters":{"type":"object","required":["city"],"properties":{"city":{"type":"string","description":"Where"},'
    '"unit":{"type":["string","null"],"enum":["C","F"]}}}}}'
)
ARGUMENTS = '{"city":"Rom \\u0026 Köln","days":3,"deep":{"n":1000000}}'
PROPERTIES = "{{ range .Tools }}{{ range $k, $v := .Function.Parameters.Properties }}%s;{{ end }}{{ end }}"
CALLS = "{{ range .Messages }}{{ range .ToolCalls }}%s{{ end }}{{ end }}"


@pytest.mark.parametrize(
    ("text", "prompt"),
    [
        ("{{ range .Tools }}{{ . }}{{ end }}", TOOL_JSON),
        ("{{ .Tools }}", f"[{TOOL_JSON}]"),
        ("{{ json .Tools }}", f"[{TOOL_JSON}]"),
        ("{{ range .Tools }}{{ .Function.Name }}: {{ .Function.Parameters.Required }}{{ end }}", "weather: [city]"),
        (PROPERTIES % "{{ $k }}={{ $v.Type }}", "city=string;unit=[string null];"),
        (PROPERTIES % "{{ toTypeScriptType $v }}", "string;string | null;"),
        (CALLS % "{{ .Function.Name }}({{ .Function.Arguments }})", f"weather({ARGUMENTS})"),
        (CALLS % "{{ .Function.Arguments.deep }} {{ .Function.Arguments.days }}", "map[n:1e+06] 3"),
        (
            "{{ range .Messages }}{{ json .ToolCalls }}{{ end }}",
            f'null[{{"ID":"1","Function":{{"Index":0,"Name":"weather","Arguments":{ARGUMENTS}}}}}]null',
        ),
        ("{{ range .Messages }}{{ .ToolName }}{{ .Thinking }}{{ end }}", "hmweather"),
    ],
)
def test_tools_and_calls_are_ollamas_values(text: str, prompt: str) -> None:
    messages = [
        {"role": "user", "content": "?"},
        {"role": "assistant", "content": "", "thinking": "hm", "tool_calls": [CALL]},
        {"role": "tool", "content": "sunny", "tool_name": "weather"},
    ]
    unused = "{{ if false }}{{ .Messages }}{{ end }}"
    assert Template(text + unused).render(messages, tools=[TOOL]) == prompt


@pytest.mark.parametrize(
    ("think", "prompt"),
    [(None, "false  false"), (True, "true medium true"), (False, "false  true"), ("high", "true high true")],
)
def test_thinking_is_told_to_the_template(think: bool | str | None, prompt: str) -> None:  # noqa: FBT001 - the API's type
    text = "{{ .Think }} {{ .ThinkLevel }} {{ .IsThinkSet }}"
    assert Template(text + "{{ if false }}{{ .Messages }}{{ end }}").render([], think=think) == prompt
    assert Template(text).render([], think=think) == prompt


def test_what_belongs_between_two_texts() -> None:
    template = Template("<pre>{{ .Prompt }}<suf>{{ .Suffix }}<mid>")
    assert template.render(prompt="def f():", suffix="return x") == "<pre>def f():<suf>return x<mid>"


def test_a_prompt_alone_is_a_message_of_the_user() -> None:
    assert Template(LIST).render([{"role": "system", "content": "s"}], prompt="hi") == "[system: s][user: hi]"


WRONG: list[dict[str, Any]] = [
    {"messages": [{"role": "user", "content": 5}]},
    {"messages": [{"role": "user", "tool_calls": {"a": 1}}]},
    {"messages": [{"role": "user", "tool_calls": ["x"]}]},
    {"messages": [], "tools": ["x"]},
    {"messages": [], "tools": [{"function": {"parameters": {"properties": {"a": 1}}}}]},
    {"messages": [], "think": "very"},
]


@pytest.mark.parametrize("asked", WRONG)
def test_error_what_is_not_of_the_apis_shape(asked: dict[str, Any]) -> None:
    with pytest.raises(TemplateError):
        Template(LIST).render(**asked)
