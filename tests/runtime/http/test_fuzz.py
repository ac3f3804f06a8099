"""Requests made at random: whatever comes, the answer is an answer or the client's error, never ours."""

from __future__ import annotations

import json
import os
import random
from typing import Any

import pytest

from tests.runtime.conftest import FakeServer

SOAK = "CORRAL_SOAK" in os.environ
ROUNDS = 20_000 if SOAK else 300
MESSAGES = [{"role": "user", "content": "say:a;"}]
REQUESTS: dict[str, dict[str, Any]] = {
    "/api/generate": {
        "model": "tiny",
        "prompt": "say:a;",
        "system": "",
        "template": "",
        "raw": False,
        "suffix": "",
        "_debug_render_only": False,
    },
    "/api/chat": {
        "model": "twin",
        "messages": MESSAGES,
        "tools": [],
        "think": False,
        "format": "",
        "_debug_render_only": False,
    },
    "/api/show": {"model": "twin", "verbose": True, "system": ""},
    "/v1/chat/completions": {"model": "tiny", "messages": MESSAGES, "stop": "z", "n": 1, "stream_options": {}},
}
OPTIONS = [
    *(
        "num_ctx",
        "num_batch",
        "num_gpu",
        "main_gpu",
        "use_mmap",
        "num_thread",
        "num_keep",
        "seed",
        "num_predict",
        "top_k",
    ),
    *("top_p", "min_p", "typical_p", "repeat_last_n", "temperature", "repeat_penalty", "presence_penalty", "stop"),
]
VALUES: list[Any] = [
    *(None, True, False, 0, 1, -1, 7, 2**31, 2**63, 2**64, -(2**63) - 1, 10**290, 0.5, -0.0, 1e308, 5e-324),
    *(
        "",
        "a",
        "tiny",
        "é€😀",
        "\ud800",
        "\0",
        "../..",
        "{{ .Prompt }}",
        "{{",
        "json",
        "5m",
        "-1",
        "[DONE]",
        "x" * 70_000,
    ),
    *(
        [],
        {},
        [None],
        [[]],
        [{}],
        {"": None},
        {"type": "object"},
        ["a", 1],
        [{"type": "text", "text": "say:a;"}],
        MESSAGES,
    ),
    *(
        [{"role": "tool", "content": None}],
        [{"role": "assistant", "tool_calls": [{}]}],
        [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": '{"a": [1]}'}}]}, *MESSAGES],
        [{"images": ["!"]}],
        {"role": "user"},
    ),
]


def mutated(chance: random.Random, body: dict[str, Any]) -> dict[str, Any]:
    """The request with some fields changed, and some options."""
    body = {**body, "stream": chance.random() < 0.3}
    for _ in range(chance.randint(0, 2)):
        name = chance.choice(
            [*body, "options", "keep_alive", "images", "context", "logprobs", "max_tokens", "temperature"]
        )
        body[name] = chance.choice(VALUES)
    if chance.random() < 0.6:
        names = chance.sample(OPTIONS, chance.randint(1, 4))
        body["options"] = {name: chance.choice(VALUES) for name in names}
    return body


@pytest.mark.soak
@pytest.mark.parametrize("path", list(REQUESTS))
def test_no_mixture_of_fields_is_an_error_of_ours(fake: FakeServer, path: str) -> None:
    chance = random.Random(None if SOAK else path)
    seen: set[int] = set()
    for _ in range(ROUNDS // len(REQUESTS)):
        body = mutated(chance, REQUESTS[path])
        reply = fake.post(path, body)
        assert reply.status_code in (200, 400, 404), (body, reply.text)
        assert b'"error"' not in reply.content or reply.status_code != 200, (body, reply.text)
        seen.add(reply.status_code)
    assert {200, 400} <= seen


@pytest.mark.soak
@pytest.mark.parametrize("path", list(REQUESTS))
def test_no_bytes_are_an_error_of_ours(fake: FakeServer, path: str) -> None:
    chance = random.Random(None if SOAK else path)
    whole = json.dumps(REQUESTS[path]).encode()
    for _ in range(ROUNDS // len(REQUESTS)):
        data = bytearray(whole)
        for _ in range(chance.randint(1, 3)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        cut = bytes(data[: chance.randrange(len(data))] if chance.random() < 0.3 else data)
        reply = fake.post(path, cut)
        assert reply.status_code in (200, 400, 404), (cut, reply.text)
