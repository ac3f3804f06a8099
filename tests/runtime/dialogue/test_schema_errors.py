"""What of schemas cannot be enforced: the keyword, its place and the cure."""

from __future__ import annotations

import os
from typing import Any

import pytest
from corral.runtime.dialogue.schema import SchemaError, call_grammar, schema_grammar
from corral.store.errors import InputError
from hypothesis import given, settings
from hypothesis import strategies as st

SOAK = "CORRAL_SOAK" in os.environ
ROUNDS = settings(derandomize=not SOAK, deadline=None, max_examples=20_000 if SOAK else 400)
NESTED = "#/properties/a~1b/items"
STRING = {"type": "string"}
UNENFORCEABLE: dict[str, tuple[Any, str | None, str]] = {
    "not": ({"type": "integer", "not": {"const": 5}}, "/not", '"not" cannot be enforced'),
    "oneOf": ({"oneOf": [{"type": "integer"}, {"type": "number"}]}, "/oneOf", '"oneOf" cannot be enforced'),
    "oneOf of objects": (
        {"oneOf": [{"properties": {"a": STRING}}, {"properties": {"a": STRING, "b": STRING}}]},
        "/oneOf",
        '"oneOf" cannot be enforced',
    ),
    "if": ({"type": "string", "if": {"minLength": 3}, "then": {"pattern": "a"}}, "/if", '"if" cannot be enforced'),
    "dependentSchemas": (
        {"dependentSchemas": {"a": {"required": ["b"]}}},
        "/dependentSchemas",
        '"dependentSchemas" cannot',
    ),
    "dependencies": ({"dependencies": {"a": {"required": ["b"]}}}, "/dependencies", '"dependencies" cannot'),
    "dependentRequired": (
        {
            "properties": dict.fromkeys("abcdefgh", True),
            "dependentRequired": {name: ["z"] for name in "abcdefg"} | {"h": ["a"]},
        },
        "",
        '"dependentRequired" cannot be enforced',
    ),
    "uniqueItems": (
        {"type": "array", "items": STRING, "uniqueItems": True},
        "/uniqueItems",
        '"uniqueItems" cannot be enforced',
    ),
    "maxContains": ({"contains": STRING, "maxContains": 2}, "/maxContains", '"maxContains" cannot be enforced'),
    "two contains": (
        {"allOf": [{"contains": STRING}], "contains": {"const": 1}},
        "/allOf/0/contains",
        '"contains" cannot',
    ),
    "minItems": ({"type": "array", "minItems": 5000}, "/minItems", '"minItems" cannot be enforced'),
    "minLength": ({"minLength": 10_000_000}, "/minLength", '"minLength" cannot be enforced'),
    "minProperties": ({"type": "object", "minProperties": 3}, "/minProperties", '"minProperties" cannot be enforced'),
    "multipleOf": ({"multipleOf": 0.0123}, "/multipleOf", '"multipleOf" cannot be enforced'),
    "minimum": ({"minimum": 1e200}, "/minimum", '"minimum" cannot be enforced'),
    "unevaluatedProperties": (
        {"enum": [{"a": 1}], "unevaluatedProperties": False},
        "/unevaluatedProperties",
        '"unevaluatedProperties" cannot be enforced',
    ),
    "unevaluatedProperties beside others": (
        {"allOf": [{"properties": {"a": STRING}}, {"properties": {"b": STRING}, "unevaluatedProperties": False}]},
        "/allOf/1/unevaluatedProperties",
        '"unevaluatedProperties" cannot be enforced: another schema is about the same value',
    ),
    "unevaluatedProperties below a condition": (
        {"if": {"properties": {"a": STRING}}, "then": {"unevaluatedProperties": STRING}},
        "/then/unevaluatedProperties",
        '"unevaluatedProperties" cannot be enforced: another schema is about the same value',
    ),
    "unevaluatedItems beside others": (
        {"prefixItems": [STRING], "anyOf": [{"unevaluatedItems": False}]},
        "/anyOf/0/unevaluatedItems",
        '"unevaluatedItems" cannot be enforced: another schema is about the same value',
    ),
    "a dynamic reference": ({"$dynamicRef": "#a"}, "/$dynamicRef", '"$dynamicRef" cannot be enforced'),
    "another document": (
        {"$ref": "https://a.example/b.json"},
        "/$ref",
        "it refers to another document or to an anchor",
    ),
    "an anchor": ({"$ref": "#anchor"}, "/$ref", "it refers to another document or to an anchor"),
    "a document within": (
        {"allOf": [{"$id": "https://a.example/b.json", "items": {"$ref": "#/$defs/a"}}], "$defs": {"a": STRING}},
        "/allOf/0/items/$ref",
        'it goes out from an "$id" within the schema',
    ),
    "nothing there": ({"$ref": "#/$defs/none"}, "/$ref", "there is nothing where it refers to"),
    "no schema there": ({"$ref": "#/type"}, None, "a schema must be an object or a boolean"),
    "itself": ({"anyOf": [{"$ref": f"{NESTED}"}, STRING]}, "", "it refers to itself without end"),
}
PATTERNS = {
    "(?=a)": "it looks ahead or behind",
    "(?<!a)b": "it looks ahead or behind",
    "a\\b": '"\\b" looks ahead and behind',
    "(a)\\1": "it refers back to a group",
    "(?<n>a)\\k<n>": "it refers back to a group",
    "\\p{L}": '"\\p" is not known',
    "(a": 'a ")" is missing',
    "a)": 'there is a ")" too many',
    "[a": 'a "]" is missing',
    "[b-a]": "a range is the wrong way round",
    "*a": 'there is nothing for "*" to repeat',
    "a{3,2}": "a repetition's bounds are the wrong way round",
    "^*a": "an anchor is repeated",
    "a\\": 'it ends with "\\"',
    "a^b": "nothing matches it",
    "(" * 50 + ")" * 50: "it has more than 40 groups in each other",
    "a" * 5000: "it is longer than 4096 characters",
}
TOO_MUCH: dict[str, tuple[Any, str]] = {
    "an ambiguous pattern": ({"pattern": "(a|b)*a(a|b){20}"}, "too ambiguous"),
    "repetitions in each other": ({"pattern": "((a{90}){90}){90}"}, "too large"),
    "many values": ({"enum": [f"{number * 7919} and more" for number in range(20_000)]}, "too large"),
    "a long grammar": (
        {"properties": {f"p{size}": {"pattern": f"^.{{{size},400}}$"} for size in range(5)}},
        "of at most 59392",
    ),
    "a deep schema": ({"items": {}}, "more than 100 levels"),
    "a long number": ({"const": 10**5000}, "a number has too many digits"),
    "a wide schema": ({"enum": [0] * 60_000}, "more than 50000 values"),
    "many combinations": (
        {"allOf": [{"anyOf": [{"minLength": size} for size in range(9)]}] * 9},
        "more than 256 combinations",
    ),
    "many that begin alike": (
        {"anyOf": [{"properties": {"a": STRING | {"maxLength": size}}, "required": ["a"]} for size in range(1, 60)]},
        "too many alternatives begin alike",
    ),
    "a long way of references": (
        {
            "$ref": "#/$defs/0",
            "$defs": {str(n): {"allOf": [{"$ref": f"#/$defs/{n + 1}"}], "minLength": n} for n in range(200)},
        },
        "more than 64 schemas refer to each other",
    ),
}
WRONG: dict[str, tuple[Any, str]] = {
    "type": ({"type": "text"}, "#/type"),
    "a schema": ({"items": 3}, "#/items"),
    "items": ({"properties": {"a": []}}, "#/properties/a"),
    "anyOf": ({"anyOf": []}, "#/anyOf"),
    "properties": ({"properties": []}, "#/properties"),
    "required": ({"required": "a"}, "#/required"),
    "enum": ({"enum": 1}, "#/enum"),
    "minLength": ({"minLength": -1}, "#/minLength"),
    "maximum": ({"maximum": "1"}, "#/maximum"),
    "multipleOf": ({"multipleOf": 0}, "#/multipleOf"),
    "pattern": ({"pattern": 1}, "#/pattern"),
    "$ref": ({"$ref": 1}, "#/$ref"),
}
NEVER: dict[str, tuple[Any, str]] = {
    "false": (False, "nothing satisfies #"),
    "a required property": ({"properties": {"a": False}, "required": ["a"]}, "nothing satisfies #/properties/a"),
    "types": ({"allOf": [{"type": "string"}, {"type": "integer"}]}, "nothing satisfies #"),
    "bounds": ({"type": "integer", "minimum": 5, "maximum": 4}, "nothing satisfies #"),
    "lengths": ({"minLength": 5, "maxLength": 4}, "nothing satisfies #"),
    "an enum": ({"enum": [1, 2], "type": "string"}, "nothing satisfies #"),
    "items": ({"items": False, "minItems": 1}, "nothing satisfies #"),
    "half a character": ({"const": "\ud800"}, "nothing satisfies #"),
    "no number": ({"const": float("nan")}, "nothing satisfies #"),
    "endless": ({"properties": {"a": {"$ref": "#"}}, "required": ["a"]}, "no JSON that comes to an end"),
}


