"""JSON byte for byte as Go writes it. The expectations are written out, not computed."""

from __future__ import annotations

import pytest
from corral.store import gojson

TEXTS = {
    "": '""',
    "plain": '"plain"',
    "<|im_end|>": '"\\u003c|im_end|\\u003e"',
    "a & b": '"a \\u0026 b"',
    "\u2028\u2029": '"\\u2028\\u2029"',
    '"\\/': '"\\"\\\\/"',
    "\n\r\t\b\f": '"\\n\\r\\t\\b\\f"',
    "\0\x01\x1f": '"\\u0000\\u0001\\u001f"',
    "\x7f\x80é€😀": '"\x7f\x80é€😀"',
    "\ufffd": '"\ufffd"',
    "'": '"\'"',
}

NUMBERS: dict[float, str] = {
    -1: "-1",
    1.0: "1",
    0.6: "0.6",
    0.1: "0.1",
    1e-6: "0.000001",
    1e-7: "1e-7",
    -2.5e-10: "-2.5e-10",
    1.5e-100: "1.5e-100",
    1e20: "100000000000000000000",
    1e21: "1e+21",
    1.25e100: "1.25e+100",
    1048576.0: "1048576",
    123456789.5: "123456789.5",
    2**53: "9007199254740992",
    2**53 + 1: "9007199254740992",
    2**63 - 1: "9223372036854776000",
    5e-324: "5e-324",
    1.7976931348623157e308: "1.7976931348623157e+308",
}


@pytest.mark.parametrize("text", TEXTS)
def test_texts(text: str) -> None:
    assert gojson.encode(text) == (TEXTS[text] + "\n").encode()


@pytest.mark.parametrize(("value", "written"), NUMBERS.items())
def test_numbers(value: float, written: str) -> None:
    assert gojson.number(value) == written


def test_negative_zero_is_not_zero() -> None:
    assert (gojson.number(0.0), gojson.number(-0.0)) == ("0", "-0")


def test_what_has_no_utf8_becomes_the_escaped_replacement_character() -> None:
    assert gojson.encode("a\ud800b\udfff") == b'"a\\ufffdb\\ufffd"\n'


def test_structure_is_compact_and_ends_with_a_newline() -> None:
    value: gojson.Json = {"b": [1, "x", None, True, False, {}], "a": {"d": [], "c": 0.5}}
    assert gojson.encode(value) == b'{"b":[1,"x",null,true,false,{}],"a":{"d":[],"c":0.5}}\n'
    assert gojson.encode(value, sort_keys=True) == b'{"a":{"c":0.5,"d":[]},"b":[1,"x",null,true,false,{}]}\n'


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), 10**400])
def test_error_for_numbers_without_a_json_form(value: float) -> None:
    with pytest.raises(ValueError, match="has no JSON form"):
        gojson.encode(value)
