"""Printf: Go's verbs, flags and complaints, and that no format is too much."""

from __future__ import annotations

import contextlib

import pytest
from corral.modelfile.template.errors import TemplateError
from corral.modelfile.template.gotypes import Value
from corral.modelfile.template.printf import printf
from hypothesis import given
from hypothesis import strategies as st

from tests.modelfile.template.asked import rendered
from tests.property.conftest import CHECKED

VERBS: list[tuple[Value, dict[str, str]]] = [
    (42, {"%d": "42", "%5d": "   42", "%-5d|": "42   |", "%05d": "00042", "%-05d|": "42   |", "%+d": "+42"}),
    (42, {"% d": " 42"}),
    (42, {"%+05d": "+0042", "%.4d": "0042", "%8.4d": "    0042", "%08.4d": "    0042", "%v": "42"}),
    (42, {"%#v": "42", "%T": "int"}),
    (42, {"%x": "2a", "%#x": "0x2a", "%X": "2A", "%o": "52", "%#o": "052", "%O": "0o52", "%b": "101010"}),
    (42, {"%#b": "0b101010"}),
    (42, {"%c": "*", "%3c": "  *", "%q": "'*'", "%U": "U+002A", "%#U": "U+002A '*'", "%s": "%!s(int=42)"}),
    (42, {"%t": "%!t(int=42)"}),
    (-7, {"%d": "-7", "%#x": "-0x7", "%05d": "-0007", "%.3d": "-007", "%b": "-111", "%c": "\ufffd"}),
    (-7, {"%U": "U+FFFFFFFFFFFFFFF9"}),
    (0, {"%d": "0", "%.0d": "", "%4.0d": "    ", "%+.0d": "", "%#x": "0x0", "%#o": "0", "%O": "0o0"}),
    (9749, {"%c": "☕", "%q": "'☕'", "%+q": "'\\u2615'", "%U": "U+2615", "%#U": "U+2615 '☕'"}),
    (0x110000, {"%c": "\ufffd", "%q": "'\ufffd'", "%U": "U+110000"}),
    (1.5, {"%v": "1.5", "%g": "1.5", "%e": "1.500000e+00", "%E": "1.500000E+00", "%f": "1.500000"}),
    (1.5, {"%F": "1.500000", "%T": "float64"}),
    (1.5, {"%.2f": "1.50", "%8.3f": "   1.500", "%-8.1f|": "1.5     |", "%08.3f": "0001.500", "%+.1f": "+1.5"}),
    (1.5, {"%#.3g": "1.50"}),
    (1.5, {"%x": "0x1.8p+00", "%X": "0X1.8P+00", "%.2x": "0x1.80p+00", "%.0x": "0x1p+01"}),
    (1.5, {"%#x": "0x1.8000p+00", "%b": "6755399441055744p-52"}),
    (1.5, {"%d": "%!d(float64=1.5)", "%6s": "%!s(float64=   1.5)"}),
    (-1234.5, {"%v": "-1234.5", "%.3g": "-1.23e+03", "%.3v": "-1.23e+03", "%.0f": "-1234", "%#.0f": "-1234."}),
    (-1234.5, {"%010.1f": "-0001234.5"}),
    (1e-7, {"%v": "1e-07", "%G": "1E-07", "%f": "0.000000", "%.10f": "0.0000001000", "%e": "1.000000e-07"}),
    (1e21, {"%v": "1e+21", "%.0f": "1000000000000000000000"}),
    (0.0, {"%v": "0", "%x": "0x0p+00", "%b": "0p-1074", "%#v": "0", "%#g": "0.00000", "% .0f": " 0"}),
    (1.97, {"%.1x": "0x1.0p+01"}),
    (float("inf"), {"%v": "+Inf", "%06.1f": "  +Inf", "%+g": "+Inf"}),
    (float("nan"), {"%v": "NaN", "%06.1f": "   NaN"}),
    ("héy", {"%s": "héy", "%v": "héy", "%+v": "héy", "%#v": '"héy"', "%q": '"héy"', "%+q": '"h\\u00e9y"'}),
    ("héy", {"%.2s": "hé", "%.2q": '"hé"'}),
    ("héy", {"%x": "68c3a979", "%X": "68C3A979", "%#x": "0x68c3a979", "%.3x": "68c3a9", "% .3x": "68 c3 a9"}),
    ("héy", {"% #.2X": "0X68 0XC3"}),
    ("héy", {"%5s|": "  héy|", "%-5s|": "héy  |", "%05s": "00héy", "%6q": ' "héy"', "%d": "%!d(string=héy)"}),
    ("héy", {"%5d": "%!d(string=  héy)"}),
    ("", {"%s": "", "%q": '""', "%x": "", "%#x": "", "%3x|": "   |"}),
    ('a"b', {"%q": '"a\\"b"', "%#q": '`a"b`'}),
    ("a`b", {"%#q": '"a`b"'}),
    ("\"\\'\n\t\x01\xad\U000e0001\udcff☕", {"%q": '"\\"\\\\\'\\n\\t\\x01\\u00ad\\U000e0001\\xff☕"'}),
    ("☕\U0001f600", {"%+q": '"\\u2615\\U0001f600"'}),
    (True, {"%t": "true", "%v": "true", "%6t": "  true", "%-6t|": "true  |", "%s": "%!s(bool=true)"}),
    (True, {"%d": "%!d(bool=true)"}),
    (None, {"%v": "<nil>", "%6v|": " <nil>|", "%s": "%!s(<nil>)", "%d": "%!d(<nil>)", "%T": "<nil>"}),
    (None, {"%p": "%!p(<nil>)"}),
]  # fmt: skip


