"""Tag outputs: what models write whose calls, or arguments, stand between tags that look like XML's."""

from __future__ import annotations

from corral.runtime.dialogue.parts import Content

from tests.runtime.dialogue.segments import (
    NESTED,
    NESTED_JSON,
    ROME,
    ROME_JSON,
    THOUGHT,
    Call,
    Markup,
    hermes,
    output,
)


def _element(name: str, **parameters: str) -> str:
    inner = "".join(f"<parameter={key}>\n{value}\n</parameter>\n" for key, value in parameters.items())
    return f"<tool_call>\n<function={name}>\n{inner}</function>\n</tool_call>"


def _dsml(name: str, *parameters: tuple[str, str, str]) -> str:
    inner = "".join(
        f'<｜DSML｜parameter name="{key}" string="{is_text}">{value}</｜DSML｜parameter>\n'
        for key, is_text, value in parameters
    )
    return f'<｜DSML｜invoke name="{name}">\n{inner}</｜DSML｜invoke>\n'


TAG_OUTPUTS = [
    output(
        "elements",
        "qwen3-coder",
        *THOUGHT,
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
    output("no outer tag", "qwen3-coder", Call("<function=clock>\n</function>", "clock", {})),
    output("no inner end", "qwen3-coder", Call("<tool_call><function=clock>\n</tool_call>", "clock", {})),
    output(
        "odd values",
        "qwen3-coder",
        Call(_element("weather", days="many", where="[1]"), "weather", {"days": "many", "where": "[1]"}),
    ),
    output(
        "keys and values",
        "glm",
        *THOUGHT,
        Content("Hm."),
        Call(
            "\n<tool_call>weather\n<arg_key>city</arg_key>\n<arg_value>Rome</arg_value>\n"
            "<arg_key>days</arg_key>\n<arg_value>3</arg_value>\n</tool_call>",
            "weather",
            ROME,
        ),
        Call("\n<tool_call>clock\n</tool_call>", "clock", {}),
    ),
    output(
        "V3.2",
        "deepseek-dsml",
        *THOUGHT,
        Content("So."),
        Call(
            "\n\n<｜DSML｜function_calls>\n" + _dsml("weather", ("city", "true", "Rome"), ("days", "false", "3")),
            "weather",
            ROME,
        ),
        Call(
            _dsml("note", ("text", "true", "\n12</｜DSML｜parameter> x\n"), ("tags", "false", '["a"]'))
            + "</｜DSML｜function_calls>",
            "note",
            {"text": "\n12</｜DSML｜parameter> x\n", "tags": ["a"]},
        ),
        Markup("\n"),
        Content("There."),
    ),
    output(
        "V4",
        "deepseek-dsml",
        Call("<｜DSML｜tool_calls>\n" + _dsml("clock") + "</｜DSML｜tool_calls>", "clock", {}),
        Call(
            "\n<｜DSML｜tool_calls>" + _dsml("stroll", ("far", "false", '{"a": [1]}')) + "</｜DSML｜tool_calls>",
            "stroll",
            {"far": {"a": [1]}},
        ),
    ),
    output(
        "what the values are",
        "deepseek-dsml",
        Call(
            "<｜DSML｜tool_calls>\n" + _dsml("weather", ("city", "false", "12"), ("days", "true", "3")),
            "weather",
            {"city": 12, "days": "3"},
        ),
        Call(
            _dsml("note", ("urgent", "false", "True"), ("text", "false", "[1,"), ("weight", "false", "\n1e2\n")),
            "note",
            {"urgent": True, "text": "[1,", "weight": 100.0},
        ),
        Call(
            _dsml("weather", ("days", "", "3")).replace(' string=""', "") + "</｜DSML｜tool_calls>",
            "weather",
            {"days": 3},
        ),
    ),
    output(
        "invocations",
        "minimax",
        *THOUGHT,
        Call(
            '<minimax:tool_call>\n<invoke name="weather">\n<parameter name="city">Rome</parameter>\n'
            '<parameter name="days">3</parameter>\n</invoke>',
            "weather",
            ROME,
        ),
        Call('\n<invoke name="clock">\n</invoke>\n</minimax:tool_call>', "clock", {}),
    ),
    output(
        "a list",
        "tool-calls",
        *THOUGHT,
        Content("Ok."),
        Call('\n<tool_calls>[{"name": "weather", "arguments": ' + ROME_JSON + "}", "weather", ROME),
        Call(', {"name": "note", "arguments": ' + NESTED_JSON + ', "id": "1"}]</tool_calls>', "note", NESTED),
        Content("There."),
    ),
    output(
        "lines",
        "tool-calls",
        Call('<tool_calls>\n{"name": "weather", "arguments": ' + ROME_JSON + "}\n", "weather", ROME),
        Call('{"name": "clock", "arguments": {}}\n</tool_calls>', "clock", {}),
    ),
    output(
        "fences",
        "tool-calls",
        Call(f"<tool_calls><tool_call>weather\n```json\n{ROME_JSON}\n```</tool_call>", "weather", ROME),
        Call("\n<tool_call>stroll\n```json\n{}\n```\n</tool_call></tool_calls>", "stroll", {}),
        Markup("\n"),
        Content("There."),
    ),
    *(
        output(
            f"an answer that is a call: {between!r}",
            "tool-calls",
            *THOUGHT,
            Call(f'<answer>{between}<tool_calls>[{{"name": "clock"}}]</tool_calls>{between}</answer>', "clock", {}),
        )
        for between in ("", "\n")
    ),
    output("an answer", "tool-calls", Content("<answer>\nA list of <tool_calls> or so.\n</answer>")),
    output("a call of its own", "tool-calls", Call(hermes(ROME_JSON), "weather", ROME)),
    output(
        "elements",
        "seed",
        Call(_element("weather", city="Rome", days="3").replace("tool_call>", "seed:tool_call>"), "weather", ROME),
    ),
]
"""The written-out outputs of such families."""
