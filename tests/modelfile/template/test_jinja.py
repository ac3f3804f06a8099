"""Jinja chat templates: the Hugging Face conventions, in a sandbox that bounds what they may do."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from corral.modelfile.template.conversation import ChatMessage, Conversation
from corral.modelfile.template.errors import TemplateError
from corral.modelfile.template.jinja import render_jinja
from corral.modelfile.template.sandbox import MAX_TEXT
from corral.store import gguf

TALK = [ChatMessage("system", "be kind"), ChatMessage("user", "hi"), ChatMessage("assistant", "ho <&>")]


def render(text: str) -> str:
    return render_jinja(text, Conversation(TALK), bos="<s>", eos="</s>", now=lambda: datetime(2024, 3, 1, tzinfo=UTC))


PRINTED = {
    "{{ bos_token }}{{ eos_token }}": "<s></s>",
    "{% for m in messages %}{{ m.role }}:{{ m['content'] }};{% endfor %}": "system:be kind;user:hi;assistant:ho <&>;",
    "{{ messages | tojson }}": '[{"role": "system", "content": "be kind"}, {"role": "user", "content": "hi"}, '
    '{"role": "assistant", "content": "ho <&>"}]',
    "{% if add_generation_prompt %}go{% endif %}{% if tools %}no{% endif %}": "go",
    "{{ strftime_now('%d %b %Y') }}": "01 Mar 2024",
    "{% for m in messages %}{% if loop.first %}{% continue %}{% endif %}{{ m.role }}{% break %}{% endfor %}": "user",
    "a\n  {% if true %}\n  b\n  {% endif %}\nc": "a\n  b\nc",
    "{{ 'a' ~ 1 ~ none }}{{ 'b' + 'c' }}{{ 'x' * 3 }}{{ 2 ** 10 }}{{ '%s-%d' % ('y', 5) }}": "a1Nonebcxxx1024y-5",
    "{{ 'a{}c'.format('b') }}{{ '%05.1f' | format(1.25) }}": "abc001.2",
    "{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}": "3",
    "{% macro twice(x) %}{{ x }}{{ x }}{% endmacro %}{{ twice('ab') }}": "abab",
    "{% macro wrap() %}[{{ caller() }}]{% endmacro %}{% call wrap() %}in{% endcall %}": "[in]",
    "{% for m in messages %}{% generation %}{{ m.role[0] }}{% endgeneration %}{% endfor %}": "sua",
    "{% set b %}block{% endset %}{{ b | upper }}": "BLOCK",
    "{{ messages | map(attribute='role') | join(',') }}": "system,user,assistant",
    "{{ messages | selectattr('role', 'equalto', 'user') | list | length }}": "1",
    "{{ messages[1:][0].content.split('h')[1].strip() }}{{ messages[-1].role }}": "iassistant",
    "{{ undefined_name }}{{ messages[0].nothing }}|": "|",
    "{{ {'a': [1, 2]} | tojson(indent=2) }}": '{\n  "a": [\n    1,\n    2\n  ]\n}',
    "{% for i in range(3) recursive %}{{ i }}{% endfor %}": "012",
    "{% if 'é' in 'née' %}{{ 'née' | length }}{% endif %}": "3",
}


@pytest.mark.parametrize("text", PRINTED)
def test_printed(text: str) -> None:
    assert render(text) == PRINTED[text]


def test_the_real_models_template_gives_chatml(smollm2: Path) -> None:
    text = gguf.read(smollm2).chat_template
    assert text is not None
    prompt = render_jinja(text, Conversation(TALK[:2]), bos="<|im_start|>", eos="<|im_end|>")
    assert prompt == "<|im_start|>system\nbe kind<|im_end|>\n<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"


def test_a_long_conversation_is_no_problem() -> None:
    messages = [ChatMessage("user", "x" * 100)] * 20_000
    text = "{% for m in messages %}{{ '<' ~ m.role ~ '>' + m.content | trim + '\n' }}{% endfor %}"
    assert len(render_jinja(text, Conversation(messages))) == 20_000 * 107


def test_error_that_the_template_raises_itself() -> None:
    with pytest.raises(TemplateError, match=r"^template: chat template: roles must\\nalternate$"):
        render("{{ raise_exception('roles must\n' ~ 'alternate') }}")


@pytest.mark.parametrize(
    "text",
    [
        "{% if %}",
        "{% for m in messages %}",
        "{{ 1 +",
        "{% nonsense %}",
        "{{ messages | nonsense }}",
        "{{ 1 / 0 }}",
        "{{ messages[9].role.x }}",
        "{{ none.x.y }}",
        "{{ 'a' + 1 }}",
        "{% include 'x' %}",
        "{% extends 'x' %}",
        "{% import 'x' as y %}",
        "{{ " + "(" * 5000,
        "{% if true %}" * 3000,
    ],
)
def test_error_for_a_template_that_is_wrong(text: str) -> None:
    with pytest.raises(TemplateError) as caught:
        render(text)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "text",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.__class__.x }}",
        "{{ raise_exception.__globals__.x }}",
        "{{ strftime_now.__code__.x }}",
        "{{ cycler.__init__.__globals__.os }}",
        "{{ ''['__class__'].x }}",
        "{{ (''|attr('__class__')).x }}",
        "{{ '{0.__class__.__mro__}'.format('') }}",
        "{{ messages.append(1) }}",
        "{{ messages[0].update({'role': 'x'}) }}",
        "{{ messages.clear() }}",
        "{{ self._TemplateReference__context.x.y }}",
    ],
)
def test_error_for_reaching_out_of_the_sandbox(text: str) -> None:
    with pytest.raises(TemplateError):
        render(text)


@pytest.mark.parametrize(
    "text",
    [
        "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}",
        "{% for i in range(100000) %}" + "x" * 1000 + "{% endfor %}",
        "{% for i in range(100000) %}{{ 'x' * 1000 }}{% endfor %}",
        "{% for i in [1] recursive %}{{ loop([1, 1]) }}{% endfor %}",
        "{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}",
        "{% macro a(n) %}{% if n %}{{ a(n - 1) }}{{ a(n - 1) }}{% endif %}{% endmacro %}{{ a(60) }}",
        "{% set ns = namespace(x='aaaa') %}{% for i in range(60) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
        "{% set ns = namespace(x='aaaa') %}{% for i in range(60) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
        "{% set ns = namespace(x='aaaa') %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] | join %}{% endfor %}",
        "{% set ns = namespace(x=[1]) %}{% for i in range(60) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
        "{% set ns = namespace(x='aa') %}{% for i in range(60) %}{% set ns.x %}{{ ns.x }}{{ ns.x }}{% endset %}{% endfor %}",
        "{% set ns = namespace(x=7) %}{% for i in range(60) %}{% set ns.x = ns.x * ns.x %}{% endfor %}",
        "{{ 'a' * 10 ** 10 }}",
        "{{ 10 ** 10 * [1] }}",
        "{{ 9 ** 9 ** 9 ** 9 ** 9 ** 9 }}",
        "{{ 9 ** (9 ** 9) }}",
        "{{ 'a' | center(10 ** 10) }}",
        "{{ 'a'.ljust(10 ** 10) }}",
        "{{ 'a' | indent(10 ** 10) }}",
        "{{ '%10000000000d' % 1 }}",
        "{{ '%*d' % (10000000000, 1) }}",
        "{{ '%10000000000d' | format(1) }}",
        "{{ '{:10000000000}'.format(1) }}",
        "{{ [1] | batch(10 ** 10, 'x') | list }}",
        "{{ ('a' * 10 ** 6).replace('a', 'b' * 10 ** 6) }}",
        "{{ range(10 ** 10) | list }}",
        "{{ lipsum(n=10 ** 6) }}",
        "x" * (MAX_TEXT + 1),
    ],
    ids=lambda text: text[:60],
)
def test_error_for_a_template_that_runs_away(text: str) -> None:
    with pytest.raises(TemplateError):
        render(text)


@pytest.mark.parametrize("name", ["wordwrap", "urlize"])
def test_error_filters_that_take_long_are_not_there(name: str) -> None:
    with pytest.raises(TemplateError, match=f"No filter named '{name}'"):
        render(f"{{{{ 'a a' | {name} }}}}")


NEST = (
    "{% set n = namespace(x=['x'], y=['x']) %}"
    "{% for i in range(40) %}{% set n.x = [n.x, n.x] %}{% set n.y = [n.y, n.y] %}{% endfor %}"
)


@pytest.mark.parametrize(
    "text",
    [
        "{% set b = 'x' * 1000000 %}{{ ([b] * 1000) | join | length }}",
        "{% set b = 'x' * 1000000 %}{{ ([b] * 1000) | tojson | length }}",
        NEST + "{{ n.x | string | length }}",
        NEST + "{{ n.x }}",
        NEST + "{{ n.x ~ '' }}",
        NEST + "{{ n.x == n.y }}",
        NEST + "{{ n.x < n.y }}",
        NEST + "{{ n.x in [n.y] }}",
        NEST + "{{ [n.x, n.y] | sort | length }}",
        NEST + "{{ [n.x, n.y] | unique | list | length }}",
        NEST + "{{ n.x is eq n.y }}",
        NEST + "{{ [n.x] | select('in', [n.y]) | list | length }}",
        NEST + "{{ [n.x].count(n.y) }}",
        "{% set b = 'x' * 1000000 %}{{ ''.join([b] * 1000) | length }}",
    ],
)
def test_error_what_holds_much_in_little_is_neither_written_nor_compared(text: str) -> None:
    with pytest.raises(TemplateError, match="takes too many steps, or too much text"):
        render(text)


def test_error_filters_spend_what_they_read_and_give() -> None:
    text = "{% set x = 'a' * 1000000 %}{% for i in range(99) %}{% set y = x | upper %}{% endfor %}"
    with pytest.raises(TemplateError, match="takes too many steps, or too much text"):
        render(text)


def test_filters_are_given_what_they_want_from_jinja() -> None:
    text = "{{ messages | map(attribute='role') | map('upper') | join(',') }} {{ [3, 1] | sort | first }}"
    assert render(text) == "SYSTEM,USER,ASSISTANT 1"


def test_one_templates_excess_does_not_touch_the_next_run() -> None:
    text = "{% for i in range(messages | length * 90000 - 89990) %}{{ 'x' * 1000 }}{% endfor %}"
    for _ in range(2):
        assert len(render_jinja(text, Conversation(TALK[:1]))) == 10_000
        with pytest.raises(TemplateError):
            render_jinja(text, Conversation(TALK[:2]))


def test_tools_calls_and_thinking_have_the_names_of_hugging_face() -> None:
    tool = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}
    call = {"id": "1", "function": {"name": "add", "arguments": {"b": 2, "a": 1.5}}}
    messages = [
        {"role": "assistant", "content": "", "thinking": "hm", "tool_calls": [call]},
        {"role": "tool", "content": "3.5", "tool_name": "add", "tool_call_id": "1"},
    ]
    talk = Conversation([ChatMessage.read(message) for message in messages], [tool], "low")
    text = (
        "{{ tools[0].function.name }} {{ messages[0].reasoning_content }} {{ messages[0].tool_calls | tojson }} "
        "{{ messages[1].name }} {{ messages[1].tool_call_id }} {{ enable_thinking }} {{ reasoning_effort }}"
    )
    made = '[{"id": "1", "type": "function", "function": {"name": "add", "arguments": {"b": 2, "a": 1.5}}}]'
    assert render_jinja(text, talk) == f"add hm {made} add 1 True low"


def test_what_is_not_said_is_undefined() -> None:
    asked = "{{ tools is none }} {{ enable_thinking is defined }} {{ messages[0].tool_calls is defined }}"
    assert render_jinja(asked, Conversation(TALK)) == "True False False"
    assert render_jinja("{{ enable_thinking }}", Conversation(TALK, think=False)) == "False"
