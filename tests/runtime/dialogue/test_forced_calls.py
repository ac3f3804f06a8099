"""Forced calls: the grammar asks for a call in JSON and the parser reads it, whatever the model's family writes else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from corral.modelfile.template.conversation import Conversation
from corral.runtime.answering import Answering
from corral.runtime.dialogue.families.recognition import form_of
from corral.runtime.dialogue.families.table import FAMILIES, Family
from corral.runtime.dialogue.parts import Called, Thought
from corral.runtime.dialogue.prompt import Draft, Templates
from corral.runtime.dialogue.schema import after_thinking, call_grammar
from corral.runtime.request import Calls, Chat, InferenceRequest
from corral.runtime.served import ModelFacts
from corral.store.config import Config
from corral.store.header import GGUF

from corral import Name
from tests.runtime.dialogue.segments import TOOLS, merged, parsed

MODEL = ModelFacts(
    name=Name.parse("m"),
    config=Config(),
    weights=Path("m.gguf"),
    header=GGUF(3, {}, (), 32, 0, {}),
    template="",
    system="",
    messages=(),
    parameters={},
    has_projector=False,
)
CALL = '{"name": "weather", "arguments": {"city": "Rome", "days": 3}}'


def answering(template: str, calls: Calls = "required", **others: Any) -> Answering:
    task = Chat(messages=(), tools=TOOLS, calls=calls, **others)
    draft = Draft(conversation=Conversation((), TOOLS, think=True), templates=Templates(jinja=template))
    return Answering.of(MODEL, InferenceRequest(model="m", task=task), draft)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
@pytest.mark.parametrize("tool", ["", "weather"])
def test_a_forced_call_is_read_whatever_the_family(family: Family, tool: str) -> None:
    template = " ".join(family.marks[0])
    assert form_of(template="", chat_template=template, family="", kind="gguf").family is family
    for text in (CALL, CALL + "\n"):
        for pieces in ([text], text):
            parser, grammar = answering(template, tool=tool).begun("?")
            assert grammar == call_grammar(TOOLS, name=tool)
            (part,) = parsed(parser, pieces)
            assert isinstance(part, Called)
            assert (part.call.name, part.call.arguments) == ("weather", {"city": "Rome", "days": 3})


@pytest.mark.parametrize("family", [one for one in FAMILIES if not one.whole], ids=lambda family: family.name)
def test_thoughts_may_come_before_a_forced_call(family: Family) -> None:
    parser, grammar = answering(" ".join((*family.marks[0], "<think></think>"))).begun("?")
    assert grammar == after_thinking(call_grammar(TOOLS), "<think>", "</think>", is_inside=False)
    thought, call = merged(parsed(parser, "<think>\nRome?</think>\n\n" + CALL))
    assert thought == Thought("Rome?")
    assert isinstance(call, Called)


def test_unless_it_is_forced_the_family_writes_as_it_does() -> None:
    parser, grammar = answering("<tool_calls>", "auto").begun("?")
    assert grammar == ""
    (part,) = parsed(parser, f"<tool_calls>[{CALL}]</tool_calls>")
    assert isinstance(part, Called)
