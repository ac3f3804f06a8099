"""Published chat templates: rendered here as Hugging Face's conventions have it, which a plain Jinja environment shows.

published/ has them in the words of this project: test_named.py says more.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from corral.modelfile.template.conversation import ChatMessage, Conversation, Think
from corral.modelfile.template.errors import TemplateError
from corral.modelfile.template.jinja import render_jinja
from jinja2.sandbox import ImmutableSandboxedEnvironment

FOLDER = Path(__file__).parent / "published"
FILES = sorted(path.stem for path in FOLDER.glob("*.jinja"))
HEADER = re.compile(r"\{#- .+? \| (?P<bos>.*?) ?\| (?P<eos>.+) #\}\n")
NOW = datetime(2024, 3, 1, tzinfo=UTC)

Message = dict[str, Any]


@dataclass(frozen=True)
class Talk:
    """A conversation: in the shape of Ollama's API, and in the shape that Hugging Face gives templates to see."""

    asked: list[Message]
    seen: list[Message]
    tools: list[Message] = field(default_factory=list[Message])
    think: Think = None
    variables: dict[str, Any] = field(default_factory=dict[str, Any])


def said(role: str, content: str) -> Message:
    return {"role": role, "content": content}


def plain(*messages: Message) -> Talk:
    """A conversation that looks the same in both shapes."""
    return Talk([*messages], [*messages])


TOOL: Message = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": 'Says <how> it "is".',
        "parameters": {
            "type": "object",
            "required": ["city"],
            "properties": {
                "unit": {"type": ["string", "number"], "enum": ["C", "F"], "description": " Of degrees "},
                "city": {"type": "string", "description": "Where"},
            },
        },
    },
}
CLOCK: Message = {
    "type": "function",
    "function": {"name": "clock", "description": "Tells the time.", "parameters": {"type": "object", "properties": {}}},
}
CALLS_ASKED: list[Message] = [
    {"id": "abcdefgh1", "function": {"name": "weather", "arguments": {"unit": "C", "city": "Köln <&>"}}},
    {"id": "abcdefgh2", "function": {"name": "clock", "arguments": {}}},
]
CALLS_SEEN: list[Message] = [
    {"id": "abcdefgh1", "type": "function", "function": CALLS_ASKED[0]["function"]},
    {"id": "abcdefgh2", "type": "function", "function": CALLS_ASKED[1]["function"]},
]
WEATHER_ASKED = said("tool", "22°, sunny") | {"tool_name": "weather", "tool_call_id": "abcdefgh1"}
WEATHER_SEEN = said("tool", "22°, sunny") | {"name": "weather", "tool_call_id": "abcdefgh1"}
CLOCK_ASKED = said("tool", "noon") | {"tool_name": "clock", "tool_call_id": "abcdefgh2"}
CLOCK_SEEN = said("tool", "noon") | {"name": "clock", "tool_call_id": "abcdefgh2"}
QUESTION = said("user", "How is it in Köln?")
THOUGHT = "<think>\nA bird?\n</think>\n\nYes."

TALKS = {
    "asked": plain(said("user", "hi")),
    "told": plain(said("system", "Be\n\nbrief."), said("user", " hi \n")),
    "turns": plain(said("user", "你好 🌍"), said("assistant", " {{ x }} <&>\n"), said("user", "a\n\nb")),
    "told turns": plain(said("system", " s "), said("user", "1"), said("assistant", "2"), said("user", "3")),
    "told twice": plain(said("system", "s"), said("user", "1"), said("system", "t"), said("user", "2")),
    "begun reply": plain(said("user", "1"), said("assistant", "2")),
    "thought in the text": plain(said("user", "1"), said("assistant", THOUGHT), said("user", "2")),
    "thought": Talk(
        [said("user", "1"), said("assistant", "2") | {"thinking": "hm"}],
        [said("user", "1"), said("assistant", "2") | {"thinking": "hm", "reasoning_content": "hm"}],
    ),
    "no thinking": Talk(
        [said("user", "hi")],
        [said("user", "hi")],
        think=False,
        variables={"enable_thinking": False, "thinking": False},
    ),
    "tools": Talk([said("system", "s"), QUESTION], [said("system", "s"), QUESTION], [TOOL, CLOCK]),
    "called": Talk(
        [QUESTION, said("assistant", "") | {"tool_calls": CALLS_ASKED[:1]}, WEATHER_ASKED],
        [QUESTION, said("assistant", "") | {"tool_calls": CALLS_SEEN[:1]}, WEATHER_SEEN],
        [TOOL],
    ),
    "called both": Talk(
        [
            *(QUESTION, said("assistant", "Let me see.") | {"tool_calls": CALLS_ASKED}, WEATHER_ASKED, CLOCK_ASKED),
            *(said("assistant", "It is fine."), said("user", "And in Bonn?")),
        ],
        [
            *(QUESTION, said("assistant", "Let me see.") | {"tool_calls": CALLS_SEEN}, WEATHER_SEEN, CLOCK_SEEN),
            *(said("assistant", "It is fine."), said("user", "And in Bonn?")),
        ],
        [TOOL, CLOCK],
    ),
}


