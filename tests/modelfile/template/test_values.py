"""A request's values as Ollama's types have them: what they print, their JSON, methods and nils (spec part 8.2)."""

from __future__ import annotations

from json import loads
from typing import Any

import pytest
from corral.modelfile.template.conversation import ChatMessage, ToolCall, message_values, tool_values
from corral.modelfile.template.errors import TemplateError
from corral.modelfile.template.values import json

from tests.modelfile.template.asked import rendered

PROPERTIES = (
    '{"a":{"type":["string","null"],"description":"A"},"i":{"type":"odd","items":0,"enum":[1,"e",null]},'
    '"o":{"anyOf":[{"type":"boolean"},{"type":["array","null"]}]},'
    '"z":{"type":"object","properties":{"y":{"type":"integer"},"x":{}}}}'
)
FUNCTION = (
    '{"name":"f","description":"","parameters":{"type":"object","$defs":{},"required":["z"],'
    f'"properties":{PROPERTIES}}}}}'
)
TOOL = f'{{"type":"function","function":{FUNCTION}}}'
BARE = '{"type":"","function":{"name":"g","description":"","parameters":{"type":"","properties":null}}}'
ARGUMENTS = '{"a":"\\u003cx\\u003e","b":[1,null,{"k":"v"}]}'

PRINTED = {
    # Tools and what is called print their JSON; what is inside a tool is a struct.
    "{{ $f }}": TOOL,
    "{{ .Tools }}": f"[{TOOL},{BARE}]",
    "{{ json .Tools }}": f"[{TOOL},{BARE}]",
    "{{ slice .Tools 1 }}": f"[{BARE}]",
    "{{ json $f.Function }}": FUNCTION,
    "{{ $f.Function }}": f"{{f  {{object map[] <nil> [z] {PROPERTIES}}}}}",
    "{{ $g.Function }}": "{g  { <nil> <nil> [] {}}}",
    "{{ $g.Function.Parameters }}": "{ <nil> <nil> [] {}}",
    "{{ $p }}": PROPERTIES,
    "{{ $args }} {{ $args.b }}": f"{ARGUMENTS} [1 <nil> map[k:v]]",
    "{{ $c }}": f"{{1 {{0 f {ARGUMENTS}}}}}",
    "{{ json $c }}": f'{{"ID":"1","Function":{{"Index":0,"Name":"f","Arguments":{ARGUMENTS}}}}}',
    # The properties of a tool are sorted, those of a property stay as they came.
    "{{ range $k, $v := $p }}{{ $k }}{{ end }}": "aioz",
    "{{ json $p.z.Properties }}": '{"y":{"type":"integer"},"x":{}}',
    "{{ $p.z.Properties.ToMap }}": "map[x:{[]  <nil>  [] <nil> []} y:{[] integer <nil>  [] <nil> []}]",
    # A property is a struct; its type is one word or a list.
    "{{ $p.a }} {{ $p.i }}": "{[] [string null] <nil> A [] <nil> []} {[] odd 0  [1 e <nil>] <nil> []}",
    "{{ json $p.a }}": '{"type":["string","null"],"description":"A"}',
    "{{ $p.a.Type }} {{ $p.i.Type }} {{ slice $p.i.Type 0 1 }}": "[string null] odd odd",
    "{{ json $p.a.Type }} {{ json $p.i.Type }}": '["string","null"] "odd"',
    # One that does not exist is an empty one.
    "{{ $p.none }} {{ json $p.none }}": "{[]  <nil>  [] <nil> []} {}",
    "[{{ $p.none.Type }}{{ (index $p `none`).Description }}]{{ if $p.none }}T{{ end }}": "[]T",
    # What was not said is nil, which is another thing than empty.
    "{{ $g.Function.Parameters.Properties }} {{ json $g.Function.Parameters.Properties }}": "{} null",
    "{{ $p.a.Properties }} {{ eq $p.a.Properties nil }} {{ eq $p.z.Properties nil }}": "<nil> true false",
    "{{ if $p.a.Properties }}T{{ else }}F{{ end }}{{ if $p.z.Properties }}T{{ end }}": "FT",
    "{{ $tool.ToolCalls }} {{ json $tool.ToolCalls }} {{ eq $tool.ToolCalls nil }}": "[] null true",
    "{{ ne $m.Images nil }} {{ eq $tool.Images nil }}": "true true",
    "{{ .Nope }} {{ print .Nope }} {{ html .Nope }} {{ println nil }}": "<no value> <nil> &lt;no value&gt; <nil>\n",
    # A message is where to find it: equal to itself alone.
    "{{ $m }}": "{user héy  [[137 80 78]] []  }",
    "{{ print $m }} {{ html $m }}": "&{user héy  [[137 80 78]] []  } {user héy  [[137 80 78]] []  }",
    "{{ eq $m $m }} {{ eq $m $tool }} {{ eq $m nil }}": "true false false",
    "{{ json $m }}": (
        '{"Role":"user","Content":"héy","Thinking":"","Images":["iVBO"],"ToolCalls":null,"ToolName":"","ToolCallID":""}'
    ),
    # Images are bytes.
    "{{ $m.Images }} {{ json $m.Images }}": '[[137 80 78]] ["iVBO"]',
    "{{ len $image }} {{ index $image 0 }} {{ slice $image 1 }}": "3 137 [80 78]",
    # Methods.
    "{{ $f.String }}": TOOL,
    "{{ .Tools.String }}": f"[{TOOL},{BARE}]",
    "{{ $p.String }}": PROPERTIES,
    "{{ $args.String }} {{ $g.Function.Parameters.Properties.String }}": f"{ARGUMENTS} {{}}",
    "{{ $p.a.Type.String }} {{ $p.i.Type.String }}": "[string null] odd",
    "{{ $p.z.Properties.Len }} {{ $p.a.Properties.Len }}": "2 0",
    "{{ $p.a.ToTypeScriptType }} {{ $p.o.ToTypeScriptType }}": "string | null boolean | any[] | null",
    # Only properties have a type in TypeScript.
    "{{ range $p }}{{ toTypeScriptType . }};{{ end }}": (
        "string | null;any;boolean | any[] | null;Record<string, any>;"
    ),
    "{{ toTypeScriptType $p.none }} {{ toTypeScriptType $p }} {{ toTypeScriptType `string` }}": "any any any",
}


