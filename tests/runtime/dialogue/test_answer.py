"""Answers, from written-out outputs of the families: whole, in pieces, with text behind, and cut off."""

from __future__ import annotations

import itertools
import re
import time

import pytest
from corral.runtime.dialogue.families.table import FAMILIES, UNKNOWN, AnswerForm
from corral.runtime.dialogue.parts import Called, Content, Part, Thought
from corral.runtime.dialogue.scanner import MAX_CALL, MAX_DEPTH
from hypothesis import given, strategies

from tests.property.conftest import CHECKED
from tests.runtime.dialogue.outputs import OUTPUTS
from tests.runtime.dialogue.segments import BY_NAME, THINK, Call, Markup, Output, merged, parsed

all_outputs = pytest.mark.parametrize("output", OUTPUTS, ids=lambda output: output.title)


def said(parts: list[Part]) -> str:
    """All that is not called, without blanks."""
    return unblanked("".join(part.text for part in parts if not isinstance(part, Called)))


def unblanked(text: str) -> str:
    return re.sub(r"\s", "", text)


def called(parts: list[Part]) -> list[str]:
    return [part.call.name for part in parts if isinstance(part, Called)]


@all_outputs
def test_an_output_is_parsed_whole(output: Output) -> None:
    assert parsed(output.parser(), [output.text]) == output.parts


@all_outputs
def test_an_output_is_parsed_character_by_character(output: Output) -> None:
    assert parsed(output.parser(), output.text) == output.parts


@all_outputs
def test_an_output_is_parsed_in_any_two_pieces(output: Output) -> None:
    for cut in range(len(output.text)):
        assert parsed(output.parser(), [output.text[:cut], output.text[cut:]]) == output.parts


@all_outputs
def test_text_behind_an_output_is_content_unless_it_is_still_a_thought(output: Output) -> None:
    more = " And so on. "
    is_thought = isinstance(output.segments[-1], Thought)
    after_call = isinstance([one for one in output.segments if not isinstance(one, Markup)][-1], Call)
    expected = Thought(more) if is_thought else Content(more.lstrip() if after_call else more)
    assert parsed(output.parser(), [output.text, more]) == merged([*output.parts, expected])
    assert parsed(output.parser(), output.text + more) == merged([*output.parts, expected])


@all_outputs
def test_nothing_is_lost_of_an_output_that_is_cut_off(output: Output) -> None:
    at = 0
    before, calls = "", list[str]()
    for segment in output.segments:
        for cut in range(at, at + len(segment.text)):
            piece = unblanked(output.text[at:cut])
            parts = parsed(output.parser(), [output.text[:cut]])
            assert said(parts).startswith(before)
            rest = said(parts).removeprefix(before)
            if called(parts) != calls:
                assert isinstance(segment, Call)
                assert called(parts) == [*calls, segment.name]
                assert piece.endswith(rest)
            elif isinstance(segment, Markup):
                assert piece.endswith(rest)
            else:
                assert rest == piece
        at += len(segment.text)
        before += unblanked(segment.text) if isinstance(segment, Content | Thought) else ""
        calls += [segment.name] if isinstance(segment, Call) else []


@all_outputs
def test_without_tools_nothing_is_called(output: Output) -> None:
    parts = parsed(output.parser([]), output.text)
    assert called(parts) == []
    if output.family.name != "harmony":
        assert parsed(output.parser([], thinks=False), output.text) == [Content(output.text)]


@all_outputs
def test_unless_it_thinks_its_tags_are_content_or_its_thoughts_are_left_out(output: Output) -> None:
    parts = parsed(output.parser(thinks=False), output.text)
    assert not any(isinstance(part, Thought) for part in parts)
    if output.family.name == "harmony":
        assert parts == [part for part in parsed(output.parser(), output.text) if not isinstance(part, Thought)]


