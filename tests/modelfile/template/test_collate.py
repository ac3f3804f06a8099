"""Conversations to prompts: merging, one pass over `.Messages`, or exchange by exchange (spec part 8.4)."""

from __future__ import annotations

import pytest
from corral.modelfile.template.collate import ChatMessage, render_chat
from corral.modelfile.template.parser import Template
from corral.modelfile.template.values import Json

LEGACY = (
    "{{ if .System }}<s>{{ .System }}</s>{{ end }}{{ if .Prompt }}<u>{{ .Prompt }}</u>{{ end }}<a>{{ .Response }}</a>"
)
LIST = "{{ range .Messages }}[{{ .Role }}: {{ .Content }}]{{ end }}"


def talk(*turns: str) -> list[ChatMessage]:
    """`s text`, `u text`, `a text`, `t text`: a conversation."""
    roles = {"s": "system", "u": "user", "a": "assistant", "t": "tool"}
    return [ChatMessage(roles[turn[0]], turn[2:]) for turn in turns]


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
        ("{{ with .Prompt }}{{ . }}>{{ $.Response }}<{{ end }}!", "1>2<!3>"),
    ],
)
def test_the_last_exchange_ends_at_the_reply(text: str, prompt: str) -> None:
    assert render_chat(Template(text), talk("u 1", "a 2", "u 3")) == prompt


def test_tools_and_calls_reach_the_template() -> None:
    template = Template(
        "{{ range .Tools }}{{ .function.name }} {{ . }}{{ end }}"
        "{{ range .Messages }}{{ range .ToolCalls }}{{ .name }}{{ end }}{{ .Thinking }}{{ end }}"
    )
    tool = Json(type="function", function={"name": "f"})
    messages = [ChatMessage("assistant", "", thinking="hm", tool_calls=(Json(name="f"),))]
    assert render_chat(template, messages, [tool]) == 'f {"function":{"name":"f"},"type":"function"}fhm'