@pytest.mark.parametrize("text", PRINTED)
def test_printed(text: str) -> None:
    assert rendered(text) == PRINTED[text]


@pytest.mark.parametrize(
    ("kind", "written"),
    [
        ("string", "string"),
        ("number", "number"),
        ("integer", "number"),
        ("boolean", "boolean"),
        ("null", "null"),
        ("array", "any[]"),
        ("object", "Record<string, any>"),
        (["string", "null"], "string | null"),
        ("strange", "any"),
        ([], "any"),
        (None, "any"),
    ],
)
def test_types_of_properties_in_typescript(kind: Any, written: str) -> None:
    tool = {"function": {"parameters": {"properties": {"p": {"type": kind}}}}}
    text = (
        "{{ range .Tools }}{{ toTypeScriptType .Function.Parameters.Properties.p }}{{ end }}{{ if .Messages }}{{ end }}"
    )
    assert rendered(text, [], "", tools=[tool]) == written


FAILING = [
    "{{ len $m }}",
    "{{ index $m `Role` }}",
    "{{ range $m }}{{ end }}",
    "{{ $m.role }}",
    "{{ $f.Nope }}",
    "{{ $p.a.Nope }}",
    "{{ $p.a.Type.Nope }}",
    "{{ $p.z.Properties.y }}",
    "{{ len $p.z.Properties }}",
    "{{ range $p.z.Properties }}{{ end }}",
    "{{ eq $f $f }}",
    "{{ eq $p.a $p.a }}",
    "{{ eq .Messages .Messages }}",
    "{{ eq .Messages $p }}",
    "{{ eq $p.i.Type `odd` }}",
    "{{ $args.a.x }}",
    "{{ $args.none.x }}",
]


@pytest.mark.parametrize("text", FAILING)
def test_error_for_what_a_type_does_not_have(text: str) -> None:
    with pytest.raises(TemplateError, match=":1:"):
        rendered(text)


def test_tools_that_are_not_given_are_nil() -> None:
    assert rendered("{{ .Tools }} {{ json .Tools }}{{ if .Messages }}{{ end }}", names="", tools=()) == "null null"
    assert rendered("{{ .Tools }} {{ json .Tools }}{{ if .Messages }}{{ end }}", names="", tools=[]) == "[] []"
    assert json(tool_values(None)) == json(tool_values(())) == json(message_values([])) == "null"


PROPERTY: list[tuple[Any, str]] = [
    ({"items": 0, "enum": [], "anyOf": [], "required": []}, '{"items":0}'),
    ({"items": ""}, '{"items":""}'),
    ({"items": False}, '{"items":false}'),
    ({"items": {}}, '{"items":{}}'),
    ({"items": None, "description": "", "properties": None}, "{}"),
    ({"properties": {}}, '{"properties":{}}'),
    ({"type": ""}, '{"type":""}'),
    ({"type": None}, '{"type":""}'),
    ({"type": [None, "string"]}, '{"type":["","string"]}'),
    ({"anyOf": [None, {}]}, '{"anyOf":[{},{}]}'),
    ({"required": [None]}, '{"required":[""]}'),
    ({"TYPE": "string", "Description": "\ud800"}, '{"type":"string","description":"\ufffd"}'),
    ({"enum": [2**53 + 1, 1e21, 0.5, None]}, '{"enum":[9007199254740992,1e+21,0.5,null]}'),
    (None, "{}"),
]


@pytest.mark.parametrize(("given", "printed"), PROPERTY)
def test_a_property_has_in_json_what_was_said(given: Any, printed: str) -> None:
    tool = {"function": {"parameters": {"properties": {"p": given}}}}
    text = "{{ range .Tools }}{{ json .Function.Parameters.Properties.p }}{{ end }}{{ if .Messages }}{{ end }}"
    assert rendered(text, [], "", tools=[tool]) == printed