@pytest.mark.parametrize(
    ("family", "text"),
    [
        ("hermes", "<tool_call>"),
        ("hermes", '<tool_call>{"name": "weather", "arguments": {"city": "Rome"}'),
        ("hermes", '<tool_call>{"name": "weather", "arguments": {"city": NaN}}</tool_call>'),
        ("hermes", '<tool_call>{"name": "weather", "arguments": {"city": -Infinity}}</tool_call>'),
        ("hermes", '<tool_call>{"name": "weather", "arguments": {"days": 1e999}}</tool_call>'),
        ("hermes", '<tool_call>{"name": "weather", "arguments": {"days": %s}}</tool_call>' % ("9" * 5000)),
        ("hermes", '<tool_call>{"name": "weather", "arguments": {"days": 1,}}</tool_call>'),
        ("hermes", "<tool_call>{'name': 'weather', 'arguments': {}}</tool_call>"),
        ("hermes", '<tool_call>{"name": "weather", "arguments": [1]}</tool_call>'),
        ("hermes", '<tool_call>{"name": "weather", "arguments": "Rome"}</tool_call>'),
        ("hermes", '<tool_call>{"name": "weather", "city": "Rome"}</tool_call>'),
        ("hermes", '<tool_call>{"name": "", "arguments": {}}</tool_call>'),
        ("hermes", '<tool_call>{"name": 1, "arguments": {}}</tool_call>'),
        ("hermes", '<tool_call>{"arguments": {}}</tool_call>'),
        ("hermes", '<tool_call>{"name": "weather", "arguments": {"city": [}}</tool_call>'),
        ("hermes", "<tool_call>[]</tool_call>"),
        ("hermes", "<tool_call>" + '{"a":' * (MAX_DEPTH + 1) + "1" + "}" * (MAX_DEPTH + 1)),
        ("hermes", '<tool_call>{"name": "weather", "arguments": "%s"}' % (r"{\"a\":" * 70 + "1" + "}" * 70)),
        ("hermes", "<tool_call>" + "a" * 300 + "</tool_call>"),
        ("hermes", '{"name": "stroll", "arguments": {}}'),
        ("hermes", '{"name": "weather"}'),
        ("hermes", ' {"nam'),
        ("hermes", 'Say {"name": "weather", "arguments": {}}'),
        ("qwen3-coder", "<tool_call><function=weather><parameter=city>Rome"),
        ("qwen3-coder", "<tool_call><function=weather>Rome</function></tool_call>"),
        ("qwen3-coder", "<tool_call><function=></function></tool_call>"),
        ("glm", "<tool_call>weather\n<arg_key>city</arg_key>\n<arg_value>Rome</arg_value>\n"),
        ("glm", "<tool_call>weather\n<arg_key>city</arg_key>Rome</tool_call>"),
        ("tool-calls", "<tool_calls>"),
        ("tool-calls", "<tool_calls>[]</tool_calls>"),
        ("tool-calls", '<tool_calls>\n{"name": "weather", "arguments": [1]}</tool_calls>'),
        ("tool-calls", "<tool_calls><tool_call>stroll</tool_call></tool_calls>"),
        ("tool-calls", "<tool_calls><tool_call>weather\n```json\n[1]\n```</tool_call></tool_calls>"),
        ("tool-calls", "<tool_calls><tool_call>weather\n```json\n{}\n``"),
        ("tool-calls", "<answer><tool_calls>or so</answer>"),
        ("lfm2", '<|tool_call_start|>[{"name": "weather", "arguments": [1]}]<|tool_call_end|>'),
        ("lfm2", '<|tool_call_start|>["weather"]<|tool_call_end|>'),
        ("lfm2", "<|tool_call_start|>" + " " * 300),
        ("llama4", '<|python_start|>print("hello")<|python_end|>'),
        ("llama3", "[weather(city=Rome)]"),
        ("llama3", "[" + " " * 300 + "weather()]"),
        ("llama4", '[weather(city="Rome"'),
        ("llama4", '[weather("Rome")]'),
        ("llama4", "[weather(city=Rome)]"),
        ("llama4", "[weather(city=1 2)]"),
        ("llama4", "[weather(city=__import__('os').system('x'))]"),
        ("llama4", "[weather(city=1e999)]"),
        ("llama4", "[weather(city={1: 2})]"),
        ("llama4", "[weather(" + "[" * 100 + "]" * 100 + ")]"),
        ("llama4", 'weather(city="Rome")'),
        ("llama3", '<|python_tag|>print("hello")'),
        ("mistral", "[TOOL_CALLS]weather[ARGS]"),
        ("mistral", "[TOOL_CALLS]{}"),
        ("deepseek", "<｜tool▁calls▁begin｜> and so on"),
        ("deepseek", "<｜tool▁call▁begin｜>function<｜tool▁sep｜>weather {}"),
        ("kimi", "<|tool_call_begin|>functions.weather:0{}"),
        ("deepseek-dsml", "<｜DSML｜function_calls> and so on"),
        ("deepseek-dsml", "<｜DSML｜function_calls></｜DSML｜function_calls>"),
        ("deepseek-dsml", '<｜DSML｜tool_calls><invoke name="weather"></invoke></｜DSML｜tool_calls>'),
        ("deepseek-dsml", '<｜DSML｜tool_calls><｜DSML｜invoke name=""></｜DSML｜invoke></｜DSML｜tool_calls>'),
        ("deepseek-dsml", '<｜DSML｜tool_calls><｜DSML｜invoke name="weather">Rome</｜DSML｜invoke>'),
        (
            "deepseek-dsml",
            '<｜DSML｜tool_calls><｜DSML｜invoke name="weather"><｜DSML｜parameter name="city" string="tr',
        ),
        (
            "deepseek-dsml",
            '<｜DSML｜tool_calls><｜DSML｜invoke name="weather"><｜DSML｜parameter name="city" string="x">',
        ),
        ("command-r", 'Action: [{"tool_name": "weather", "parameters": {}}]'),
        ("minimax", "<minimax:tool_call>weather</minimax:tool_call>"),
        ("functiongemma", "<start_function_call>call:weather{city:<escape>Rome}<end_function_call>"),
        ("functiongemma", "<start_function_call>weather{}<end_function_call>"),
        ("functiongemma", "<start_function_call>call:weather{city:Rome}<end_function_call>"),
        ("harmony", "<|channel|>commentary to=functions.weather<|message|>Rome<|call|>"),
        ("harmony", "<|channel|>analysis, or so"),
        ("harmony", "<|channel|>" * 20),
    ],
)
def test_error_what_is_no_call_is_content_as_it_was_written(family: str, text: str) -> None:
    parser = Output("", BY_NAME[family], []).parser
    assert parsed(parser(), [text]) == [Content(text)]
    assert parsed(parser(), text) == [Content(text)]


