"""JSON Schemas for tests, with texts that fit and texts that do not."""

from __future__ import annotations

import json
from typing import Any, NamedTuple, cast

import jsonschema

Schema = dict[str, Any]


class Case(NamedTuple):
    """A schema, texts that its grammar generates, and texts that it does not."""

    schema: Schema | bool
    fits: list[str]
    others: list[str]


TREE = {
    "$defs": {
        "tree": {
            "properties": {"v": {"type": "integer"}, "kids": {"items": {"$ref": "#/$defs/tree"}}},
            "required": ["v"],
        }
    },
    "$ref": "#/$defs/tree",
}
CAT_OR_COW = [
    {"properties": {"kind": {"const": "cat"}, "lives": {"type": "integer"}}, "required": ["kind"]},
    {"properties": {"kind": {"const": "cow"}, "milk": {"type": "number"}}, "required": ["kind", "milk"]},
]
TABLE = {
    "anything": Case(
        {}, ["1", '"a"', "[]", '{"a": [null, {"b": true}]}', "-0.5e3"], ["", "01", "[1,]", "{", "nul", "'a'"]
    ),
    "true": Case(schema=True, fits=["null"], others=[""]),
    "annotations": Case(
        {
            "title": "a",
            "description": "b",
            "$comment": "c",
            "examples": [1],
            "x-mine": 1,
            "strict": True,
            "$schema": "s",
            "deprecated": True,
            "default": None,
            "readOnly": True,
            "made-up": {"not": {}},
            "type": "null",
        },
        ["null"],
        ["1"],
    ),
    "blanks": Case(
        {"type": "object", "properties": {"a": {"type": "array", "items": {"type": "null"}}}},
        ['{"a":[null,null]}', '{ "a": [ null, null ] }', '{\n  "a": [\n    null\n  ]\n}', "{}", '{\n\t"a":\n\t[]\n}'],
        [
            '{"a" :[]}',
            '{  "a":[]}',
            ' {"a":[]}',
            '{"a":[]} ',
            '{"a":[null ,null]}',
            "{" + "\n" + " " * 21 + "}",
            "{\n\n}",
        ],
    ),
    "types": Case({"type": ["string", "null"]}, ['"x"', "null"], ["1", "true", "[]"]),
    "nullable": Case({"type": "boolean", "nullable": True}, ["true", "false", "null"], ["0"]),
    "strings": Case(
        {"type": "string"},
        ['""', '"ä€😀"', r'"\"\\\/\b\f\n\r\t"', r'"\u0041\uD7ff\ue000"', r'"\ud83d\uDE00"'],
        ['"', '"a\n"', '"\t"', r'"\ud83d"', r'"\ude00\ud83d"', r'"\x41"', '"\\"', '"\x01"'],
    ),
    "string lengths": Case(
        {"type": "string", "minLength": 2, "maxLength": 4},
        ['"ab"', '"😀€"', r'"\n\ud83d\ude00\u0041a"'],
        ['"a"', '"abcde"', r'"\n"'],
    ),
    "long strings": Case(
        {"type": "string", "minLength": 1005, "maxLength": 4100},
        [json.dumps("a" * size) for size in (1005, 2004, 2005, 3999)],
        [json.dumps("a" * size) for size in (1004, 4101)],
    ),
    "integers": Case(
        {"type": "integer"}, ["0", "-1", "123456789012345678"], ["-0", "01", "1.0", "1e3", "1234567890123456789"]
    ),
    "numbers": Case(
        {"type": "number"}, ["0", "-0.5", "12.25", "1E9", "1e-05"], [".5", "1.", "+1", "1e999", "00", "NaN"]
    ),
    "integer bounds": Case(
        {"type": "integer", "minimum": -12, "exclusiveMaximum": 105},
        ["-12", "-9", "0", "99", "104"],
        ["-13", "105", "-99", "1000"],
    ),
    "number bounds": Case(
        {"type": "number", "exclusiveMinimum": -1.5, "maximum": 99.95},
        ["-1.49", "-1", "0", "0.001", "99.9", "99.95", "99.950", "7"],
        ["-1.5", "-1.50", "-2", "99.951", "100", "1e1"],
    ),
    "bounds no double can tell": Case(
        {"type": "number", "exclusiveMinimum": 5}, ["5.1", "6"], ["5", "5.0", "5.0000000000000001"]
    ),
    "huge bounds": Case({"type": "number", "minimum": -1e308, "maximum": 1e308}, ["0", "-123.5"], ["1e309"]),
    "old exclusive": Case({"type": "integer", "minimum": 3, "exclusiveMinimum": True}, ["4"], ["3"]),
    "multiples": Case({"type": "integer", "multipleOf": 15, "minimum": 20}, ["30", "150"], ["15", "25", "31"]),
    "decimal multiples": Case({"type": "number", "multipleOf": 0.25}, ["1", "0.5", "3.25", "-0.75"], ["0.1", "3.3"]),
    "enum": Case(
        {"enum": ["a", 'q"\\\n\u00e9😀', 1, 1.5, None, True, [1, {"k": []}]]},
        ['"a"', '"q\\"\\\\\\né😀"', "1", "1.5", "null", "true", '[1,{"k":[]}]', '[ 1, { "k": [] } ]'],
        ['"b"', "2", "1.50", "false", "[1]"],
    ),
    "enum and others": Case(
        {"enum": ["a", "abc", 5, None], "type": ["string", "null"], "minLength": 2}, ['"abc"', "null"], ['"a"', "5"]
    ),
    "const": Case({"const": {"a": [1, "x"]}}, ['{"a": [1, "x"]}'], ['{"a": [1]}', "{}"]),
    "enum that is combined": Case(
        {"enum": [1, 2, 3, 4], "not": {"const": 2}, "anyOf": [{"minimum": 4}, {"maximum": 2}]}, ["1", "4"], ["2", "3"]
    ),
    "optional properties": Case(
        {
            "type": "object",
            "properties": {"a": {"type": "null"}, "b": {"type": "null"}, "c": {"type": "null"}},
            "required": ["b"],
        },
        ['{"b": null}', '{"a": null, "b": null}', '{"b": null, "c": null}', '{"a": null, "b": null, "c": null}'],
        [
            "{}",
            '{"a": null}',
            '{"b": null, "a": null}',
            '{"b": null,}',
            '{, "b": null}',
            '{"b": null, "d": 1}',
            '{"b": null, "b": null}',
        ],
    ),
    "brackets": Case({"enum": ["(" * 99, ")[]{}|*"]}, [json.dumps("(" * 99), '")[]{}|*"'], ['"("']),
    "names": Case(
        {"properties": {'a"\\\n\u0001é': {"type": "null"}}, "required": ['a"\\\n\u0001é']},
        ['{"a\\"\\\\\\n\\u0001é": null}'],
        ['{"a": null}'],
    ),
    "more properties": Case(
        {"properties": {"ab": {"type": "null"}}, "additionalProperties": {"type": "integer"}},
        ["{}", '{"ab": null, "abc": 1, "a": 2, "": 3}', '{"b": 1}'],
        ['{"ab": 1}', '{"a": null}', r'{"\u0061b": 1}', '{"a": 1, "ab": null}'],
    ),
    "any object": Case({"type": "object"}, ["{}", '{"a": {"b": 1}}'], ["[]"]),
    "no properties": Case({"type": "object", "properties": {}, "additionalProperties": False}, ["{}"], ['{"a": 1}']),
    "undeclared but required": Case(
        {"type": "object", "required": ["z"]}, ['{"z": 1}', '{"z": 1, "y": 2}'], ["{}", '{"y": 1}']
    ),
    "a forbidden property": Case({"properties": {"a": False, "b": True}}, ["{}", '{"b": 1}'], ['{"a": 1}']),
    "property counts": Case(
        {"properties": {name: {"type": "null"} for name in "abcd"}, "minProperties": 2, "maxProperties": 3},
        ['{"a": null, "d": null}', '{"b": null, "c": null, "d": null}'],
        ["{}", '{"a": null}', '{"a": null, "b": null, "c": null, "d": null}'],
    ),
    "a property at least": Case(
        {"type": "object", "minProperties": 1, "maxProperties": 2},
        ['{"a": 1}', '{"a": 1, "b": 2}'],
        ["{}", '{"a":1,"b":2,"c":3}'],
    ),
    "patterns of names": Case(
        {"patternProperties": {"^x-": {"type": "integer"}, "^y": {"type": "null"}}, "additionalProperties": False},
        ["{}", '{"x-a": 1, "y": null}'],
        ['{"x-a": null}', '{"z": 1}', '{"y": 1}'],
    ),
    "names of properties": Case(
        {
            "propertyNames": {"pattern": "^[a-c]{2}$"},
            "additionalProperties": {"type": "null"},
            "properties": {"abc": {}, "aa": {"type": "integer"}},
        },
        ['{"aa": 1, "bb": null}'],
        ['{"abc": 1}', '{"a": null}', '{"aa": null}'],
    ),
    "properties that need others": Case(
        {"properties": {name: {"type": "null"} for name in "abc"}, "dependentRequired": {"a": ["b"], "b": ["c"]}},
        ["{}", '{"c": null}', '{"b": null, "c": null}', '{"a": null, "b": null, "c": null}'],
        ['{"a": null}', '{"b": null}', '{"a": null, "b": null}'],
    ),
    "arrays": Case(
        {"type": "array", "items": {"type": "integer"}}, ["[]", "[1]", "[1, 2,3]"], ["[,]", "[1,]", "[null]", "[1 2]"]
    ),
    "item counts": Case(
        {"items": {"type": "null"}, "minItems": 2, "maxItems": 3},
        ["[null,null]", "[null,null,null]"],
        ["[]", "[null]", "[null,null,null,null]"],
    ),
    "no items": Case({"type": "array", "maxItems": 0}, ["[]"], ["[1]"]),
    "first items": Case(
        {"prefixItems": [{"type": "string"}, {"type": "null"}], "items": {"type": "integer"}, "minItems": 1},
        ['["a"]', '["a",null]', '["a",null,1,2]'],
        ["[]", "[null]", '["a",1]', '["a",null,null]'],
    ),
    "a tuple": Case(
        {"prefixItems": [{"type": "null"}, {"type": "integer"}], "items": False, "minItems": 2},
        ["[null,1]"],
        ["[null]", "[null,1,1]"],
    ),
    "different items": Case(
        {"items": {"enum": ["r", "g", "b"]}, "uniqueItems": True, "minItems": 1, "maxItems": 2},
        ['["r"]', '["r","b"]', '["g"]'],
        ["[]", '["r","r"]', '["r","g","b"]'],
    ),
    "an item that must be": Case(
        {"items": {"type": "integer"}, "contains": {"minimum": 7}, "minContains": 2},
        ["[7,8]", "[9,7,1]"],
        ["[]", "[7]", "[7,1]"],
    ),
    "harmless": Case(
        {
            "type": "array",
            "uniqueItems": False,
            "minContains": 0,
            "contains": {},
            "if": {"type": "array"},
            "unevaluatedItems": True,
            "items": {"type": "null"},
        },
        ["[]", "[null,null]"],
        ["[1]"],
    ),
    "any of": Case(
        {"anyOf": [{"type": "integer"}, {"type": "string", "maxLength": 1}]}, ["1", '"a"'], ['"ab"', "null"]
    ),
    "kinds of objects": Case(
        {"oneOf": CAT_OR_COW},
        ['{"kind": "cat"}', '{"kind": "cat", "lives": 9}', '{"kind": "cow", "milk": 1.5}'],
        ['{"kind": "cow"}', '{"kind": "cat", "milk": 1}', '{"kind": "dog"}'],
    ),
    "kinds of objects that overlap": Case(
        {
            "oneOf": [
                {"properties": {"kind": {"enum": ["cat", "dog"]}}},
                {"properties": {"kind": {"enum": ["cow", "cat"]}}},
            ]
        },
        ['{"kind": "cow"}', '{"kind": "dog"}'],
        ['{"kind": "cat"}', "{}"],
    ),
    "tags with a default": Case(
        {
            "oneOf": [
                {"type": "object", "properties": {"a": {}, "t": {"const": "x", "default": "x"}}, "title": "X"},
                {"type": "object", "properties": {"a": {}, "t": {"const": "y", "default": "y"}}, "required": ["a"]},
            ],
            "discriminator": {"propertyName": "t"},
        },
        ['{"t": "x"}', '{"a": 1, "t": "x"}', '{"a": 1, "t": "y"}'],
        ["{}", '{"a": 1}', '{"t": "y"}'],
    ),
    "a condition": Case(
        {
            "properties": {"country": {"enum": ["US", "DE", "FR"]}, "zip": {"type": "string"}},
            "required": ["country", "zip"],
            "if": {"properties": {"country": {"const": "US"}}},
            "then": {"properties": {"zip": {"pattern": "^\\d{5}$"}}},
            "else": {"properties": {"zip": {"maxLength": 3}}},
        },
        ['{"country": "US", "zip": "12345"}', '{"country": "FR", "zip": "abc"}'],
        ['{"country": "US", "zip": "abc"}', '{"country": "DE", "zip": "12345"}'],
    ),
    "all of": Case(
        {
            "allOf": [
                {"properties": {"a": {"type": "integer"}}, "required": ["a"]},
                {"properties": {"a": {"minimum": 5}, "b": {"type": "null"}}},
            ],
            "unevaluatedProperties": False,
        },
        ['{"a": 5}', '{"a": 6, "b": null}'],
        ['{"a": 4}', "{}", '{"a": 5, "c": 1}'],
    ),
    "any of what is closed": Case(
        {
            "anyOf": [
                {"type": "object", "allOf": [{"properties": {"a": True}}], "unevaluatedProperties": False},
                {"type": "array", "allOf": [{"prefixItems": [True]}], "unevaluatedItems": {"type": "boolean"}},
            ],
            "required": ["a"],
            "minItems": 1,
        },
        ['{"a": null}', "[null]", "[null,true]"],
        ["{}", '{"a": null, "b": null}', "[]", "[null,null]"],
    ),
    "if": Case(
        {"if": {"type": "string"}, "then": {"minLength": 2}, "else": {"type": "null"}}, ['"ab"', "null"], ['"a"', "1"]
    ),
    "not a type": Case({"not": {"type": ["object", "array"]}}, ["1", '"a"', "null"], ["[]", "{}"]),
    "a tree": Case(
        TREE, ['{"v": 1}', '{"v": 1, "kids": [{"v": 2, "kids": []}, {"v": 3}]}'], ["{}", '{"v": 1, "kids": [{}]}']
    ),
    "itself": Case({"type": "array", "items": {"$ref": "#"}}, ["[]", "[[],[[]]]"], ["[1]"]),
    "references": Case(
        {
            "$id": "http://a/b",
            "$ref": "http://a/b#/definitions/x~1y%20z",
            "definitions": {"x/y z": {"$ref": "#/definitions/w"}, "w": {"$id": "w", "type": "null"}},
        },
        ["null"],
        ["1"],
    ),
    "alternatives that cannot be": Case({"anyOf": [False, {"type": "null"}, {"enum": []}]}, ["null"], ["1"]),
    "optional that cannot end": Case(
        {
            "properties": {"a": {"$ref": "#"}, "b": {"$ref": "#/$defs/n"}},
            "$defs": {"n": {"required": ["n"], "properties": {"n": {"$ref": "#/$defs/n"}}}},
        },
        ["{}", '{"a": {}}'],
        ['{"b": {}}'],
    ),
}


def validates(value: object, schema: object) -> bool:
    """Whether jsonschema, the reference here, says that the value satisfies the schema."""
    validator: Any = jsonschema.Draft202012Validator(cast("Any", schema))
    return bool(validator.is_valid(value))