PARAMETERS: list[tuple[Any, str]] = [
    (None, '{"type":"","properties":null}'),
    ({"$DEFS": 0, "items": ""}, '{"type":"","$defs":0,"items":"","properties":null}'),
    ({"Properties": {}, "required": [], "$defs": None}, '{"type":"","properties":{}}'),
]


@pytest.mark.parametrize(("given", "printed"), PARAMETERS)
def test_parameters_have_in_json_their_type_and_properties_at_least(given: Any, printed: str) -> None:
    tools = tool_values([{"FUNCTION": {"Name": "f", "parameters": given}}])
    assert json(tools) == f'[{{"type":"","function":{{"name":"f","description":"","parameters":{printed}}}}}]'


EMPTY = dict.fromkeys(("Role", "Content", "Thinking", "ToolName", "ToolCallID"), "") | {
    "Images": None,
    "ToolCalls": None,
}
MESSAGE: list[tuple[Any, dict[str, Any]]] = [
    (None, {}),
    ({"ROLE": "User", "Content": "x", "tool_CALL_id": "1"}, {"Role": "user", "Content": "x", "ToolCallID": "1"}),
    ({"role": "ÀİΣ", "Role": None, "content": "\udc80"}, {"Role": "àiσ", "Content": "\ufffd"}),
    ({"images": [], "tool_calls": []}, {"Images": []}),
    ({"images": [None, "", "QU\r\nI="]}, {"Images": [None, "", "QUI="]}),
    (
        {"tool_calls": [None, {"id": "1", "function": {"index": -2, "arguments": {"n": 3}}}]},
        {
            "ToolCalls": [
                {"ID": "", "Function": {"Index": 0, "Name": "", "Arguments": None}},
                {"ID": "1", "Function": {"Index": -2, "Name": "", "Arguments": {"n": 3}}},
            ]
        },
    ),
]


@pytest.mark.parametrize(("message", "fields"), MESSAGE)
def test_messages_are_read_as_ollama_reads_them(message: Any, fields: dict[str, Any]) -> None:
    assert loads(json(ChatMessage.read(message).struct())) == EMPTY | fields


def test_of_images_the_number_may_be_all_that_is_known() -> None:
    assert ChatMessage.read({"images": ["QQ==", "QQ=="]}).images == 2
    assert json(ChatMessage("user", "", images=2).struct()["Images"]) == '["",""]'
    assert json(ToolCall("f", None).struct()).endswith('"Arguments":null}}')


WRONG_MESSAGES: list[Any] = [
    "text",
    {"role": 1},
    {"content": False},
    {"content": []},
    {"thinking": {}},
    {"images": "QQ=="},
    {"images": [5]},
    {"images": ["!!"]},
    {"images": ["QQ="]},
    {"images": ["é"]},
    {"tool_calls": {}},
    {"tool_calls": ""},
    {"tool_calls": [5]},
    {"tool_calls": [{"id": 5}]},
    {"tool_calls": [{"function": []}]},
    {"tool_calls": [{"function": {"name": 5}}]},
    *({"tool_calls": [{"function": {"index": index}}]} for index in ("1", 1.5, 1.0, True, 2**63)),
]
WRONG_ARGUMENTS: list[Any] = [[], "", "{}", 0, False, {"n": 10**400}]


@pytest.mark.parametrize(
    "message",
    [*WRONG_MESSAGES, *({"tool_calls": [{"function": {"arguments": given}}]} for given in WRONG_ARGUMENTS)],
    ids=lambda message: repr(message)[:60],
)
def test_error_what_is_no_message(message: Any) -> None:
    with pytest.raises(TemplateError):
        rendered("{{ .Messages }}", [message], "")


WRONG_PROPERTIES: list[Any] = [
    5,
    "",
    {"type": 5},
    {"type": [1]},
    {"type": {}},
    {"enum": "x"},
    {"enum": {}},
    {"anyOf": {}},
    {"anyOf": [5]},
    {"description": 5},
    {"required": "x"},
    {"required": ""},
    {"required": [1]},
    {"properties": []},
    {"items": float("nan")},
    {"items": {1, 2}},
]


@pytest.mark.parametrize(
    "tool",
    [
        "x",
        {"type": 5},
        {"type": []},
        {"function": []},
        {"function": ""},
        {"function": {"name": 5}},
        {"function": {"parameters": []}},
        {"function": {"parameters": ""}},
        {"function": {"parameters": {"type": ["object"]}}},
        {"function": {"parameters": {"required": ""}}},
        {"function": {"parameters": {"properties": ""}}},
        *({"function": {"parameters": {"properties": {"p": one}}}} for one in WRONG_PROPERTIES),
    ],
    ids=lambda tool: repr(tool)[:60],
)
def test_error_what_is_no_tool(tool: Any) -> None:
    with pytest.raises(TemplateError):
        rendered("{{ .Messages }}", names="", tools=[tool])