@dataclass(frozen=True)
class Published:
    """A chat template and its special tokens."""

    text: str
    bos: str
    eos: str


def read(file: str) -> Published:
    text = (FOLDER / f"{file}.jinja").read_text()
    header = HEADER.match(text)
    assert header, "its first line has name, BOS and EOS"
    return Published(text, header["bos"], header["eos"])


def ours(file: str, talk: Talk) -> str:
    template = read(file)
    conversation = Conversation([*map(ChatMessage.read, talk.asked)], talk.tools, talk.think)
    return render_jinja(template.text, conversation, bos=template.bos, eos=template.eos, now=lambda: NOW)


class RefusedError(Exception):
    """What a chat template raises."""


def refuse(reason: str) -> None:
    raise RefusedError(reason)


def to_json(value: object, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)


TAKES_TEXT = {"deepseek-r1-distill"}
"""Templates that see a call only in a message without content, and its arguments as JSON text."""


def as_text(message: dict[str, Any]) -> dict[str, Any]:
    """The message as such a template wants it."""
    calls = [
        {**call, "function": {**call["function"], "arguments": to_json(call["function"]["arguments"])}}
        for call in message.get("tool_calls", [])
    ]
    return {**message, "content": message["content"] or None, "tool_calls": calls} if calls else message


def plain_jinja(file: str, talk: Talk) -> str:
    template = read(file)
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = to_json
    return environment.from_string(template.text).render(
        messages=[as_text(message) for message in talk.seen] if file in TAKES_TEXT else talk.seen,
        tools=talk.tools or None,
        documents=None,
        add_generation_prompt=True,
        bos_token=template.bos,
        eos_token=template.eos,
        raise_exception=refuse,
        strftime_now=NOW.strftime,
        **talk.variables,
    )


ONLY_ALTERNATING = {"called", "called both"}
NO_SYSTEM = {"told", "told turns", "told twice", "tools"}
REFUSED = {
    "alfred-40b": ONLY_ALTERNATING,
    "codellama-70b-instruct": ONLY_ALTERNATING,
    "command-r": ONLY_ALTERNATING,
    "falcon-7b-instruct": ONLY_ALTERNATING,
    "gemma-2-it": ONLY_ALTERNATING | NO_SYSTEM,
    "gemma-3-it": ONLY_ALTERNATING,
    "hermes-3-tool-use": set(TALKS) - {"tools", "called", "called both"},
    "llama-2-chat": ONLY_ALTERNATING,
    "llama-3.1-instruct": {"called both"},
    "llama-3.2-instruct": {"called both"},
    "magicoder-s-ds": NO_SYSTEM,
    "mistral-7b-instruct-v0.1": ONLY_ALTERNATING | NO_SYSTEM,
    "mistral-7b-instruct-v0.2": ONLY_ALTERNATING | {"told twice"},
    "mistral-7b-instruct-v0.3": {"told twice"},
    "mistral-nemo-instruct-2407": {"told twice"},
    "mixtral-8x7b-instruct-v0.1": ONLY_ALTERNATING | NO_SYSTEM,
    "starcoder2-15b-instruct": NO_SYSTEM,
    "vicuna-1.5": {"told twice", "called", "called both"},
}
"""Which conversations a template raises an error for; those of the rest raise none."""


