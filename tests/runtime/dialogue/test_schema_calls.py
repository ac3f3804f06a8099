"""Grammars around grammars: thoughts before an answer, and the calls of tools."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from corral.runtime.dialogue.schema import after_thinking, call_grammar, json_grammar, schema_grammar
from corral.runtime.engine.llama.vocabulary import LlamaVocabulary

from tests.runtime.dialogue.schema_matcher import Matcher

CITY = {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}, "required": ["city"]}
TOOLS: list[dict[str, Any]] = [
    {"type": "function", "function": {"name": "get_weather", "description": "?", "parameters": CITY}},
    {"type": "function", "function": {"name": "get_time", "parameters": {"type": "object", "properties": {}}}},
    {"name": 'näh"er', "parameters": None},
]


@pytest.fixture(scope="module")
def matcher(smollm2: Path) -> Matcher:
    return Matcher(LlamaVocabulary.load(str(smollm2)))


@pytest.mark.parametrize("closing", ["</think>", "[/THINK]", "aabaaa", "é]é", "<|end|>\n"])
@pytest.mark.parametrize("is_inside", [True, False])
def test_thoughts_end_with_the_first_closing_tag(matcher: Matcher, closing: str, *, is_inside: bool) -> None:
    grammar = after_thinking(schema_grammar({"enum": [1, 22]}), "<think>", closing, is_inside=is_inside)
    opening = "" if is_inside else "<think>"
    parts = "", closing[:-1] + "-", closing[:2] + "-", closing[0] * 2 + "-", 'a "{}" \n\x01é'
    thoughts = [opening + part + closing for part in parts]
    for thought in thoughts:
        assert matcher.fits(grammar, thought + "22")
        assert matcher.fits(grammar, thought + "\n\n 1")
        assert not matcher.fits(grammar, thought)
        assert not matcher.fits(grammar, thought + "3")
        assert not matcher.fits(grammar, thought + "\n" * 50 + "1")
        assert not matcher.fits(grammar, thought + closing + "1")
        assert matcher.fits(grammar, "\n\n" + thought + "1")
    assert matcher.fits(grammar, "1") is not is_inside
    assert not matcher.fits(grammar, opening + "1")


def test_thoughts_come_before_any_grammar(matcher: Matcher) -> None:
    grammars = [
        json_grammar(),
        schema_grammar({"type": "string", "pattern": "^<th"}),
        call_grammar(TOOLS),
    ]
    chance = random.Random(4)
    for grammar in grammars:
        thinking = after_thinking(grammar, "<think>", "</think>", is_inside=False)
        for _ in range(5):
            answer = matcher.walk(grammar, chance.choice)
            assert answer is not None
            assert matcher.fits(thinking, answer)
            assert matcher.fits(thinking, f"<think>so {answer}</think>\n{answer}")


def called(arguments: str, name: str) -> str:
    return f'{{"name": {json.dumps(name, ensure_ascii=False)}, "arguments": {arguments}}}'


def test_a_call_is_one_of_a_tool_with_its_own_arguments(matcher: Matcher) -> None:
    grammar = call_grammar(TOOLS)
    for call in (
        called('{"city": "Rome"}', "get_weather"),
        called('{"city": "Rome", "days": 3}', "get_weather"),
        called("{}", "get_time"),
        called("{}", 'näh"er'),
    ):
        assert matcher.fits(grammar, call)
    for call in (
        called("{}", "get_weather"),
        called('{"city": "Rome"}', "get_time"),
        called("{}", "get_"),
        called("null", "get_time"),
    ):
        assert not matcher.fits(grammar, call)


def test_a_call_may_be_of_one_tool_only(matcher: Matcher) -> None:
    grammar = call_grammar(TOOLS, name="get_time")
    assert matcher.fits(grammar, called("{}", "get_time"))
    assert not matcher.fits(grammar, called('{"city": "Rome"}', "get_weather"))


def test_each_tool_refers_to_its_own_definitions(matcher: Matcher) -> None:
    def tool(name: str, kind: str) -> dict[str, Any]:
        parameters = {"$defs": {"a": {"type": kind}}, "properties": {"a": {"$ref": "#/$defs/a"}}, "required": ["a"]}
        return {"name": name, "parameters": parameters}

    grammar = call_grammar([tool("one", "null"), tool("two", "boolean")])
    assert matcher.fits(grammar, called('{"a": null}', "one"))
    assert matcher.fits(grammar, called('{"a": true}', "two"))
    assert not matcher.fits(grammar, called('{"a": true}', "one"))


def test_arguments_are_an_object_whatever_the_schema_says(matcher: Matcher) -> None:
    grammar = call_grammar([{"name": "a", "parameters": {"anyOf": [{"type": "string"}, {"required": ["x"]}]}}])
    assert matcher.fits(grammar, called('{"x": 1}', "a"))
    assert not matcher.fits(grammar, called('"x"', "a"))
