"""Schemas as grammars, asked of the engine that reads them."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path
from typing import Any

import pytest
from corral.runtime.dialogue.schema import json_grammar, schema_grammar
from corral.runtime.engine.llama.vocabulary import LlamaVocabulary
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.runtime.dialogue.made_up_schemas import made_up
from tests.runtime.dialogue.schema_matcher import Matcher
from tests.runtime.dialogue.schemas import TABLE, Case, validates

SOAK = "CORRAL_SOAK" in os.environ
ROUNDS = settings(derandomize=not SOAK, deadline=None, max_examples=3000 if SOAK else 60)


@pytest.fixture(scope="module")
def matcher(smollm2: Path) -> Matcher:
    return Matcher(LlamaVocabulary.load(str(smollm2)))


@pytest.mark.parametrize("case", TABLE.values(), ids=TABLE)
def test_what_fits_is_generated_and_nothing_else(matcher: Matcher, case: Case) -> None:
    grammar = schema_grammar(case.schema)
    assert [text for text in case.fits if not matcher.fits(grammar, text)] == []
    assert [text for text in case.others if matcher.fits(grammar, text)] == []


@pytest.mark.parametrize("name", [name for name in TABLE if name not in ("nullable", "old exclusive")])
def test_the_table_is_right(name: str) -> None:
    schema = TABLE[name].schema
    assert [text for text in TABLE[name].fits if not validates(json.loads(text), schema)] == []


@pytest.mark.parametrize("name", [name for name in TABLE if name not in ("nullable", "old exclusive", "long strings")])
def test_whatever_is_generated_validates(matcher: Matcher, name: str) -> None:
    schema = TABLE[name].schema
    grammar, chance = schema_grammar(schema), random.Random(name)
    texts = [matcher.walk(grammar, chance.choice) for _ in range(8)]
    assert None not in texts
    assert [text for text in texts if not validates(json.loads(text or ""), schema)] == []


@ROUNDS
@given(data=st.data())
def test_whatever_is_generated_for_any_schema_validates(matcher: Matcher, data: Any) -> None:
    schema = made_up(lambda options: data.draw(st.sampled_from(list(options))))
    grammar, chance = schema_grammar(schema), random.Random(0)
    for _ in range(3):
        text = matcher.walk(grammar, chance.choice)
        assert text is not None
        assert validates(json.loads(text), schema), text


def test_json_mode_gives_an_object(matcher: Matcher) -> None:
    grammar, chance = json_grammar(), random.Random(2)
    for text in ("{}", '{"a": [1, {"b": null}], "c": "d"}'):
        assert matcher.fits(grammar, text)
    for text in ("[]", "1", '{"a"}', "{" + " " * 40 + "}"):
        assert not matcher.fits(grammar, text)
    for _ in range(20):
        assert isinstance(json.loads(matcher.walk(grammar, chance.choice) or ""), dict)
