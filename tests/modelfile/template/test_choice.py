"""Which template makes a model's prompts, and what a template can do."""

from __future__ import annotations

import pytest
from corral.modelfile.template.choice import RENDERERS, Choice, choose, jinja_capabilities, template_capabilities
from corral.store.errors import InputError

GO = "{{ range .Messages }}{{ .Content }}{{ end }}"
GO_TOOLS = GO + "{{ if .Tools }}{{ .Tools }}{{ end }}"
GO_THINKING = GO + "{{ if .Thinking }}<think>{{ .Thinking }}</think>{{ end }}"
GO_INSERT = "{{ if .Suffix }}<pre>{{ .Prompt }}<suf>{{ .Suffix }}<mid>{{ else }}{{ .Prompt }}{{ end }}"
JINJA = "{% for m in messages %}{{ m.content }}{% endfor %}"
JINJA_TOOLS = JINJA + "{% if tools %}{{ tools | tojson }}{% endif %}"
JINJA_THINKING = JINJA + "{% if enable_thinking %}<think>{% endif %}"
JINJA_BOTH = JINJA_TOOLS + JINJA_THINKING


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", set[str]()),
        ("{{ .Prompt }}", set[str]()),
        (GO, set[str]()),
        (GO_TOOLS, {"tools"}),
        ("{{ range $.Tools }}{{ . }}{{ end }}", {"tools"}),
        ("{{ $t := .Tools }}{{ $t }}", {"tools"}),
        (GO_THINKING, {"thinking"}),
        ("{{ .Prompt }}{{ if and .IsThinkSet (not .Think) }}/no_think{{ end }}", {"thinking"}),
        (GO_INSERT, {"insert"}),
        (GO_TOOLS + GO_THINKING + GO_INSERT, {"tools", "thinking", "insert"}),
        ("tools, thinking and a suffix {{ .Prompt }}{{/* .Tools */}}", set[str]()),
        ("{{ range .Messages }}{{ .ToolCalls }}{{ end }}", set[str]()),
        ("{{ .Tools ", set[str]()),
        ("{{ nope .Tools }}", set[str]()),
        ("{{ if .Tools }}" * 2000 + "{{ end }}" * 2000, set[str]()),
        ("{{ .Tools }}" * 20_000, set[str]()),
    ],
)
def test_a_go_template_can_do_what_its_variables_say(text: str, expected: set[str]) -> None:
    assert template_capabilities(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", set[str]()),
        (JINJA, set[str]()),
        (JINJA_TOOLS, {"tools"}),
        ("{%- if tools is not none and tools|length > 0 %}x{% endif %}", {"tools"}),
        ("{% set tools = [] %}{{ bos_token }}", set[str]()),
        ("{% for m in messages %}{{ m.tools }}{{ m['tools'] }}{% endfor %}", set[str]()),
        ("You may have tools.", set[str]()),
        (JINJA_THINKING, {"thinking"}),
        ("{% if thinking is defined and thinking %}x{% endif %}", {"thinking"}),
        ("{{ messages[0].reasoning_content }}", {"thinking"}),
        ("{{ messages[0]['reasoning_content'] }}", {"thinking"}),
        ("{{ messages[0].get('thinking') }}", {"thinking"}),
        ("{% if 'reasoning_content' in messages[0] %}x{% endif %}", {"thinking"}),
        ("{{ messages[0].content }}<think>\n", {"thinking"}),
        ("{{ messages[0].content.split('</think>')[-1] }}", set[str]()),
        ("I am thinking.", set[str]()),
        (JINJA_BOTH, {"tools", "thinking"}),
        ("{% generation %}{{ tools }}{% endgeneration %}{% break %}", {"tools"}),
        ("{% for %}{{ tools }}", set[str]()),
        ("{% nope %}{{ tools }}<think>", set[str]()),
        ("{{ tools }}{{ 1" + "1" * 10_000 + " }}", set[str]()),
        ("{{ tools" + "[0" * 5000, set[str]()),
        ("{{ tools }}" + "x" * (1 << 20), set[str]()),
    ],
)
def test_a_jinja_template_can_do_what_it_reads(text: str, expected: set[str]) -> None:
    assert jinja_capabilities(text) == expected


