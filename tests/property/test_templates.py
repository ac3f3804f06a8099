"""Templates come from strangers: whatever their text, rendering gives text or TemplateError."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from corral.modelfile.template.collate import render_chat
from corral.modelfile.template.conversation import ChatMessage, Conversation
from corral.modelfile.template.errors import TemplateError
from corral.modelfile.template.jinja import render_jinja
from corral.modelfile.template.parser import Template
from corral.modelfile.template.values import Value
from hypothesis import example, given
from hypothesis import strategies as st

from tests.property.conftest import CHECKED

TALK = [ChatMessage("system", "s"), ChatMessage("user", "u"), ChatMessage("assistant", "a"), ChatMessage("user", "v")]

GO_WORDS = (
    "{{ }} {{- -}} if else end range with define template block break continue . .System .Messages .Role .Content $ $x "
    '$.Prompt := = | ( ) , "a" "b\\n" `c` \'d\' 1 -2 3.5 0x1f 1e9 true false nil and or not eq ne lt le gt ge len index '
    "slice print println printf html js urlquery json currentDate toTypeScriptType /* */ é \\ % \x00 \ud800"
)
GO = st.lists(st.sampled_from([*GO_WORDS.split(" "), "{{", "}}", "\n", " "]), max_size=25).map(" ".join)
WHOLE = st.lists(
    st.sampled_from(
        [
            "{{ if .System }}",
            "{{ range .Messages }}",
            "{{ range $i, $m := .Messages }}",
            "{{ with .Prompt }}",
            "{{ else }}",
            "{{ end }}",
            "{{ end }}",
            "{{ .Response }}",
            "{{ .Content }}",
            "{{ $m.Role }}",
            "{{ $x := 1 }}",
            "{{ $x }}",
            "{{ break }}",
            '{{ define "t" }}',
            '{{ template "t" . }}',
            "{{ index . 0 }}",
            "{{ json . }}",
            "{{ range 1000000000 }}",
            "text",
            " {{- /* c */ -}} ",
        ]
    ),
    max_size=12,
).map("".join)
JINJA_WORDS = (
    "{{ }} {% %} {# #} {%- -%} if else endif for in endfor set endset macro endmacro namespace() x y messages m.role "
    "m['content'] loop.index0 | ~ + * ** % == not and or is defined none true 1 -2 3.5 'a' \"b\" [ ] ( ) { } , . : "
    "tojson join length upper default raise_exception('e') strftime_now('%Y') range(9) ''.__class__ self cycler break"
)
JINJA = st.lists(st.sampled_from([*JINJA_WORDS.split(" "), "{{", "}}", "{%", "%}", "\n"]), max_size=25).map(" ".join)


def refusal(run: Callable[[], str]) -> str:
    """Why it is refused, "" when it is not; another error comes through."""
    try:
        assert isinstance(run(), str)
    except TemplateError as error:
        return str(error)
    return ""


@pytest.mark.soak
@CHECKED
@given(st.one_of(GO, WHOLE, st.text(max_size=60), GO.map("{{{{ {} }}}}".format)))
@example("{{ break }}")
@example("{{ 0x" + "f" * 400 + ' | printf "%f" }}')
@example("{{ range 1000000000 }}{{ range 1000000000 }}{{ end }}{{ end }}")
@example("{{if .}}" * 2000)
def test_go_templates_render_or_are_refused(text: str) -> None:
    data: dict[str, Value] = {
        "System": "s",
        "Prompt": "p",
        "Response": "",
        "Messages": [{"Role": "user"}, None, 3, "x"],
    }
    for run in (lambda: Template(text).execute(data), lambda: render_chat(Template(text), Conversation(TALK))):
        assert refusal(run).isprintable()


@pytest.mark.soak
@CHECKED
@given(st.one_of(JINJA, st.text(max_size=60), JINJA.map("{{{{ {} }}}}".format)))
@example("{{ 'a' * 10 ** 10 }}")
@example("{{ '{:10000000000}'.format(1) }}")
@example("{% if true %}" * 2000)
def test_jinja_templates_render_or_are_refused(text: str) -> None:
    assert refusal(lambda: render_jinja(text, Conversation(TALK), bos="<s>")).isprintable()