@pytest.mark.parametrize(("value", "form", "text"), [(value, *row) for value, rows in VERBS for row in rows.items()])
def test_verbs(value: Value, form: str, text: str) -> None:
    assert printf(form, value) == text


NESTED = {
    "$args.b": {
        "%v": "[1 <nil> map[k:v]]",
        "%d": "[%!d(float64=1) <nil> map[%!d(string=k):%!d(string=v)]]",
        "%5.1f": "[  1.0 <nil> map[%!f(string=    k):%!f(string=    v)]]",
        "%q": '[%!q(float64=1) <nil> map["k":"v"]]',
        "%#v": '[]interface {}{1, interface {}(nil), map[string]interface {}{"k":"v"}}',
        "%T": "[]interface {}",
    },
    "$p.a.Type": {
        "%s": "[string null]",
        "%d": "[%!d(string=string) %!d(string=null)]",
        "%#v": 'api.PropertyType{"string", "null"}',
        "%w": "%!w(api.PropertyType=[string null])",
        "%T": "api.PropertyType",
    },
    "$p.i.Type": {"%s": "odd", "%q": '"odd"', "%x": "6f6464", "%5v": "  odd"},
    "$p.none.Type": {"%v": "", "%#v": "api.PropertyType(nil)"},
    "$p.none.Required": {"%v": "[]", "%#v": "[]string(nil)", "%T": "[]string"},
    "$p.none.Properties": {
        "%v": "<nil>",
        "%6v|": " <nil>|",
        "%s": "%!s(*api.ToolPropertiesMap=<nil>)",
        "%d": "0",
        "%#v": "(*api.ToolPropertiesMap)(nil)",
        "%T": "*api.ToolPropertiesMap",
    },
    "$image": {
        "%v": "[137 80 78]",
        "%s": "\ufffdPN",
        "%x": "89504e",
        "%q": '"\\x89PN"',
        "%4d": "[ 137   80   78]",
        "%#v": "api.ImageData{0x89, 0x50, 0x4e}",
        "%t": "[%!t(uint8=137) %!t(uint8=80) %!t(uint8=78)]",
    },
    "$m": {
        "%v": "&{user héy  [[137 80 78]] []  }",
        "%+v": "&{Role:user Content:héy Thinking: Images:[[137 80 78]] ToolCalls:[] ToolName: ToolCallID:}",
        "%#v": (
            '&template.templateMessage{Role:"user", Content:"héy", Thinking:"", '
            "Images:[]api.ImageData{api.ImageData{0x89, 0x50, 0x4e}}, "
            'ToolCalls:[]template.templateToolCall(nil), ToolName:"", ToolCallID:""}'
        ),
        "%T": "*template.templateMessage",
    },
    "$c.Function": {
        "%+v": '{Index:0 Name:f Arguments:{"a":"\\u003cx\\u003e","b":[1,null,{"k":"v"}]}}',
        "%T": "template.templateToolCallFunction",
    },
    "$g": {
        "%s": '{"type":"","function":{"name":"g","description":"","parameters":{"type":"","properties":null}}}',
        "%d": "{%!d(string=) <nil> {%!d(string=g) %!d(string=) {%!d(string=) <nil> <nil> [] map[]}}}",
        "%T": "template.templateTool",
    },
    ".Messages": {"%T": "[]*template.templateMessage"},
    ".": {"%T": "map[string]interface {}"},
}  # fmt: skip


