"""Outputs: what models of each family write."""

from __future__ import annotations

from corral.runtime.dialogue.families.table import tagged
from corral.runtime.dialogue.parts import Content, Thought
from corral.runtime.dialogue.thinking import ThinkingTags

from tests.runtime.dialogue.segments import (
    NESTED,
    NESTED_JSON,
    ROME,
    ROME_JSON,
    THOUGHT,
    Call,
    Markup,
    Output,
    hermes,
    output,
)
from tests.runtime.dialogue.tag_outputs import TAG_OUTPUTS

OUTPUTS = [
    output("plain", "unknown", Content("Hello, <b>you</b>! {x}\n")),
    output("thought and said", "hermes", *THOUGHT, Content("It is sunny.\n")),
    output("only thought", "hermes", Markup("<think>"), Thought("hm")),
    output(
        "thinks already", "hermes", Thought("hm\n"), Markup("</think>\n\n"), Content("Yes."), prompt_end="<think>\n"
    ),
    output("shall not think", "hermes", Content("Yes."), prompt_end="<think>\n\n</think>\n\n"),
    output("empty thought", "hermes", Markup("<think>\n\n</think>\n\n"), Content("Yes.")),
    output("talks of tags", "hermes", Content("I write <tool_call> and </tool_call>, or <think>x</think>; a < b.")),
    output("one call", "hermes", Call(hermes(ROME_JSON), "weather", ROME)),
    output(
        "thought, text, two calls, text",
        "hermes",
        *THOUGHT,
        Content("Let me see."),
        Call("\n\n" + hermes(ROME_JSON), "weather", ROME),
        Call("\n" + hermes("{}", "clock"), "clock", {}),
        Markup("\n\n"),
        Content("There."),
    ),
    output("nested", "hermes", Call(hermes(NESTED_JSON, "note"), "note", NESTED)),
    output("unknown tool", "hermes", Call(hermes('{"a": 1}', "stroll"), "stroll", {"a": 1})),
    output("arguments in a string", "hermes", Call(hermes(r'"{\"city\": \"Rome\"}"'), "weather", {"city": "Rome"})),
    output("raw line break", "hermes", Call(hermes('{"text": "a\n\tb"}', "note"), "note", {"text": "a\n\tb"})),
    output("no arguments", "hermes", Call('<tool_call>{"name": "clock"}</tool_call>', "clock", {})),
    output(
        "a function inside",
        "hermes",
        Call(
            '<tool_call>{"type": "function", "function": {"name": "clock", "arguments": {}}}</tool_call>', "clock", {}
        ),
    ),
    output(
        "twice the same key",
        "hermes",
        Call(hermes('{"days": 1, "city": "x", "days": 2}'), "weather", {"days": 2, "city": "x"}),
    ),
    output("half a character", "hermes", Call(hermes(r'{"city": "\ud83c"}'), "weather", {"city": "\ufffd"})),
    output("no tag at all", "hermes", Call(' {"name": "weather", "arguments": ' + ROME_JSON + "}", "weather", ROME)),
    output(
        "no closing tag",
        "hermes",
        Call('<tool_call>{"name": "clock", "arguments": {}}', "clock", {}),
        Markup("\n"),
        Content("So."),
    ),
    output(
        "after a broken one",
        "hermes",
        Content('<tool_call>\n{"name": "weather", "arguments": {"days": 1}\n</tool_call>'),
        Call("\n" + hermes(ROME_JSON), "weather", ROME),
    ),
    output(
        "bare",
        "llama3",
        Call('{"name": "weather", "parameters": ' + ROME_JSON + "}", "weather", ROME),
        Call('; {"name": "clock", "parameters": {}}', "clock", {}),
    ),
    output(
        "bare with a type", "llama3", Call('{"type": "function", "function": "clock", "parameters": {}}', "clock", {})
    ),
    output("a tag", "llama3", Call('<|python_tag|>{"name": "clock", "parameters": {}}', "clock", {})),
    output("as in Python", "llama3", Call('<|python_tag|>weather.call(city="Rome", days=3)', "weather", ROME)),
    output("as a function", "llama3", Call(f"<function=weather>{ROME_JSON}</function>", "weather", ROME)),
    output(
        "a list as in Python behind a tag",
        "llama3",
        Call('<|python_tag|>[weather(city="Rome", days=3)', "weather", ROME),
        Call(", clock()]", "clock", {}),
    ),
    output("a list in JSON behind a tag", "llama3", Call('<|python_tag|>[{"name": "clock"}]', "clock", {})),
    output("an answer in JSON", "llama3", Content('{"name": "Rome", "arguments": {"a": [1]}}\n')),
    output("another answer in JSON", "llama3", Content('[{"city": "Rome"}, {"name": "weather"}]')),
    output(
        "a list",
        "llama4",
        Call("[weather(city='Rome', days=3)", "weather", ROME),
        Call(
            r""", note(text="a \"b\" \\ \x41\u00e9\n' )", tags=['x', "]("], urgent=None, place={"a": (1, -2.5, True)})]""",
            "note",
            {"text": 'a "b" \\ Aé\n\' )', "tags": ["x", "]("], "urgent": None, "place": {"a": [1, -2.5, True]}},
        ),
    ),
    output(
        "a list",
        "llama3",
        Call("\n[ weather(city='Rome', days=3)", "weather", ROME),
        Call(", clock()]", "clock", {}),
        Markup("\n"),
        Content("So."),
    ),
    output("bare", "llama4", Call('{"name": "weather", "parameters": ' + ROME_JSON + "}", "weather", ROME)),
    output(
        "JSON with tags",
        "llama4",
        Content("Ok."),
        Call('\n<|python_start|>{"name": "weather", "parameters": ' + ROME_JSON + "}", "weather", ROME),
        Call('; {"name": "clock", "parameters": {}}<|python_end|>', "clock", {}),
        Content("There."),
    ),
    output(
        "a list with tags",
        "llama4",
        Call("<|python_start|>[weather(city='Rome', days=3)", "weather", ROME),
        Call(", clock()]<|python_end|>", "clock", {}),
    ),
    *(
        output(f"no call: {text}", family, Content(text))
        for family in ("llama3", "llama4", "lfm2")
        for text in (
            "[1, 2, 3]",
            "[Note] hello",
            '["weather"]',
            "[weather is a tool]",
            "[weather]",
            "[stroll(far=1)]",
            '[ {"name": "Bob", "arguments": {}}]',
            '{"name": "Bob", "arguments": {}}',
            "[",
            "[\n ",
            "weather(city='Rome')",
            "Call [clock()]",
        )
    ),
    output(
        "a list with tags",
        "lfm2",
        *THOUGHT,
        Call("<|tool_call_start|>[stroll(far=True)", "stroll", {"far": True}),
        Call(", clock()]<|tool_call_end|>", "clock", {}),
        Content("Checking."),
    ),
    output(
        "JSON with tags",
        "lfm2",
        Content("Ok."),
        Call(' <|tool_call_start|>[{"name": "weather", "arguments": ' + ROME_JSON + "}", "weather", ROME),
        Call(', {"name": "note", "arguments": ' + NESTED_JSON + ', "id": "1"}]<|tool_call_end|>', "note", NESTED),
        Content("Checking."),
    ),
    output(
        "an object with tags",
        "lfm2",
        Call('<|tool_call_start|>\n{"name": "clock", "arguments": {}}\n<|tool_call_end|>', "clock", {}),
    ),
    output("no tag at all", "lfm2", Call('[{"name": "clock", "arguments": {}}]', "clock", {})),
    output(
        "lines",
        "olmo3",
        Call("<function_calls>\nclock()", "clock", {}),
        Call('\nweather(city="Rome", days=3)\n</function_calls>', "weather", ROME),
    ),
    output(
        "a list",
        "mistral",
        Call('[TOOL_CALLS] [{"name": "weather", "arguments": ' + ROME_JSON + ', "id": "abcdefgh1"}', "weather", ROME),
        Call(', {"name": "note", "arguments": ' + NESTED_JSON + "}]", "note", NESTED),
    ),
    output("bare list", "mistral", Call('[{"name": "clock", "arguments": {}}]', "clock", {})),
    output(
        "names",
        "mistral",
        Markup("[THINK]"),
        Thought("hm"),
        Markup("[/THINK]"),
        Content("Ok."),
        Call("[TOOL_CALLS]weather[ARGS]" + ROME_JSON, "weather", ROME),
        Call("[TOOL_CALLS]clock[CALL_ID]abc123[ARGS]{}", "clock", {}),
        Call("[TOOL_CALLS]note{}", "note", {}),
        thinking=ThinkingTags("[THINK]", "[/THINK]"),
    ),
    output(
        "V3",
        "deepseek",
        *THOUGHT,
        Content("So."),
        Call(
            "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>weather\n```json\n"
            + ROME_JSON
            + "\n```<｜tool▁call▁end｜>",
            "weather",
            ROME,
        ),
        Call(
            "\n<｜tool▁call▁begin｜>function<｜tool▁sep｜>note\n```json\n"
            + NESTED_JSON
            + "\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
            "note",
            NESTED,
        ),
    ),
    output(
        "V3.1",
        "deepseek",
        Call("<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>clock<｜tool▁sep｜>{}<｜tool▁call▁end｜>", "clock", {}),
        Call(
            f"<｜tool▁call▁begin｜>weather<｜tool▁sep｜>{ROME_JSON}<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
            "weather",
            ROME,
        ),
    ),
    output(
        "in a fence",
        "command-r",
        Content("Plan: look."),
        Call(
            '\nAction: ```json\n[\n    {\n        "tool_name": "weather",\n        "parameters": '
            + ROME_JSON
            + "\n    }",
            "weather",
            ROME,
        ),
        Call(',\n    {"tool_name": "clock", "parameters": {}}\n]\n```', "clock", {}),
    ),
    output(
        "an action",
        "command-r7b",
        Markup("<|START_THINKING|>"),
        Thought("I will look."),
        Markup("<|END_THINKING|>"),
        Call(
            '<|START_ACTION|>[\n    {"tool_call_id": "0", "tool_name": "weather", "parameters": ' + ROME_JSON + "}",
            "weather",
            ROME,
        ),
        Call(',\n    {"tool_call_id": "1", "tool_name": "clock", "parameters": {}}\n]<|END_ACTION|>', "clock", {}),
        thinking=ThinkingTags("<|START_THINKING|>", "<|END_THINKING|>"),
    ),
    output(
        "a response",
        "command-r7b",
        Markup("<|START_RESPONSE|>"),
        Content("Sunny."),
        Markup("<|END_RESPONSE|>"),
        thinking=None,
    ),
    output(
        "a list",
        "granite",
        Call('<|tool_call|>[{"name": "weather", "arguments": ' + ROME_JSON + "}]", "weather", ROME),
    ),
    output("a tag", "granite", Call('<tool_call>[{"name": "clock", "arguments": {}}]</tool_call>', "clock", {})),
    output("a list", "phi4", Call('<|tool_call|>[{"name": "clock", "arguments": {}}]<|/tool_call|>', "clock", {})),
    output("functools", "phi4", Content("Ok"), Call(' functools[{"name": "clock", "arguments": {}}]', "clock", {})),
    output("talks of functools", "phi4", Content("import functools\n[1]")),
    output(
        "a list", "nemotron", *THOUGHT, Call('<TOOLCALL>[{"name": "clock", "arguments": {}}]</TOOLCALL>', "clock", {})
    ),
    output(
        "a section",
        "kimi",
        Content("Ok."),
        Call(
            "<|tool_calls_section_begin|><|tool_call_begin|>functions.weather:0<|tool_call_argument_begin|>"
            + ROME_JSON
            + "<|tool_call_end|>",
            "weather",
            ROME,
        ),
        Call(
            "<|tool_call_begin|>functions.clock:1<|tool_call_argument_begin|>{}<|tool_call_end|><|tool_calls_section_end|>",
            "clock",
            {},
        ),
    ),
    output(
        "escapes",
        "functiongemma",
        Call("<start_function_call>call:weather{city:<escape>Rome<escape>,days:3}<end_function_call>", "weather", ROME),
        Call(
            '<start_function_call>call:note{text:<escape>a "b" <esc }{<escape>,'
            "tags:[<escape>x<escape>],place:{a:null}}<end_function_call>",
            "note",
            {"text": 'a "b" <esc }{', "tags": ["x"], "place": {"a": None}},
        ),
    ),
    output(
        "long quotes",
        "gemma4",
        Markup("<|channel>thought\n"),
        Thought("hm\n"),
        Markup("<channel|>"),
        Call('<|tool_call>call:weather{city:<|"|>Rome<|"|>,days:3}<tool_call|>', "weather", ROME),
        thinking=ThinkingTags("<|channel>thought", "<channel|>"),
    ),
    output(
        "channels",
        "harmony",
        Markup("<|channel|>analysis<|message|>"),
        Thought("Look it up. {"),
        Markup("<|end|><|start|>assistant<|channel|>commentary<|message|>"),
        Content("Looking."),
        Markup("<|end|>"),
        Call(
            "<|start|>assistant<|channel|>commentary to=functions.weather <|constrain|>json<|message|>"
            + ROME_JSON
            + "<|call|>",
            "weather",
            ROME,
        ),
        prompt_end="<|start|>user<|message|>?<|end|><|start|>assistant",
    ),
    output(
        "the recipient first",
        "harmony",
        Call(" to=functions.clock<|channel|>commentary json<|message|>{}", "clock", {}),
        prompt_end="<|start|>assistant",
    ),
    output(
        "no end",
        "harmony",
        Markup("<|channel|>analysis<|message|>"),
        Thought("Easy."),
        Markup("<|start|>assistant<|channel|>final<|message|>"),
        Content("Sunny, a < b."),
        Markup("<|return|>"),
    ),
    output(
        "a begun message",
        "harmony",
        Thought("hm"),
        Markup("<|end|>"),
        prompt_end="<|start|>assistant<|channel|>analysis<|message|>",
    ),
    output("no messages", "harmony", Content("Sunny.")),
    Output(
        "a tag of its own",
        tagged("<call>"),
        [
            Content("Ok."),
            Call('\n<call>{"name": "weather", "arguments": ' + ROME_JSON + "}</call>", "weather", ROME),
            Call('<call>clock {"arguments": {}}', "clock", {}),
            Call('<call>weather_note_clock {"days": 3}', "weather", {"days": 3}),
        ],
    ),
    Output(
        "a list behind a tag of its own",
        tagged("CALLS:"),
        [
            Call('CALLS: [{"name": "weather", "arguments": ' + ROME_JSON + "}", "weather", ROME),
            Call(', {"name": "clock", "parameters": {}}]', "clock", {}),
        ],
    ),
    *TAG_OUTPUTS,
]
"""The written-out outputs."""
