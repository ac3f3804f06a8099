"""The functions templates may call: what they give, and what they refuse (spec part 8.3)."""

from __future__ import annotations

import pytest
from corral.modelfile.template.errors import TemplateError

from tests.modelfile.template.asked import rendered

GIVEN = {
    # Comparison: of one kind only, nil with everything, a byte as a number.
    "{{ eq 1 2 1 }} {{ eq 1 1 `a` }} {{ eq `a` nil }} {{ eq nil nil }} {{ eq .Nope nil }}": "true true false true true",
    "{{ ne 1 2 }} {{ ne true false }} {{ eq 1.0 1.0 }}": "true true true",
    "{{ lt `a` `b` }} {{ le 2 2 }} {{ gt 1.5 0.5 }} {{ ge 1 2 }}": "true true true false",
    "{{ eq (index `a` 0) 97 }} {{ lt (index `a` 0) 98 }}": "true true",
    "{{ eq .Messages nil }} {{ eq (slice .Messages 0 0) nil }}": "false false",
    "{{ not 0 }} {{ not `a` }} {{ not nil }} {{ not $m }}": "true false true false",
    # Parts: of texts, bytes; of lists, lists of the same type.
    '{{ index "héy" 1 }} {{ index 5 }} {{ index $args "b" 2 "k" }} {{ index $args "none" }}': "195 5 v <no value>",
    '{{ index "abc" 1 }} {{ index "abc" 1 | printf "%T %[1]c" }}': "98 uint8 b",
    "{{ index (index .Messages 0).Images 0 1 }} {{ (index (slice .Tools 1) 0).Function.Name }}": "80 g",
    '{{ slice "héy" 1 3 }}|{{ slice "abc" }}|{{ slice "abc" 1 }}|{{ slice "abc" 1 1 }}|{{ slice "abc" 3 }}|': "é|abc|bc|||",
    "{{ len (slice .Messages 1) }} {{ len (slice .Messages 1 2) }} {{ len (slice .Messages 0 1 2) }}": "2 1 1",
    '{{ slice $image 1 | printf "%v %[1]T" }}': "[80 78] api.ImageData",
    '{{ slice $p.a.Type 1 | printf "%T" }} {{ slice $args.b 1 | printf "%T" }}': "api.PropertyType []interface {}",
    '{{ slice $p.none.Type | printf "%#v" }}': "api.PropertyType(nil)",
    '{{ len "héy" }} {{ len $p }} {{ len $args }} {{ len $p.none.Enum }}': "4 4 2 0",
    # Texts.
    '{{ print 1 2 "a" "b" 3 nil nil }}|{{ print }}|{{ println 1 "a" nil }}': "1 2ab3 <nil> <nil>||1 a <nil>\n",
    """{{ html "<a b='c'>&\\"\\x00" }} {{ html 1 2 nil }}""": (
        "&lt;a b=&#39;c&#39;&gt;&amp;&#34;\ufffd 1 2&lt;no value&gt;"
    ),
    r"""{{ js "it's <b> \\ \"=&\n" }}""": r"""it\'s \u003Cb\u003E \\ \"\u003D\u0026\u000A""",
    r'{{ js "é☕\u00ad\u2028\U000e0001" }}': r"é☕\u00AD\u2028\uE0001",
    '{{ urlquery "a b&c/é~" 1 }}': "a+b%26c%2F%C3%A9~1",
    # JSON.
    r'{{ json "<&>\u2028\x00é" }} {{ json nil }} {{ json (index "a" 0) }}': r'"\u003c\u0026\u003e\u2028\u0000é" null 97',
    "{{ json 9007199254740993 }} {{ json 1.0 }} {{ json 1e21 }} {{ json 1e-7 }}": "9007199254740993 1 1e+21 1e-7",
    # Numbers.
    "{{ 1e6 }} {{ 123456.75 }} {{ 1e-5 }} {{ 0.0001 }} {{ -0.0 }} {{ 1e20 }}": "1e+06 123456.75 1e-05 0.0001 -0 1e+20",
    "{{ print 1e6 5 1.0 }}": "1e+06 5 1",
    # Bytes that are no character are kept until they leave.
    r'{{ "\xff" }}|{{ len "\xff" }}|{{ slice "☕" 0 2 }}': "\ufffd|1|\ufffd\ufffd",
    r'{{ print "\xc3" "\xa9" }} {{ slice "é" 0 1 }}{{ slice "é" 1 }}': "é é",
    r'{{ json "\xff" }} {{ urlquery "\xff" }} {{ printf "%q %x" "\xff" "\xff" }}': r'"\ufffd" %FF "\xff" ff',
    r'{{ js "\xff" }} {{ lt "\uffff" "\xff" }} {{ eq (print "\xc3" "\xa9") "é" }}': "\ufffd true true",
    "{{ currentDate }} {{ yesterdayDate }} {{ currentDate `x` .Response }}": "2024-03-01 2024-02-29 2024-03-01",
}


@pytest.mark.parametrize("text", GIVEN)
def test_given(text: str) -> None:
    assert rendered(text) == GIVEN[text]


REFUSED = """
    eq | eq 1 | eq 1 "a" | eq 1 1.0 | eq "1" 2 "a" | eq true 1 | eq $p nil $f | ne 1 | ne 1 2 3 | ne $m $f
    lt 1 1.0 | lt true false | lt nil nil | lt 1 nil | le .Tools .Tools | gt "a" 1 | ge $m $m | not | not 1 2
    len | len 3 | len nil | len true | len $f
    index nil | index nil 0 | index .Nope 0 | index "abc" 3 | index "abc" -1 | index "abc" true | index "abc" 1.0
    index "abc" nil | index .Tools "a" | index .Tools 2 | index $p 1 | index $p nil | index $f "Type"
    index 5 1 | index true 0
    slice nil | slice 5 | slice true | slice $p 0 | slice $f | slice "abc" true | slice "abc" 1.0 | slice "abc" "1"
    slice "abc" nil | slice "abc" 2 1 | slice "abc" 0 4 | slice "abc" 0 1 2 | slice .Tools 0 2 1 | slice .Tools 0 1 2 2
    call | call nil | call "f" | call .Tools 1
    currentDate 1 | currentDate nil | yesterdayDate "x" .Nope | yesterdayDate .Tools
    printf | printf 1 | printf nil | printf .Nope | json | json 1 2 | toTypeScriptType
"""


@pytest.mark.parametrize("call", [call.strip() for line in REFUSED.strip().splitlines() for call in line.split("|")])
def test_error_for_what_cannot_be_called_like_that(call: str) -> None:
    with pytest.raises(TemplateError, match=":1:"):
        rendered(f"{{{{ {call} }}}}")
