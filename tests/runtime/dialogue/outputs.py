"""Outputs: what models of each family write."""

from __future__ import annotations

from typing import Any

from corral.runtime.dialogue.families.table import UNKNOWN, tagged
from corral.runtime.dialogue.parts import Content, Thought
from corral.runtime.dialogue.thinking import ThinkingTags

from tests.runtime.dialogue.segments import BY_NAME, Call, Markup, Output, Segment


def _output(title: str, family: str, *segments: Segment, **others: Any) -> Output:
    return Output(f"{family}: {title}", BY_NAME.get(family, UNKNOWN), segments, **others)


_ROME = {"city": "Rome", "days": 3}
_ROME_JSON = '{"city": "Rome", "days": 3}'
_NESTED = {
    "text": 'a "b" \\ <tool_call>{"name": </tool_call>',
    "tags": ["ü", "🌍", "}{"],
    "place": {"a": [{"b": None}]},
}
_NESTED_JSON = (
    r'{"text": "a \"b\" \\ <tool_call>{\"name\": </tool_call>", "tags": ["ü", "\ud83c\udf0d", "}{"],'
    r' "place": {"a": [{"b": null}]}}'
)
_THOUGHT: tuple[Segment, ...] = (Markup("\n<think>\n"), Thought("Rome? <b>\n\n"), Markup("</think>\n\n"))


def _hermes(arguments: str, name: str = "weather") -> str:
    return f'<tool_call>\n{{"name": "{name}", "arguments": {arguments}}}\n</tool_call>'


def _element(name: str, **parameters: str) -> str:
    inner = "".join(f"<parameter={key}>\n{value}\n</parameter>\n" for key, value in parameters.items())
    return f"<tool_call>\n<function={name}>\n{inner}</function>\n</tool_call>"