def test_a_call_comes_as_soon_as_it_is_complete() -> None:
    parser = Output("", BY_NAME["hermes"], []).parser()
    assert parser.feed('<tool_call>\n{"name": "clock", "arguments": {}') == []
    assert called(parser.feed("}")) == ["clock"]
    assert parser.feed("\n</tool_call>") == []
    assert parser.end() == []


def test_text_is_held_back_only_while_it_may_be_markup() -> None:
    parser = Output("", BY_NAME["hermes"], []).parser()
    assert parser.feed("a <") == [Content("a")]
    assert parser.feed("tool_c") == []
    assert parser.feed("at> ") == [Content(" <tool_cat>")]
    assert parser.feed("b") == [Content(" b")]
    assert parser.end() == []


def test_an_answer_in_json_is_held_back_only_while_it_may_be_a_call() -> None:
    parser = Output("", UNKNOWN, []).parser()
    assert parser.feed('{ "na') == []
    assert parser.feed('tion": ') == [Content('{ "nation":')]


def test_calls_count_from_0_and_have_the_ids_that_are_made() -> None:
    output = next(output for output in OUTPUTS if len(called(output.parts)) == 2)
    calls = [part.call for part in parsed(output.parser(), output.text) if isinstance(part, Called)]
    assert [(call.index, call.id) for call in calls] == [(0, "call_id"), (1, "call_id")]


def test_a_parser_says_which_control_tokens_it_has_to_see() -> None:
    output = Output("", BY_NAME["hermes"], [])
    assert output.parser().special_tokens == {"<tool_call>", "</tool_call>", "<think>", "</think>"}
    assert output.parser([], thinks=False).special_tokens == frozenset()
    assert "<|message|>" in Output("", BY_NAME["harmony"], []).parser([], thinks=False).special_tokens


def test_a_call_that_is_too_long_is_content() -> None:
    text = '<tool_call>{"name": "note", "arguments": {"text": "' + "a" * MAX_CALL + '"}}</tool_call>'
    output = Output("", BY_NAME["hermes"], [])
    assert parsed(output.parser(), [text]) == [Content(text)]
    pieces = [text[at : at + 1000] for at in range(0, len(text), 1000)]
    assert parsed(output.parser(), pieces) == [Content(text)]


HOSTILE = {
    "braces": "{",
    "brackets": "[",
    "angles": "<",
    "blanks": " ",
    "tags": "<tool_call>",
    "an open list": '<tool_call>[{"a":[],',
    "open strings": '<tool_call>{"',
    "backslashes": '<tool_call>{"a": "\\\\',
    "half tags": "</tool_cal",
    "ends": "<tool_call><function=f><parameter=a></parameter>",
    "calls": '<tool_call>{"name": "a", "arguments": {}}',
    "keys": "<tool_call>f<arg_key>a</arg_key><arg_value>b</arg_value>",
    "DSML": '<｜DSML｜parameter name="a" string="true"></｜DSML｜parameter>',
}