@pytest.mark.parametrize(
    ("value", "form", "text"), [(value, *row) for value, rows in NESTED.items() for row in rows.items()]
)
def test_verbs_go_into_lists_maps_and_structs(value: str, form: str, text: str) -> None:
    assert rendered(f'{{{{ printf "{form}" {value} }}}}') == text


def test_pointers_inside_others_are_addresses() -> None:
    text = rendered('{{ printf "%v %#v" .Messages (slice .Messages 1) }}')
    assert text.count("0x") == 5
    assert text.count("(*template.templateMessage)(0x") == 2


FORMS: list[tuple[tuple[str, *tuple[Value, ...]], str]] = [
    # Arguments too few, too many, and of a verb that is none.
    (("%d %d", 1), "1 %!d(MISSING)"),
    (("%d", 1, "a", None), "1%!(EXTRA string=a, <nil>)"),
    (("none", 1), "none%!(EXTRA int=1)"),
    (("%",), "%!(NOVERB)"),
    (("%-5", 1), "%!(NOVERB)%!(EXTRA int=1)"),
    (("%5%|%%",), "%|%"),
    (("%z %! %é %w", 1, 2, 3, "a"), "%!z(int=1) %!!(int=2) %!é(int=3) %!w(string=a)"),
    # Which argument.
    (("%[2]d %[1]d", 1, 2), "2 1"),
    (("%[2]d %d", 1, 2), "2 %!d(MISSING)"),
    (("%[1]d %[1]x %[1]T", 42), "42 2a int"),
    (("%[5]d %[0]d %[x]d", 1), "%!d(BADINDEX) %!d(BADINDEX) %!d(BADINDEX)"),
    (("%[1].2d %[1]5d", 1), "%!d(BADINDEX) %!d(BADINDEX)"),
    (("%[]d", 1), "%!d(BADINDEX)"),
    (("%[]",), "%!](BADINDEX)"),
    (("%[1", 1), "%!(NOVERB)"),
    # Width and precision as arguments.
    (("%*d|%-*d|%*d|", 5, 42, 5, 42, -4, 7), "   42|42   |7   |"),
    (("%.*f %.*d", 2, 3.14159, -2, 5), "3.14 %!(BADPREC)5"),
    (("%[3]*.[2]*[1]f", 2.5, 2, 6), "  2.50"),
    (("%*d %*d", "a", 1, 2000000, 1), "%!(BADWIDTH)1 %!(BADWIDTH)1"),
    # A number beyond a million is none, and hides what follows.
    (("%99999999d", 1), "%!(NOVERB)%!(EXTRA int=1)"),
    (("%.99999999d", 1), "%!(NOVERB)%!(EXTRA int=1)"),
    # Bytes become characters.
    (("%s%s", "\udcc3", "\udca9"), "é"),
]


@pytest.mark.parametrize(("asked", "text"), FORMS)
def test_forms(asked: tuple[str, *tuple[Value, ...]], text: str) -> None:
    assert printf(*asked) == text


TOO_MUCH: list[tuple[str, list[Value]]] = [
    ("%1000000d" * 50, [1] * 50),
    ("%.1000000f" * 50, [1.0] * 50),
    ("%1000000[1]d" * 50, [1]),
    ("%1000000d", [[1.0] * 50]),
    ("%.0s", [["x"] * 2_000_000]),
    ("%[1]v" * 50, [[[]] * 200_000]),
]


@pytest.mark.parametrize(("form", "items"), TOO_MUCH)
def test_error_for_what_comes_to_too_much(form: str, items: list[Value]) -> None:
    with pytest.raises(TemplateError, match="more than"):
        printf(form, *items)


PIECES = st.sampled_from([*"%%%%%[]*.-+# 0123456789vdsqxXtTUcboOeEfFgGwpz!é", "[1]", "[2]", "*", "1000000"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@pytest.mark.soak
@CHECKED
@given(st.lists(PIECES, max_size=12).map("".join), st.lists(VALUES, max_size=4))
def test_whatever_the_format_there_is_a_text_or_too_much_of_it(form: str, items: list[Value]) -> None:
    with contextlib.suppress(TemplateError):
        assert isinstance(printf(form, *items), str)