OUTPUTS = [
    _output("plain", "unknown", Content("Hello, <b>you</b>! {x}\n")),
    _output("thought and said", "hermes", *_THOUGHT, Content("It is sunny.\n")),
    _output("only thought", "hermes", Markup("<think>"), Thought("hm")),
    _output(
        "thinks already", "hermes", Thought("hm\n"), Markup("</think>\n\n"), Content("Yes."), prompt_end="<think>\n"
    ),
    _output("shall not think", "hermes", Content("Yes."), prompt_end="<think>\n\n</think>\n\n"),
    _output("empty thought", "hermes", Markup("<think>\n\n</think>\n\n"), Content("Yes.")),
    _output("talks of tags", "hermes", Content("I write <tool_call> and </tool_call>, or <think>x</think>; a < b.")),
    _output("one call", "hermes", Call(_hermes(_ROME_JSON), "weather", _ROME)),
    _output(
        "thought, text, two calls, text",
        "hermes",
        *_THOUGHT,
        Content("Let me see."),
        Call("\n\n" + _hermes(_ROME_JSON), "weather", _ROME),
        Call("\n" + _hermes("{}", "clock"), "clock", {}),
        Markup("\n\n"),
        Content("There."),
    ),
    _output("nested", "hermes", Call(_hermes(_NESTED_JSON, "note"), "note", _NESTED)),
    _output("unknown tool", "hermes", Call(_hermes('{"a": 1}', "stroll"), "stroll", {"a": 1})),
    _output("arguments in a string", "hermes", Call(_hermes(r'"{\"city\": \"Rome\"}"'), "weather", {"city": "Rome"})),
    _output("raw line break", "hermes", Call(_hermes('{"text": "a\n\tb"}', "note"), "note", {"text": "a\n\tb"})),
    _output("no arguments", "hermes", Call('<tool_call>{"name": "clock"}</tool_call>', "clock", {})),
    _output(
        "a function inside",
        "hermes",
        Call(
            '<tool_call>{"type": "function", "function": {"name": "clock", "arguments": {}}}</tool_call>', "clock", {}
        ),
    ),
    _output(
        "twice the same key",
        "hermes",
        Call(_hermes('{"days": 1, "city": "x", "days": 2}'), "weather", {"days": 2, "city": "x"}),
    ),
    _output("half a character", "hermes", Call(_hermes(r'{"city": "\ud83c"}'), "weather", {"city": "\ufffd"})),
    _output("no tag at all", "hermes", Call(' {"name": "weather", "arguments": ' + _ROME_JSON + "}", "weather", _ROME)),
    _output(
        "no closing tag",
        "hermes",
        Call('<tool_call>{"name": "clock", "arguments": {}}', "clock", {}),
        Markup("\n"),
        Content("So."),
    ),
    _output(
        "after a broken one",
        "hermes",
        Content('<tool_call>\n{"name": "weather", "arguments": {"days": 1}\n</tool_call>'),
        Call("\n" + _hermes(_ROME_JSON), "weather", _ROME),
    ),
    _output(
        "elements",
        "qwen3-coder",
        *_THOUGHT,
        Content("Noted:"),
        Call("\n" + _element("weather", city="12", days="3"), "weather", {"city": "12", "days": 3}),
        Call(
            "\n"
            + _element(
                "note",
                text='\n</parameter> "x" </tool_call>\n',
                tags='["a", "b"]',
                urgent="True",
                place="null",
                weight="1e2",
            ),
            "note",
            {
                "text": '\n</parameter> "x" </tool_call>\n',
                "tags": ["a", "b"],
                "urgent": True,
                "place": None,
                "weight": 100.0,
            },
        ),
    ),
    _output("no outer tag", "qwen3-coder", Call("<function=clock>\n</function>", "clock", {})),
    _output("no inner end", "qwen3-coder", Call("<tool_call><function=clock>\n</tool_call>", "clock", {})),
    _output(
        "odd values",
        "qwen3-coder",
        Call(_element("weather", days="many", where="[1]"), "weather", {"days": "many", "where": "[1]"}),
    ),
    _output(
        "keys and values",
        "glm",
        *_THOUGHT,
        Content("Hm."),
        Call(
            "\n<tool_call>weather\n<arg_key>city</arg_key>\n<arg_value>Rome</arg_value>\n"
            "<arg_key>days</arg_key>\n<arg_value>3</arg_value>\n</tool_call>",
            "weather",
            _ROME,
        ),
        Call("\n<tool_call>clock\n</tool_call>", "clock", {}),
    ),
    _output(
        "bare",
        "llama3",
        Call('{"name": "weather", "parameters": ' + _ROME_JSON + "}", "weather", _ROME),
        Call('; {"name": "clock", "parameters": {}}', "clock", {}),
    ),
    _output(
        "bare with a type", "llama3", Call('{"type": "function", "function": "clock", "parameters": {}}', "clock", {})
    ),
    _output("a tag", "llama3", Call('<|python_tag|>{"name": "clock", "parameters": {}}', "clock", {})),
    _output("as in Python", "llama3", Call('<|python_tag|>weather.call(city="Rome", days=3)', "weather", _ROME)),
    _output("as a function", "llama3", Call(f"<function=weather>{_ROME_JSON}</function>", "weather", _ROME)),
    _output("an answer in JSON", "llama3", Content('{"name": "Rome", "arguments": {"a": [1]}}\n')),
    _output("another answer in JSON", "llama3", Content('[{"city": "Rome"}, {"name": "weather"}]')),
    _output(
        "a list",
        "llama4",
        Call("[weather(city='Rome', days=3)", "weather", _ROME),
        Call(
            r""", note(text="a \"b\" \\ \x41\u00e9\n' )", tags=['x', "]("], urgent=None, place={"a": (1, -2.5, True)})]""",
            "note",
            {"text": 'a "b" \\ Aé\n\' )', "tags": ["x", "]("], "urgent": None, "place": {"a": [1, -2.5, True]}},
        ),
    ),
    _output("a list that is none", "llama4", Content("[stroll(far=1)]")),
    _output(
        "a list with tags",
        "lfm2",
        *_THOUGHT,
        Call("<|tool_call_start|>[stroll(far=True)", "stroll", {"far": True}),
        Call(", clock()]<|tool_call_end|>", "clock", {}),
        Content("Checking."),
    ),
    _output(
        "lines",
        "olmo3",
        Call("<function_calls>\nclock()", "clock", {}),
        Call('\nweather(city="Rome", days=3)\n</function_calls>', "weather", _ROME),
    ),
    _output(
        "a list",
        "mistral",
        Call('[TOOL_CALLS] [{"name": "weather", "arguments": ' + _ROME_JSON + ', "id": "abcdefgh1"}', "weather", _ROME),
        Call(', {"name": "note", "arguments": ' + _NESTED_JSON + "}]", "note", _NESTED),
    ),
    _output("bare list", "mistral", Call('[{"name": "clock", "arguments": {}}]', "clock", {})),
    _output(
        "names",
        "mistral",
        Markup("[THINK]"),
        Thought("hm"),
        Markup("[/THINK]"),
        Content("Ok."),
        Call("[TOOL_CALLS]weather[ARGS]" + _ROME_JSON, "weather", _ROME),
        Call("[TOOL_CALLS]clock[CALL_ID]abc123[ARGS]{}", "clock", {}),
        Call("[TOOL_CALLS]note{}", "note", {}),
        thinking=ThinkingTags("[THINK]", "[/THINK]"),
    ),
    _output(
        "V3",
        "deepseek",
        *_THOUGHT,
        Content("So."),
        Call(
            "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>weather\n```json\n"
            + _ROME_JSON
            + "\n```<｜tool▁call▁end｜>",
            "weather",
            _ROME,
        ),
        Call(
            "\n<｜tool▁call▁begin｜>function<｜tool▁sep｜>note\n```json\n"
            + _NESTED_JSON
            + "\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
            "note",
            _NESTED,
        ),
    ),
    _output(
        "V3.1",
        "deepseek",
        Call("<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>clock<｜tool▁sep｜>{}<｜tool▁call▁end｜>", "clock", {}),
        Call(
            f"<｜tool▁call▁begin｜>weather<｜tool▁sep｜>{_ROME_JSON}<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
            "weather",
            _ROME,
        ),
    ),
    _output(
        "in a fence",
        "command-r",
        Content("Plan: look."),
        Call(
            '\nAction: ```json\n[\n    {\n        "tool_name": "weather",\n        "parameters": '
            + _ROME_JSON
            + "\n    }",
            "weather",
            _ROME,
        ),
        Call(',\n    {"tool_name": "clock", "parameters": {}}\n]\n```', "clock", {}),
    ),
    _output(
        "an action",
        "command-r7b",
        Markup("<|START_THINKING|>"),
        Thought("I will look."),
        Markup("<|END_THINKING|>"),
        Call(
            '<|START_ACTION|>[\n    {"tool_call_id": "0", "tool_name": "weather", "parameters": ' + _ROME_JSON + "}",
            "weather",
            _ROME,
        ),
        Call(',\n    {"tool_call_id": "1", "tool_name": "clock", "parameters": {}}\n]<|END_ACTION|>', "clock", {}),
        thinking=ThinkingTags("<|START_THINKING|>", "<|END_THINKING|>"),
    ),
    _output(
        "a response",
        "command-r7b",
        Markup("<|START_RESPONSE|>"),
        Content("Sunny."),
        Markup("<|END_RESPONSE|>"),
        thinking=None,
    ),
    _output(
        "a list",
        "granite",
        Call('<|tool_call|>[{"name": "weather", "arguments": ' + _ROME_JSON + "}]", "weather", _ROME),
    ),
    _output("a tag", "granite", Call('<tool_call>[{"name": "clock", "arguments": {}}]</tool_call>', "clock", {})),
    _output("a list", "phi4", Call('<|tool_call|>[{"name": "clock", "arguments": {}}]<|/tool_call|>', "clock", {})),
    _output("functools", "phi4", Content("Ok"), Call(' functools[{"name": "clock", "arguments": {}}]', "clock", {})),
    _output("talks of functools", "phi4", Content("import functools\n[1]")),
    _output(
        "a list", "nemotron", *_THOUGHT, Call('<TOOLCALL>[{"name": "clock", "arguments": {}}]</TOOLCALL>', "clock", {})
    ),
    _output(
        "a section",
        "kimi",
        Content("Ok."),
        Call(
            "<|tool_calls_section_begin|><|tool_call_begin|>functions.weather:0<|tool_call_argument_begin|>"
            + _ROME_JSON
            + "<|tool_call_end|>",
            "weather",
            _ROME,
        ),
        Call(
            "<|tool_call_begin|>functions.clock:1<|tool_call_argument_begin|>{}<|tool_call_end|><|tool_calls_section_end|>",
            "clock",
            {},
        ),
    ),
    _output(
        "invocations",
        "minimax",
        *_THOUGHT,
        Call(
            '<minimax:tool_call>\n<invoke name="weather">\n<parameter name="city">Rome</parameter>\n'
            '<parameter name="days">3</parameter>\n</invoke>',
            "weather",
            _ROME,
        ),
        Call('\n<invoke name="clock">\n</invoke>\n</minimax:tool_call>', "clock", {}),
    ),
    _output(
        "elements",
        "seed",
        Call(_element("weather", city="Rome", days="3").replace("tool_call>", "seed:tool_call>"), "weather", _ROME),
    ),
    _output(
        "escapes",
        "functiongemma",
        Call(
            "<start_function_call>call:weather{city:<escape>Rome<escape>,days:3}<end_function_call>", "weather", _ROME
        ),
        Call(
            '<start_function_call>call:note{text:<escape>a "b" <esc }{<escape>,'
            "tags:[<escape>x<escape>],place:{a:null}}<end_function_call>",
            "note",
            {"text": 'a "b" <esc }{', "tags": ["x"], "place": {"a": None}},
        ),
    ),
    _output(
        "long quotes",
        "gemma4",
        Markup("<|channel>thought\n"),
        Thought("hm\n"),
        Markup("<channel|>"),
        Call('<|tool_call>call:weather{city:<|"|>Rome<|"|>,days:3}<tool_call|>', "weather", _ROME),
        thinking=ThinkingTags("<|channel>thought", "<channel|>"),
    ),
    _output(
        "channels",
        "harmony",
        Markup("<|channel|>analysis<|message|>"),
        Thought("Look it up. {"),
        Markup("<|end|><|start|>assistant<|channel|>commentary<|message|>"),
        Content("Looking."),
        Markup("<|end|>"),
        Call(
            "<|start|>assistant<|channel|>commentary to=functions.weather <|constrain|>json<|message|>"
            + _ROME_JSON
            + "<|call|>",
            "weather",
            _ROME,
        ),
        prompt_end="<|start|>user<|message|>?<|end|><|start|>assistant",
    ),
    _output(
        "the recipient first",
        "harmony",
        Call(" to=functions.clock<|channel|>commentary json<|message|>{}", "clock", {}),
        prompt_end="<|start|>assistant",
    ),
    _output(
        "no end",
        "harmony",
        Markup("<|channel|>analysis<|message|>"),
        Thought("Easy."),
        Markup("<|start|>assistant<|channel|>final<|message|>"),
        Content("Sunny, a < b."),
        Markup("<|return|>"),
    ),
    _output(
        "a begun message",
        "harmony",
        Thought("hm"),
        Markup("<|end|>"),
        prompt_end="<|start|>assistant<|channel|>analysis<|message|>",
    ),
    _output("no messages", "harmony", Content("Sunny.")),
    Output(
        "a tag of its own",
        tagged("<call>"),
        [
            Content("Ok."),
            Call('\n<call>{"name": "weather", "arguments": ' + _ROME_JSON + "}</call>", "weather", _ROME),
            Call('<call>clock {"arguments": {}}', "clock", {}),
            Call('<call>weather_note_clock {"days": 3}', "weather", {"days": 3}),
        ],
    ),
    Output(
        "a list behind a tag of its own",
        tagged("CALLS:"),
        [
            Call('CALLS: [{"name": "weather", "arguments": ' + _ROME_JSON + "}", "weather", _ROME),
            Call(', {"name": "clock", "parameters": {}}]', "clock", {}),
        ],
    ),
]
"""The written-out outputs."""
