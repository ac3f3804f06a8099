"""Hostile schemas: whatever is not refused is quickly compiled, and quickly asked for the next token."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from corral.runtime.dialogue.schema import SchemaError, json_grammar, schema_grammar
from corral.runtime.engine.llama.vocabulary import LlamaVocabulary

from tests.runtime.dialogue.schema_matcher import Matcher
from tests.runtime.dialogue.schemas import Schema

STRING: Schema = {"type": "string"}
NAMES = ["".join(random.Random(number).choices("abcdefghij", k=8)) for number in range(300)]
PATIENCE = 8.0
"""Seconds for the longest compilation, which takes two alone."""
TIMES_SLOWER = 8.0
"""Than JSON mode, whose slowest token takes as long as it takes to look at the whole vocabulary."""


def fields(**properties: Any) -> Schema:
    return {"type": "object", "properties": properties, "required": list(properties)}


def nested(inner: Schema, levels: int) -> Schema:
    for _ in range(levels):
        inner = {"anyOf": [fields(a=inner), {"type": "array", "items": inner}, {"type": "null"}]}
    return inner


HOSTILE: dict[str, Schema] = {
    "a hundred objects that end differently": {
        "anyOf": [fields(**dict.fromkeys("abcde", STRING), kind={"const": n}) for n in range(100)]
    },
    "a hundred objects that begin differently": {
        "anyOf": [fields(kind={"const": f"k{n}"}, a=STRING) for n in range(100)]
    },
    "as many readings as are followed": {
        "anyOf": [fields(a=STRING | {"maxLength": n + 5}, b={"const": n}) for n in range(23)]
    },
    "readings in each other": {
        "anyOf": [
            fields(
                a={"anyOf": [fields(a=STRING | {"maxLength": m * 9 + n + 3}, b={"const": n}) for n in range(4)]},
                c={"const": m},
            )
            for m in range(5)
        ]
    },
    "one that repeats itself": {
        "$defs": {"e": {"anyOf": [fields(a={"$ref": "#/$defs/e"}, **{k: STRING}) for k in "bcd"] + [{"type": "null"}]}},
        "$ref": "#/$defs/e",
    },
    "one that repeats itself in two ways": {
        "$defs": {
            "e": {
                "anyOf": [
                    *(
                        fields(a={"anyOf": [{"$ref": "#/$defs/e"}, STRING | {"maxLength": n}]}, b={"const": n})
                        for n in (5, 6)
                    ),
                    STRING,
                ]
            }
        },
        "$ref": "#/$defs/e",
    },
    "optional properties": {"properties": dict.fromkeys(NAMES[:100], STRING)},
    "optional properties that begin alike": {"properties": {f"property_{n}": STRING for n in range(60)}},
    "optional properties and others": {"properties": dict.fromkeys(NAMES[:30], STRING), "additionalProperties": True},
    "counted properties": {"properties": dict.fromkeys(NAMES[:30], STRING), "minProperties": 5, "maxProperties": 20},
    "required properties": fields(**dict.fromkeys(NAMES, STRING)),
    "too many optional properties": {"properties": dict.fromkeys(NAMES, STRING)},
    "thirty patterns of names": {
        "patternProperties": {f"^p{n}_": {"type": "integer", "minimum": n} for n in range(30)}
    },
    "the same three times, repeated": {"pattern": "^(a|a|a)*$"},
    "repetitions of repetitions": {"pattern": "^((a*)*b?)*$"},
    "a pattern for backtracking": {"pattern": "^(x+x+)+y$"},
    "a pattern of many states": {"pattern": "(a|b)*a(a|b){14}"},
    "a long count": {"pattern": "^.{1,1500}$"},
    "long strings": fields(**{name: STRING | {"maxLength": 2000 - n} for n, name in enumerate(NAMES[:40])}),
    "many values": {"enum": [f"value number {n}" for n in range(3000)]},
    "arrays of optional arrays": {"items": {"items": {"items": {"items": {"type": ["array", "null"]}}}}},
    "alternatives in each other": nested(STRING, 8),
    "overlapping bounds": {"anyOf": [{"type": "integer", "minimum": n, "maximum": 1000 * n} for n in range(100)]},
    "sixty that exclude each other": {"oneOf": [fields(v=STRING, kind={"const": f"k{n}"}) for n in range(60)]},
    "multiples of a prime": {"multipleOf": 997, "minimum": 3},
    "multiples": {"type": "integer", "multipleOf": 59, "minimum": 3},
    "a tangle": {
        "$defs": {
            f"d{n}": fields(
                t={"const": f"d{n}"},
                n={"anyOf": [{"$ref": f"#/$defs/d{(n * 7 + k) % 80}"} for k in (1, 2)] + [{"type": "null"}]},
            )
            for n in range(80)
        },
        "$ref": "#/$defs/d0",
    },
    "a long chain": {
        "$defs": {f"d{n}": fields(x={"$ref": f"#/$defs/d{n + 1}"}) for n in range(300)} | {"d300": STRING},
        "$ref": "#/$defs/d0",
    },
}
REFUSED = {
    "one that repeats itself in two ways",
    "too many optional properties",
    "a pattern of many states",
    "a long count",
    "multiples of a prime",
}


@pytest.fixture(scope="module")
def matcher(smollm2: Path) -> Matcher:
    return Matcher(LlamaVocabulary.load(str(smollm2)))


def fastest(act: Callable[[], object]) -> float:
    """Seconds of this thread, of a few tries the best: the machine may be busy."""
    times: list[float] = []
    for _ in range(2):
        start = time.thread_time()
        act()
        times.append(time.thread_time() - start)
    return min(times)


def slowest_token(matcher: Matcher, grammar: str) -> float:
    """Seconds to look at the whole vocabulary, where in an answer that takes longest."""
    chance, slowest = random.Random(0), 0.0
    opened = matcher.open(grammar)
    for count in range(20):
        slowest = max(slowest, fastest(lambda: opened.allowed(matcher.all)))
        token = matcher.next(opened, chance.choice, is_closing=count > 12)
        if token == matcher.end:
            break
        opened.accept(token)
    opened.close()
    return slowest


def test_no_token_takes_much_longer_than_in_json_mode(matcher: Matcher) -> None:
    usual = slowest_token(matcher, json_grammar())
    found: dict[str, float] = {}
    refused: set[str] = set()
    for name, schema in HOSTILE.items():
        start = time.thread_time()
        try:
            grammar = schema_grammar(schema)
        except SchemaError:
            refused.add(name)
        else:
            found[name] = slowest_token(matcher, grammar) / usual
        assert time.thread_time() - start < PATIENCE + 10 * (name not in refused), name
    assert refused == REFUSED
    assert {name: ratio for name, ratio in found.items() if ratio > TIMES_SLOWER} == {}
