"""A real model kept to schemas: every answer that it finishes validates."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path
from typing import Any

import pytest
from corral.runtime.dialogue.schema import after_thinking, call_grammar, schema_grammar
from corral.runtime.engine.llama.decoder import LlamaDecoder
from corral.runtime.engine.protocol import LoadOptions, Sampling

from tests.runtime.dialogue.made_up_schemas import made_up
from tests.runtime.dialogue.schemas import TABLE, Schema, validates
from tests.runtime.engine.conftest import ask, run

SOAK = "CORRAL_SOAK" in os.environ
SLOTS = 4
MOST = 200
"""Tokens of an answer; one that is longer is not finished."""
STRING: Schema = {"type": "string", "maxLength": 40}
PERSON = {
    "type": "object",
    "properties": {
        "name": STRING,
        "age": {"type": "integer", "minimum": 0, "maximum": 120},
        "email": {"type": "string", "format": "email", "maxLength": 40},
        "tags": {"type": "array", "items": {"enum": ["a", "b", "c"]}, "uniqueItems": True},
        "born": {"type": "string", "format": "date"},
        "address": {
            "type": "object",
            "properties": {"city": STRING, "zip": {"type": "string", "pattern": "^\\d{5}$"}},
            "required": ["zip"],
        },
    },
    "required": ["name", "age", "born", "address"],
}
USUAL: list[Schema] = [
    PERSON,
    {"type": "array", "items": PERSON, "minItems": 1, "maxItems": 2},
    {
        "type": "object",
        "properties": {"answer": {"enum": ["yes", "no"]}, "reason": STRING},
        "required": ["answer", "reason"],
    },
    {
        "type": "object",
        "properties": {"ok": {"type": "boolean"}, "score": {"type": "number", "minimum": 0, "maximum": 1}},
        "required": ["ok", "score"],
    },
    {"anyOf": [{"type": "object", "properties": {"error": STRING}, "required": ["error"]}, {"type": "integer"}]},
]


@pytest.fixture(scope="module")
def decoder(smollm2: Path) -> LlamaDecoder:
    return LlamaDecoder(str(smollm2), LoadOptions(num_ctx=512, slots=SLOTS, num_thread=1), lambda _: None)


def prompt(text: str) -> str:
    return f"<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n"


def chosen() -> list[Schema]:
    """Usual schemas first, then those of the table, then made-up ones."""
    table = [
        case.schema
        for name, case in TABLE.items()
        if isinstance(case.schema, dict) and name not in ("nullable", "old exclusive", "long strings")
    ]
    chance = random.Random(7)
    return [*USUAL, *chance.sample(table, 10), *(made_up(chance.choice, 2) for _ in range(185 if SOAK else 5))]


def answers(decoder: LlamaDecoder, grammars: list[str]) -> tuple[dict[int, str], int]:
    """What of the answers was finished, by number, and how many were not."""
    requests = [
        ask(
            number,
            prompt("Describe somebody or something in JSON."),
            num_predict=MOST,
            sampling=Sampling(temperature=0.7, seed=number, grammar=grammar),
        )
        for number, grammar in enumerate(grammars)
    ]
    outcome = run(decoder, requests)
    assert outcome.failed == {}
    assert set(outcome.finished) == set(range(len(grammars)))
    finished = {number: outcome.texts[number] for number, end in outcome.finished.items() if end.reason == "stop"}
    return finished, len(grammars) - len(finished)


def test_every_finished_answer_validates(decoder: LlamaDecoder) -> None:
    schemas = chosen()
    finished, unfinished = answers(decoder, [schema_grammar(schema) for schema in schemas])
    assert unfinished <= len(schemas) // 4
    assert [text for number, text in finished.items() if not validates(json.loads(text), schemas[number])] == []


def test_a_forced_call_and_thoughts_before_an_answer_come_as_they_should(decoder: LlamaDecoder) -> None:
    tools: list[dict[str, Any]] = [{"type": "function", "function": {"name": "greet", "parameters": USUAL[2]}}]
    call = call_grammar(tools)
    thinking = after_thinking(schema_grammar(USUAL[3]), "<think>", "e", is_inside=True)
    finished, unfinished = answers(decoder, [call, thinking])
    assert unfinished == 0
    made = json.loads(finished[0])
    assert made["name"] == "greet"
    assert validates(made["arguments"], USUAL[2])
    assert validates(json.loads(finished[1].partition("e")[2]), USUAL[3])