def refusal(schema: Any) -> SchemaError:
    with pytest.raises(SchemaError) as raised:
        schema_grammar(schema)
    assert isinstance(raised.value, InputError)
    assert raised.value.hint
    assert "\n" not in str(raised.value)
    return raised.value


@pytest.mark.parametrize(("schema", "where", "why"), UNENFORCEABLE.values(), ids=UNENFORCEABLE)
def test_error_a_keyword_that_cannot_be_enforced_names_itself_and_its_place(
    schema: Any, where: str | None, why: str
) -> None:
    nested = {"type": "object", "properties": {"a/b": {"type": "array", "items": schema}}}
    if where is None or "refers to itself" in why:
        error = refusal(nested)
    else:
        error = refusal({"x": 1, **schema})
        assert str(error).startswith(f"schema #{where}: ")
        if "$ref" not in schema:
            error = refusal(nested)
            assert error.pointer == f"{NESTED}{where}"
    assert why in str(error)


@pytest.mark.parametrize("pattern", PATTERNS, ids=lambda pattern: pattern[:20])
def test_error_a_pattern_that_cannot_be_enforced_says_why(pattern: str) -> None:
    error = refusal({"properties": {"p": {"pattern": pattern}}})
    assert str(error) == f'schema #/properties/p/pattern: "pattern" cannot be enforced: {error.why.split(": ", 1)[1]}'
    assert PATTERNS[pattern] in str(error)