@pytest.mark.parametrize(
    ("family", "begun"),
    [
        ("qwen3-coder", ""),
        ("qwen3-coder", '<tool_call>{"a": "'),
        ("qwen3-coder", "<tool_call>["),
        ("qwen3-coder", "<tool_call><function=f><parameter=a>"),
        ("qwen3-coder", "<think>"),
        ("deepseek-dsml", '<｜DSML｜tool_calls><｜DSML｜invoke name="f">'),
        ("tool-calls", "<tool_calls>"),
        ("llama4", "[clock(a="),
    ],
)
@pytest.mark.parametrize("repeated", HOSTILE.values(), ids=HOSTILE.keys())
def test_the_time_grows_with_the_text_only(repeated: str, family: str, begun: str) -> None:
    def seconds(size: int) -> float:
        text = begun + repeated * (size // len(repeated))
        started = time.process_time()
        parsed(Output("", BY_NAME[family], []).parser(), (text[at : at + 2] for at in range(0, len(text), 2)))
        return time.process_time() - started

    least = min(seconds(5_000) for _ in range(3))
    assert min(seconds(80_000) for _ in range(2)) < 16 * 4 * max(least, 0.001)


FORMS = [AnswerForm(family=family, thinking=THINK) for family in (UNKNOWN, *FAMILIES)]
WORDS = [
    *sorted({token for form in FORMS for token in form.special_tokens}),
    *(
        '{"name": "weather", "arguments": {}}',
        "clock()",
        '"arguments":',
        '{"days": 1}',
        "call:weather{city:",
        "= ",
        "\n",
    ),
    *("weather", "city", "function", "analysis", "json", "<parameter=city>", "</parameter>", "</function>"),
    *("to=functions.clock", "1", "é", "[", "]", "{", "}", '"', "\\", ",", ":", "(", ")", "<", ";", "```"),
]
TEXTS = strategies.lists(strategies.sampled_from(WORDS) | strategies.text(max_size=3), max_size=20).map("".join)


@CHECKED
@given(form=strategies.sampled_from(FORMS), text=TEXTS, cuts=strategies.sets(strategies.integers(0, 400)))
def test_how_a_text_is_cut_into_pieces_changes_nothing(form: AnswerForm, text: str, cuts: set[int]) -> None:
    """ "However it is cut into pieces, the parts are the same"."""
    output = Output("", form.family, [], form.thinking)
    bounds = [0, *sorted(cut for cut in cuts if cut < len(text)), len(text)]
    pieces = [text[start:end] for start, end in itertools.pairwise(bounds)]
    whole = parsed(output.parser(), [text])
    assert parsed(output.parser(), pieces) == whole
    assert parsed(output.parser(), text) == whole


@CHECKED
@given(
    output=strategies.sampled_from(OUTPUTS),
    bounds=strategies.tuples(strategies.integers(0, 400), strategies.integers(0, 40)),
    word=strategies.sampled_from(["", *WORDS]),
)
def test_nor_does_it_for_a_damaged_output(output: Output, bounds: tuple[int, int], word: str) -> None:
    """ "However it is cut into pieces, the parts are the same"."""
    start, size = bounds[0] % len(output.text), bounds[1]
    text = output.text[:start] + word + output.text[start + size :]
    whole = parsed(output.parser(), [text])
    assert parsed(output.parser(), text) == whole
    assert all(parsed(output.parser(), [text[:cut], text[cut:]]) == whole for cut in range(start, start + 20))


@CHECKED
@given(form=strategies.sampled_from(FORMS[:1] + FORMS[2:]), text=TEXTS)
def test_without_tools_and_thinking_content_is_the_text(form: AnswerForm, text: str) -> None:
    """ "Without tools no call is looked for; unless it thinks, the tags of thoughts are content"."""
    output = Output("", form.family, [], form.thinking)
    assert parsed(output.parser([], thinks=False), text) == ([Content(text)] if text else [])


@CHECKED
@given(text=TEXTS)
def test_without_markup_nothing_is_lost(text: str) -> None:
    """ "Nothing the model says is lost"."""
    parts = parsed(Output("", UNKNOWN, [], None).parser(), [text])
    if not called(parts):
        assert merged(parts) == ([Content(text)] if text else [])