@pytest.mark.parametrize(
    ("template", "chat_template", "kind", "capabilities"),
    [
        (GO, "", "template", set[str]()),
        (GO, JINJA, "template", set[str]()),
        (GO_TOOLS, JINJA_TOOLS, "template", {"tools"}),
        (GO_TOOLS + GO_THINKING, JINJA_BOTH, "template", {"tools", "thinking"}),
        (GO_TOOLS + GO_THINKING, JINJA_TOOLS, "template", {"tools", "thinking"}),
        (GO, JINJA_TOOLS, "gguf", {"tools"}),
        (GO, JINJA_THINKING, "gguf", {"thinking"}),
        (GO_TOOLS, JINJA_BOTH, "gguf", {"tools", "thinking"}),
        # Each knows what the other does not: what the user wrote wins.
        (GO_TOOLS, JINJA_THINKING, "template", {"tools"}),
        (GO_THINKING, JINJA_TOOLS, "template", {"thinking"}),
        # A prompt with a suffix is TEMPLATE's in any case.
        (GO_INSERT, JINJA, "template", {"insert"}),
        (GO_INSERT, JINJA_TOOLS, "gguf", {"tools", "insert"}),
        ("", JINJA, "gguf", set[str]()),
        ("", JINJA_BOTH, "gguf", {"tools", "thinking"}),
        ("", "", "none", set[str]()),
        # One that is no template can do nothing, and says so when it is used.
        ("{{ .Tools ", JINJA_TOOLS, "gguf", {"tools"}),
        ("{{ .Tools ", JINJA, "template", set[str]()),
        (GO, "{% for %}{{ tools }}", "template", set[str]()),
        ("", "{% for %}", "gguf", set[str]()),
    ],
)
def test_template_is_used_unless_the_weights_own_can_do_more(
    template: str, chat_template: str, kind: str, capabilities: set[str]
) -> None:
    choice = choose(template, chat_template)
    assert (choice.kind, choice.capabilities) == (kind, capabilities)


@pytest.mark.parametrize("renderer", sorted(RENDERERS))
def test_ollamas_renderers_are_done_by_the_weights_own_template(renderer: str) -> None:
    assert choose(GO_TOOLS, JINJA, renderer).kind == "gguf"
    assert choose("", JINJA, renderer).kind == "gguf"
    assert choose(GO, "", renderer).kind == "template"
    assert choose("", "", renderer).kind == "none"


@pytest.mark.parametrize("family", ["gptoss", "gpt-oss"])
def test_so_is_a_family_with_prompts_of_its_own(family: str) -> None:
    assert choose(GO_TOOLS, JINJA, family=family).kind == "gguf"
    assert choose(GO, "", family=family).kind == "template"
    assert choose(GO_TOOLS, JINJA, family="llama").kind == "template"


@pytest.mark.parametrize(
    ("choice", "reason"),
    [
        (choose(GO, JINJA), "there is a TEMPLATE"),
        (choose("", JINJA), "there is no TEMPLATE, but a chat template in the GGUF"),
        (choose("", ""), "there is no TEMPLATE, and no chat template in the GGUF"),
        (choose(GO, JINJA_BOTH), "the GGUF's chat template knows thinking and tools, which TEMPLATE does not"),
        (choose(GO_TOOLS, JINJA_BOTH), "the GGUF's chat template knows thinking, which TEMPLATE does not"),
        (
            choose(GO, JINJA, "cogito"),
            "Ollama has code of its own for RENDERER cogito; here the GGUF's chat template does that work",
        ),
        (
            choose(GO, JINJA, family="gptoss"),
            "Ollama has code of its own for the family gptoss; here the GGUF's chat template does that work",
        ),
    ],
)
def test_a_choice_says_why(choice: Choice, reason: str) -> None:
    assert choice.reason == reason


@pytest.mark.parametrize(("renderer", "shown"), [("zzz", "zzz"), ("Cogito", "Cogito"), ("a\nb", "a\\nb")])
def test_error_a_renderer_nobody_knows(renderer: str, shown: str) -> None:
    with pytest.raises(InputError) as caught:
        choose(GO, JINJA, renderer)
    assert str(caught.value) == f'unknown renderer "{shown}"'
