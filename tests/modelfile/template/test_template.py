"""Go templates: what they print, what they refuse, and that none runs away (spec parts 8.1 to 8.3)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

import pytest
from corral.modelfile.template.conversation import Arguments
from corral.modelfile.template.errors import TemplateError
from corral.modelfile.template.parser import MAX_TEXT, Template
from corral.modelfile.template.values import Struct, Value

DATA: dict[str, Value] = {
    "System": "sys",
    "Prompt": "hi <&>",
    "Response": "",
    "Empty": [],
    "List": ["a", "b", "c"],
    "Numbers": [1, 2, 3],
    "Map": {"b": 2, "a": 1},
    "Message": Struct(Role="user", Content="text"),
    "Tool": Arguments({"type": "function", "function": {"name": "f", "description": "<x>"}}),
    "True": True,
    "Zero": 0,
    "Half": 0.5,
    "Nil": None,
}


def render(text: str, data: Mapping[str, Value] = DATA) -> str:
    """What the template prints; the `.Response` that Ollama would append is given, and empty."""
    return Template(text + "{{ .Response }}", today=lambda: date(2024, 3, 1)).execute(data)


PRINTED = {
    "": "",
    "plain } { text": "plain } { text",
    "{{ .System }}": "sys",
    "{{.System}}{{ .Prompt }}": "syshi <&>",
    "{{ $.System }}": "sys",
    "{{ . | len }}": "13",
    # Trimming.
    "a {{ .System }} b": "a sys b",
    "a \n {{- .System -}} \n b": "asysb",
    "a {{- /* note */ -}} b": "ab",
    "a {{/* note */}} b": "a  b",
    "a {{- 3 }}": "a3",
    "{{ -3 }}": "-3",
    "{{ 3 -}} b": "3b",
    # Conditions.
    "{{ if .System }}yes{{ end }}": "yes",
    "{{ if .Zero }}yes{{ else }}no{{ end }}": "no",
    "{{ if .Empty }}1{{ else if .Zero }}2{{ else if .True }}3{{ else }}4{{ end }}": "3",
    "{{ if not .Nil }}yes{{ end }}": "yes",
    "{{ with .System }}{{ . }}!{{ end }}": "sys!",
    "{{ with .Empty }}x{{ else with .Half }}{{ . }}{{ end }}": "0.5",
    "{{ with $x := .System }}{{ $x }}{{ . }}{{ end }}": "syssys",
    "{{ if .Message }}a struct is true{{ end }}": "a struct is true",
    # Loops.
    "{{ range .List }}{{ . }},{{ end }}": "a,b,c,",
    "{{ range $i, $x := .List }}{{ $i }}{{ $x }} {{ end }}": "0a 1b 2c ",
    "{{ range $x := .List }}{{ $x }}{{ end }}": "abc",
    "{{ range $k, $v := .Map }}{{ $k }}={{ $v }};{{ end }}": "a=1;b=2;",
    "{{ range .Empty }}x{{ else }}none{{ end }}": "none",
    "{{ range .Nil }}x{{ else }}none{{ end }}": "none",
    "{{ range 3 }}{{ . }}{{ end }}": "012",
    "{{ range 0 }}x{{ else }}none{{ end }}": "none",
    "{{ range .Numbers }}{{ if eq . 2 }}{{ continue }}{{ end }}{{ . }}{{ end }}": "13",
    "{{ range .Numbers }}{{ if eq . 2 }}{{ break }}{{ end }}{{ . }}{{ end }}": "1",
    "{{ range .List }}{{ $.System }}{{ end }}": "syssyssys",
    # Variables.
    "{{ $x := 1 }}{{ $x = 2 }}{{ $x }}": "2",
    "{{ $x := 1 }}{{ if true }}{{ $x = 2 }}{{ end }}{{ $x }}": "2",
    "{{ $x := 1 }}{{ if true }}{{ $x := 2 }}{{ end }}{{ $x }}": "1",
    "{{ $last := 0 }}{{ range $i, $_ := .List }}{{ $last = $i }}{{ end }}{{ $last }}": "2",
    "{{ $m := .Message }}{{ $m.Content }}": "text",
    # Pipelines and calls.
    '{{ "a" | printf "%s-%s" "b" }}': "b-a",
    "{{ (index .List 1) }}": "b",
    "{{ (index .Map `a`) }}": "1",
    "{{ index .Map `none` }}": "<no value>",
    "{{ (.Message).Role }}": "user",
    "{{ len .Prompt }} {{ len `é` }} {{ len .List }}": "6 2 3",
    '{{ slice .List 1 | json }} {{ slice "abc" 1 2 }}': '["b","c"] b',
    "{{ and 1 0 }} {{ and 1 2 }} {{ or 0 `x` }} {{ or 0 `` }}|": "0 2 x |",
    "{{ or .System (index .List 99) }}": "sys",
    "{{ eq 1 2 1 }} {{ ne 1 2 }} {{ lt 1 2 }} {{ le 2 2 }} {{ gt 1 2 }} {{ ge 1 2 }} {{ lt `a` `b` }}": (
        "true true true true false false true"
    ),
    '{{ print 1 2 "a" "b" 3 }}|{{ println 1 "a" }}': "1 2a b3|1 a\n".replace("2a b3", "2ab3"),
    '{{ printf "%d %s %v %q %t %x %05d|%-4s|%4s %% %.2f %.f" 5 "s" .List "<" true 255 42 "l" "r" 1.005 2.5 }}': (
        '5 s [a b c] "<" true ff 00042|l   |   r % 1.00 2'
    ),
    '{{ html "<a b=\'c\'>&" }} {{ js "it\'s <b>" }} {{ urlquery "a b&c" }}': (
        "&lt;a b=&#39;c&#39;&gt;&amp; it\\'s \\u003Cb\\u003E a+b%26c"
    ),
    "{{ json .Prompt }} {{ json .Map }} {{ json .Message }}": (
        '"hi \\u003c\\u0026\\u003e" {"a":1,"b":2} {"Role":"user","Content":"text"}'
    ),
    "{{ .Tool }}": '{"function":{"description":"\\u003cx\\u003e","name":"f"},"type":"function"}',
    "{{ .List }} {{ .Map }} {{ .Message }} {{ .Nil }} {{ .Nope }}": "[a b c] map[a:1 b:2] {user text} <no value> <no value>",
    "{{ currentDate }} {{ yesterdayDate }} {{ currentDate `x` }}": "2024-03-01 2024-02-29 2024-03-01",
    # Literals.
    r"""{{ "a\n\t\"\\\x41\101\u00e9\U0001F600" }}""": 'a\n\t"\\AAé😀',
    r'{{ "\xc3\xa9" }}': "é",
    r"{{ `raw\n` }}": r"raw\n",
    "{{ 'a' }} {{ '\\n' }}": "97 10",
    "{{ 0x10 }} {{ 0o17 }} {{ 017 }} {{ 1_000 }} {{ 1e3 }} {{ .5 }} {{ 1e-7 }}": "16 15 15 1000 1000 0.5 1e-07",
    "{{ true }} {{ false }}": "true false",
    # Templates in templates.
    '{{ define "x" }}[{{ . }}]{{ end }}{{ template "x" .System }}': "[sys]",
    '{{ template "x" . }}{{ define "x" }}{{ .System }}{{ end }}': "sys",
    '{{ block "x" .System }}<{{ . }}>{{ end }}': "<sys>",
    '{{ define "x" }}{{ if . }}{{ . }}{{ template "x" false }}{{ end }}{{ end }}{{ template "x" 1 }}': "1",
}  # fmt: skip


@pytest.mark.parametrize("text", PRINTED)
def test_printed(text: str) -> None:
    assert render(text) == PRINTED[text]


def test_a_template_that_prints_no_reply_gets_one_appended() -> None:
    assert Template("{{ .Prompt }}>").execute({"Prompt": "p", "Response": "r"}) == "p>r"
    assert Template("{{ .Response }}{{ .Prompt }}").execute({"Prompt": "p", "Response": "r"}) == "rp"
    assert Template("{{ range .Messages }}m{{ end }}").execute({"Messages": [1], "Response": "r"}) == "m"


def test_variables_are_the_fields_that_ollama_sees() -> None:
    template = Template(
        "{{ if .System }}{{ range $m := $.Messages }}{{ $m.Role }}{{ (index .Tools 0).Function }}{{ end }}{{ end }}"
        "{{ define `x` }}{{ .Inside }}{{ end }}"
    )
    assert template.variables == ("inside", "messages", "role", "system")  # none behind a parenthesis
    assert not template.is_legacy
    assert Template("{{ .Prompt }}").is_legacy


REFUSED = {
    "{{": 1,
    "a\n{{ .System": 2,
    "{{ .System }": 1,
    "\n\n{{ }}": 3,
    "{{ if .System }}": None,
    "{{ range .List }}{{ if . }}{{ end }}": None,
    "{{ end }}": 1,
    "{{ else }}": 1,
    "{{ if .A }}{{ else }}{{ else }}{{ end }}": 1,
    "{{ if }}{{ end }}": 1,
    "{{ break }}": 1,
    "{{ range .List }}{{ end }}\n{{ continue }}": 2,
    '{{ range .List }}{{ define "x" }}{{ break }}{{ end }}{{ end }}': 1,
    "{{ $x }}": 1,
    "{{ if $x := 1 }}{{ end }}{{ $x }}": 1,
    "{{ range $i, $x := .List }}{{ end }}{{ $i }}": 1,
    '{{ $x := 1 }}{{ define "t" }}{{ $x }}{{ end }}': 1,
    "{{ $.x := 1 }}": 1,
    "{{ nope }}": 1,
    "{{ 1 | 2 }}": 1,
    "{{ (1 }}": 1,
    "{{ 1) }}": 1,
    '{{ "abc }}': 1,
    "{{ `abc }}": 1,
    "{{ 'ab' }}": 1,
    "{{ '' }}": 1,
    r'{{ "\d" }}': 1,
    r'{{ "\ud800" }}': 1,
    r'{{ "\400" }}': 1,
    "{{ 99999999999999999999 }}": 1,
    "{{ 1e999 }}": 1,
    "{{ 0x" + "f" * 5000 + " }}": 1,
    "{{ /* }}": 1,
    "{{ /* */ x }}": 1,
    "{{ define }}{{ end }}": 1,
    "{{ template x }}": 1,
    "{{ ? }}": 1,
    '{{ template "x" }}': 1,
    '{{ if .A }}{{ define "x" }}{{ end }}{{ end }}': 1,
    '{{ define "x" }}1{{ end }}{{ define "x" }}2{{ end }}': 1,
    "{{ if .A }}{{ else with .B }}{{ end }}": 1,
    "{{ with .A }}{{ else if .B }}{{ end }}": 1,
    '{{ "a""b" }}': 1,
    '{{ .System"x" }}': 1,
    "{{ print(1) }}": 1,
    "{{ (1)(2) }}": 1,
    "{{ if$ }}{{ end }}": 1,
    "{{ .x² }}": 1,
    "{{-  /* two blanks */ -}}": 1,
    "{{ 08 }}": 1,
    "{{ 1+1 }}": 1,
    "{{ 0x1.5 }}": 1,
    "{{ 1e5.5 }}": 1,
    '{{ "x".System }}': 1,
    "{{if 1}}" * 5000 + "{{end}}" * 5000: None,
    "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}": None,
    "{{ if 1 }}" + "{{ else if 1 }}" * 5000 + "{{ end }}": None,
    "x" * (MAX_TEXT + 1): None,
}


@pytest.mark.parametrize("text", REFUSED, ids=lambda text: repr(text[:40]))
def test_error_for_what_is_no_template(text: str) -> None:
    with pytest.raises(TemplateError) as caught:
        Template(text)
    assert caught.value.line == REFUSED[text]
    assert str(caught.value).startswith("template: ")
    assert str(caught.value).isprintable()


FAILING = [
    "{{ .System.Nope }}",
    "{{ .Message.Nope }}",
    "{{ .Nil.X }}",
    "{{ index .List 3 }}",
    "{{ index .List -1 }}",
    "{{ index .List `a` }}",
    "{{ slice .List 2 1 }}",
    '{{ slice "abc" "x" }}',
    "{{ len 3 }}",
    "{{ eq 1 `a` }}",
    "{{ lt 1 `a` }}",
    "{{ not }}",
    "{{ not 1 2 }}",
    "{{ range .System }}{{ end }}",
    "{{ range .True }}{{ end }}",
    '{{ template "nope" . }}',
    '{{ define "x" }}{{ template "x" . }}{{ end }}{{ template "x" . }}',
    "{{ printf 1 }}",
    "{{ $x = 1 }}",
    "{{ range $x = .List }}{{ end }}",
    "{{ and false ($x := 1) }}{{ $x }}",
    "{{ .System .Prompt }}",
    "{{ and }}",
    "{{ nil }}",
    "{{ $x := nil }}",
    "{{ if (nil) }}{{ end }}",
    "{{ range $k, $v := 3 }}{{ end }}",
    "{{ 9223372036854775808 }}",
    "{{ .Nope.A }}",
]


@pytest.mark.parametrize("text", FAILING)
def test_error_for_what_cannot_be_rendered(text: str) -> None:
    template = Template(text)
    with pytest.raises(TemplateError):
        template.execute(DATA)


DOUBLING = '{{ $x := "xxxxxxxx" }}{{ range 60 }}{{ $x = printf "%s%s" $x $x }}{{ end }}'
CHAIN = "".join(
    f'{{{{ define "{n}" }}}}{{{{ template "{n + 1}" . }}}}{{{{ template "{n + 1}" . }}}}{{{{ end }}}}'
    for n in range(60)
)


@pytest.mark.parametrize(
    "text",
    [
        "{{ range 100000000 }}{{ end }}",
        "{{ range 100000 }}{{ range 100000 }}{{ end }}{{ end }}",
        "{{ range 1000000 }}" + "x" * 1000 + "{{ end }}",
        "{{ range 1000000 }}{{ len $.Long }}{{ end }}",
        DOUBLING,
        CHAIN + '{{ define "60" }}{{ end }}{{ template "0" . }}',
    ],
    ids=["one range", "two ranges", "output", "work", "doubling", "calls"],
)
def test_error_for_a_template_that_runs_away(text: str) -> None:
    with pytest.raises(TemplateError, match=r"more than|too many steps"):
        Template(text).execute({"Long": "x" * 1_000_000})


def test_a_template_can_be_rendered_again_and_again() -> None:
    template = Template(
        '{{ $x := 0 }}{{ range .List }}{{ $x = . }}{{ break }}{{ end }}{{ $x }}{{ define "y" }}{{ end }}'
    )
    assert [template.execute(DATA | {"Response": ""}) for _ in range(3)] == ["a"] * 3


@pytest.mark.parametrize("number", [10**400, float("inf"), float("nan")])
def test_error_for_numbers_from_outside_that_cannot_be_printed(number: float) -> None:
    with pytest.raises(TemplateError):
        Template("{{ json .N }}").execute({"N": number})