@pytest.mark.parametrize(("schema", "why"), TOO_MUCH.values(), ids=TOO_MUCH)
def test_error_what_is_too_much_is_refused(schema: Any, why: str) -> None:
    if "levels" in why:
        for _ in range(3000):
            schema = {"items": schema}
    assert why in str(refusal(schema))


@pytest.mark.parametrize(("schema", "where"), WRONG.values(), ids=WRONG)
def test_error_what_is_no_schema_is_refused(schema: Any, where: str) -> None:
    assert refusal(schema).pointer == where


@pytest.mark.parametrize(("schema", "why"), NEVER.values(), ids=NEVER)
def test_error_what_nothing_satisfies_is_refused(schema: Any, why: str) -> None:
    assert why in str(refusal(schema))


def test_error_a_tool_that_is_not_offered_is_refused() -> None:
    with pytest.raises(InputError, match='tool "b": it is not among the tools'):
        call_grammar([{"name": "a"}], name="b")
    with pytest.raises(InputError, match="tools: there are none"):
        call_grammar([])
    with pytest.raises(InputError, match="tools: one has no name"):
        call_grammar([{"function": {"description": "?"}}])


def test_error_a_tools_parameters_are_named() -> None:
    tool = {"type": "function", "function": {"name": "look", "parameters": {"properties": {"a": {"pattern": "(?=a)"}}}}}
    with pytest.raises(SchemaError, match="schema look/parameters#/properties/a/pattern: "):
        call_grammar([tool])


KEYWORDS = (
    *("type", "enum", "const", "properties", "required", "additionalProperties", "patternProperties", "propertyNames"),
    *(
        "minProperties",
        "maxProperties",
        "dependentRequired",
        "dependentSchemas",
        "dependencies",
        "unevaluatedProperties",
    ),
    *("items", "prefixItems", "additionalItems", "minItems", "maxItems", "uniqueItems", "contains", "minContains"),
    *(
        "maxContains",
        "unevaluatedItems",
        "minLength",
        "maxLength",
        "pattern",
        "format",
        "minimum",
        "maximum",
        "multipleOf",
    ),
    *(
        "exclusiveMinimum",
        "exclusiveMaximum",
        "anyOf",
        "oneOf",
        "allOf",
        "not",
        "if",
        "then",
        "else",
        "$ref",
        "$defs",
        "$id",
    ),
    *("nullable", "a", "b"),
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 5),
    st.sampled_from([0.5, -1e300, float("inf"), float("nan"), 10**400]),
    st.sampled_from(
        ["string", "object", "integer", "number", "array", "null", "date", "a", "^a|b$", "(", "[^a]{2}", "\ud800"]
    ),
    st.sampled_from(["#", "#/", "#/a", "#/$defs/a", "#/properties/a", "#/anyOf/0", "#/items", "http://x#", "a\n"]),
)
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.sampled_from(KEYWORDS), inner, max_size=5)),
    max_leaves=20,
)


@ROUNDS
@given(schema=st.dictionaries(st.sampled_from(KEYWORDS), ANYTHING, min_size=1, max_size=8))
def test_whatever_is_sent_is_a_grammar_or_an_error_that_says_where(schema: Any) -> None:
    try:
        found = schema_grammar(schema)
    except SchemaError as error:
        found = error.pointer if error.hint else ""
    assert found.startswith(("root ::= ", "#"))