@pytest.mark.parametrize("name", TALKS)
@pytest.mark.parametrize("file", FILES)
def test_prompt_is_what_plain_jinja_gives(file: str, name: str) -> None:
    if name in REFUSED.get(file, ()):
        with pytest.raises((RefusedError, TypeError)):
            plain_jinja(file, TALKS[name])
        with pytest.raises(TemplateError):
            ours(file, TALKS[name])
    else:
        assert ours(file, TALKS[name]) == plain_jinja(file, TALKS[name])


WEATHER_JSON = (
    '{"name": "weather", "description": "Says <how> it \\"is\\".", "parameters": {"type": "object", "required": ["city"], '
    '"properties": {"unit": {"type": ["string", "number"], "enum": ["C", "F"], "description": " Of degrees "}, '
    '"city": {"type": "string", "description": "Where"}}}}'
)
QWEN_TOOLS = (
    "\n\n# Tools\n\nYou may call one or more functions to assist with the user query.\n\n"
    "You are provided with function signatures within <tools></tools> XML tags:\n<tools>\n"
    f'{{"type": "function", "function": {WEATHER_JSON}}}\n</tools>\n\n'
    "For each function call, return a json object with function name and arguments within <tool_call></tool_call> XML tags:\n"
    '<tool_call>\n{"name": <function-name>, "arguments": <args-json-object>}\n</tool_call><|im_end|>\n'
)
QWEN_CALL = (
    "<|im_start|>user\nHow is it in Köln?<|im_end|>\n<|im_start|>assistant\n<tool_call>\n"
    '{"name": "weather", "arguments": {"unit": "C", "city": "Köln <&>"}}\n</tool_call><|im_end|>\n'
    "<|im_start|>user\n<tool_response>\n22°, sunny\n</tool_response><|im_end|>\n<|im_start|>assistant\n"
)
NEMO_TOOLS = '[AVAILABLE_TOOLS][{"type": "function", "function": ' + WEATHER_JSON.replace('\\"is\\"', '"is"')
EXACT = {
    ("llama-3.1-instruct", "told"): "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\n"
    "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\nBe\n\nbrief.<|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\nhi<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
    ("llama-3.2-instruct", "asked"): "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\n"
    "Cutting Knowledge Date: December 2023\nToday Date: 01 Mar 2024\n\n<|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\nhi<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
    ("granite-3.1-instruct", "asked"): "<|start_of_role|>system<|end_of_role|>Knowledge Cutoff Date: April 2024.\n"
    "Today's Date: March 01, 2024.\nYou are Granite, developed by IBM. You are a helpful AI assistant.<|end_of_text|>\n"
    "<|start_of_role|>user<|end_of_role|>hi<|end_of_text|>\n<|start_of_role|>assistant<|end_of_role|>",
    (
        "qwen2.5-instruct",
        "called",
    ): "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant."
    + QWEN_TOOLS
    + QWEN_CALL,
    ("qwen3", "called"): "<|im_start|>system\n" + QWEN_TOOLS.lstrip() + QWEN_CALL,
    ("qwen3", "no thinking"): "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n",
    ("qwen3", "thought in the text"): "<|im_start|>user\n1<|im_end|>\n<|im_start|>assistant\nYes.<|im_end|>\n"
    "<|im_start|>user\n2<|im_end|>\n<|im_start|>assistant\n",
    ("deepseek-r1-distill", "thought in the text"): "<｜begin▁of▁sentence｜><｜User｜>1<｜Assistant｜>\n\nYes."
    "<｜end▁of▁sentence｜><｜User｜>2<｜Assistant｜><think>\n",
    ("mistral-nemo-instruct-2407", "called"): f"<s>{NEMO_TOOLS}}}][/AVAILABLE_TOOLS][INST]How is it in Köln?[/INST]"
    '[TOOL_CALLS][{"name": "weather", "arguments": {"unit": "C", "city": "Köln <&>"}, "id": "abcdefgh1"}]</s>'
    '[TOOL_RESULTS]{"content": 22°, sunny, "call_id": "abcdefgh1"}[/TOOL_RESULTS]',
}


@pytest.mark.parametrize("case", EXACT, ids=", ".join)
def test_prompt_is_exactly_this(case: tuple[str, str]) -> None:
    file, name = case
    assert ours(file, TALKS[name]) == EXACT[case]
