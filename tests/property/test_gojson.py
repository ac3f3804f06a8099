"""Go's JSON against the standard library's: the same values, and Go's own spelling of them."""

from __future__ import annotations

import json
import math
import re
import struct

import pytest
from corral.modelfile.parameters import read_parameter
from corral.store import gojson
from hypothesis import given
from hypothesis import strategies as st

from tests.property.conftest import CHECKED

EXACT = 2**53
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
VALUES: st.SearchStrategy[gojson.Json] = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-EXACT, EXACT), FLOATS, st.text()),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(), inner, max_size=4)),
    max_leaves=10,
)


def reference(text: str) -> str:
    """encoding/json's string form, character by character."""
    written = '"'
    for character in text:
        code = ord(character)
        if character in '"\\':
            written += "\\" + character
        elif character in "\b\f\n\r\t":
            written += "\\" + "bfnrt"["\b\f\n\r\t".index(character)]
        elif code < 0x20 or character in "<>&" or code in (0x2028, 0x2029):
            written += f"\\u{code:04x}"
        elif 0xD800 <= code <= 0xDFFF:
            written += "\\ufffd"
        else:
            written += character
    return written + '"'


@pytest.mark.soak
@CHECKED
@given(st.text(st.one_of(st.characters(), st.sampled_from(list('<>&"\\\x00\x1f\x7f\u2028\u2029\ud800\udfff')))))
def test_texts_are_as_the_reference_writes_them(text: str) -> None:
    assert gojson.quote(text) == reference(text)


@pytest.mark.soak
@CHECKED
@given(VALUES)
def test_every_value_comes_back_compact_and_escaped(value: gojson.Json) -> None:
    data = gojson.encode(value)
    assert json.loads(data, parse_int=float) == value
    assert data.endswith(b"\n")
    assert not re.search("[<>&\u2028\u2029\x00-\x09\x0b-\x1f]", data.decode())
    keys_sorted = gojson.encode(value, sort_keys=True)
    assert keys_sorted == gojson.encode(json.loads(keys_sorted, parse_int=float))


@pytest.mark.soak
@CHECKED
@given(FLOATS)
def test_numbers_come_back_in_gos_form(number: float) -> None:
    """Plain digits from 1e-6 to 1e21, an exponent with a sign and no padding beyond, the shortest digits always."""
    written = gojson.number(number)
    assert float(written) == number
    assert math.copysign(1, float(written)) == math.copysign(1, number)
    assert re.fullmatch(r"-?(0|[1-9]\d*)(\.\d*[1-9])?(e-[1-9]\d*|e\+[1-9]\d+)?", written)
    assert ("e" in written) == (number != 0 and not 1e-6 <= abs(number) < 1e21)
    digits = written.lstrip("-").partition("e")[0].replace(".", "").strip("0")
    shortest = repr(abs(number)).partition("e")[0].replace(".", "").strip("0")
    assert digits == shortest


@pytest.mark.soak
@CHECKED
@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_a_float_parameter_is_the_shortest_that_gives_the_same_32_bits(number: float) -> None:
    value = read_parameter("temperature", repr(number))
    assert isinstance(value, float)
    assert struct.pack("f", value) == struct.pack("f", number)
    again = read_parameter("temperature", gojson.number(value))
    assert gojson.encode(again) == gojson.encode(value)
    assert len(f"{value:.17e}".partition("e")[0].rstrip("0")) >= 1
    assert len(gojson.number(value).partition("e")[0].strip("-0.").replace(".", "").strip("0")) <= 9


@pytest.mark.soak
@CHECKED
@given(st.integers(-(2**63), 2**63 - 1))
def test_an_integer_parameter_is_the_number_that_ollama_would_read_back(number: int) -> None:
    value = read_parameter("seed", str(number))
    assert value == number
    assert float(gojson.number(number)) == float(number)
