"""Calls: the name and the arguments that a model's words stand for."""

from __future__ import annotations

from typing import Any

import pytest
from corral.runtime.dialogue.scanner import MAX_DEPTH, NotACallError
from corral.runtime.dialogue.toolcalls import Offer, read_json, read_object, written_call

from tests.runtime.dialogue.segments import TOOLS

OFFER = Offer(TOOLS)


def schema(parameter: Any) -> Offer:
    return Offer([{"function": {"name": "f", "parameters": {"properties": {"p": parameter}}}}])


@pytest.mark.parametrize(
    ("parameter", "text", "value"),
    [
        (None, "1", "1"),
        ({}, "true", "true"),
        ("odd", "1", "1"),
        ({"type": "string"}, "1", "1"),
        ({"type": "string"}, '"a"', '"a"'),
        ({"type": "integer"}, " 12\n", 12),
        ({"type": "integer"}, "1.0", 1.0),
        ({"type": "integer"}, "1.5", "1.5"),
        ({"type": "integer"}, "true", "true"),
        ({"type": "number"}, "-1.5e3", -1500.0),
        ({"type": "number"}, "1", 1),
        ({"type": "number"}, "NaN", "NaN"),
        ({"type": "number"}, "1e999", "1e999"),
        ({"type": "boolean"}, "True", True),
        ({"type": "boolean"}, "FALSE", False),
        ({"type": "boolean"}, "yes", "yes"),
        ({"type": "array"}, '["a", 1]', ["a", 1]),
        ({"type": "array"}, "['a']", "['a']"),
        ({"type": "object"}, '{"a": {}}', {"a": {}}),
        ({"type": "object"}, "[]", "[]"),
        ({"type": "null"}, "null", None),
        ({"type": ["integer", "null"]}, "null", None),
        ({"type": ["string", "null"]}, "null", None),
        ({"type": ["string", "integer"]}, "5", 5),
        ({"type": ["string", "integer"]}, "5a", "5a"),
        ({"anyOf": [{"type": "integer"}, {"type": "boolean"}]}, "true", True),
        ({"oneOf": [{"anyOf": [{"type": "array"}]}]}, "[1]", [1]),
        ({"enum": [1, 2]}, "2", 2),
        ({"enum": ["1", "2"]}, "2", "2"),
        ({"type": [1, None]}, "2", "2"),
        ({"type": "array"}, "[" * 100 + "]" * 100, "[" * 100 + "]" * 100),
        ({"type": "array"}, "[" * 100_000, "[" * 100_000),
    ],
)
def test_a_value_without_quotes_is_what_its_schema_says(parameter: Any, text: str, value: Any) -> None:
    read = schema(parameter).value("f", "p", text)
    assert read == value
    assert type(read) is type(value)
    assert OFFER.value("absent", "p", text) == text


def test_choices_within_choices_are_looked_at_only_so_deep() -> None:
    parameter: dict[str, Any] = {"type": "integer"}
    for _ in range(5000):
        parameter = {"anyOf": [parameter]}
    assert schema(parameter).value("f", "p", "1") == "1"


@pytest.mark.parametrize(
    "tools",
    [
        [],
        [{}],
        [{"function": None}],
        [{"function": {"name": 1}}],
        [{"function": {"name": ""}}],
    ],
)
def test_tools_without_a_name_are_not_offered(tools: list[dict[str, Any]]) -> None:
    assert not Offer(tools)


def test_tools_may_be_odd() -> None:
    assert "f" in Offer([{"name": "f", "parameters": [1]}])
    assert "f" in Offer([{"function": {"name": "f", "parameters": {"properties": 1}}}])


def test_of_two_names_in_a_text_the_longer_one_counts() -> None:
    offer = Offer([{"name": "get"}, {"name": "get_weather"}, {"name": "weather"}])
    assert offer.named_in("I get_weather now") == "get_weather"
    assert offer.named_in("I get it") == "get"
    assert offer.named_in("no") == ""


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("18446744073709551615", 18446744073709551615),
        ("18446744073709551616", 18446744073709551616.0),
        ("-9223372036854775809", -9223372036854775809.0),
        ("1" * 300, float("1" * 300)),
        (r'"\ud83c\udf0d"', "🌍"),
        (r'["\ud83c", {"\udf0d": 1}]', ["\ufffd", {"\ufffd": 1}]),
        ('"a\nb"', "a\nb"),
        ('{"a": 1, "b": 2, "a": 3}', {"a": 3, "b": 2}),
        ("[" * MAX_DEPTH + "]" * MAX_DEPTH, None),
    ],
)
def test_json_is_read(text: str, value: Any) -> None:
    read = read_json(text)
    assert value is None or (read == value and type(read) is type(value))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "NaN",
        "-Infinity",
        "1e999",
        "1" * 400,
        "1" * 5000,
        "{'a': 1}",
        "[1,]",
        "True",
        "[" * 66 + "]" * 66,
        "[" * 10**6,
    ],
)
def test_error_what_is_no_json(text: str) -> None:
    with pytest.raises(NotACallError):
        read_json(text)


@pytest.mark.parametrize("text", ["[]", '"a"', "null", "1"])
def test_error_what_is_no_object(text: str) -> None:
    with pytest.raises(NotACallError):
        read_object(text)


@pytest.mark.parametrize(
    ("text", "name", "arguments"),
    [
        ('{"name": "weather", "arguments": {"city": "x"}}', "weather", {"city": "x"}),
        ('{"parameters": {"city": "x"}, "name": "weather"}', "weather", {"city": "x"}),
        ('{"tool_call_id": "0", "tool_name": "weather", "parameters": {}}', "weather", {}),
        ('{"type": "function", "function": {"name": "weather", "arguments": {}}}', "weather", {}),
        ('{"function": "weather", "parameters": {}}', "weather", {}),
        (r'{"name": "weather", "arguments": "{\"city\": \"x\"}"}', "weather", {"city": "x"}),
        ('{"name": "weather", "arguments": null, "parameters": {"days": 1}}', "weather", {"days": 1}),
    ],
)
def test_an_object_describes_a_call(text: str, name: str, arguments: dict[str, Any]) -> None:
    assert written_call(text, OFFER, is_bare=False) == (name, arguments)
    assert written_call(text, OFFER, is_bare=True) == (name, arguments)
    renamed = text.replace("weather", "stroll")
    assert written_call(renamed, OFFER, is_bare=False) == ("stroll", arguments)
    with pytest.raises(NotACallError):
        written_call(renamed, OFFER, is_bare=True)


def test_a_call_may_have_no_arguments_where_it_is_marked_as_one() -> None:
    assert written_call('{"id": "1", "name": "clock", "arguments": null}', OFFER, is_bare=False) == ("clock", {})
    with pytest.raises(NotACallError):
        written_call('{"name": "clock"}', OFFER, is_bare=True)
