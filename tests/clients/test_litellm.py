"""The published `litellm` package, by each of the ways that it has to a server: `ollama/…`, `ollama_chat/…`, `openai/…`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from tests.clients.conftest import PUBLISHED, ULM, is_city
from tests.conftest import ROOT

ALL = pytest.mark.parametrize("provider", ["ollama", "ollama_chat", "openai"])


@pytest.fixture(scope="module")
def found(served_url: str, told_url: str) -> dict[str, Any]:
    """What litellm makes of the answers."""
    assert (PUBLISHED / "litellm").is_dir(), "run `make setup` first"
    done = subprocess.run(
        [sys.executable, "-m", "tests.clients.litellm_program", served_url, told_url],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(PUBLISHED / "litellm"), "LITELLM_LOCAL_MODEL_COST_MAP": "True"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@ALL
def test_a_chat_streamed_and_whole(found: dict[str, Any], provider: str) -> None:
    answer = found[provider]
    assert answer["text"]
    if provider != "ollama":  # where litellm makes the prompt itself, and a model needs its own
        assert "Paris" in answer["text"]
    assert "".join(answer["streamed"]) == answer["text"]
    assert answer["finish"] in (["stop"], ["length"])
    assert all(type(count) is int and count > 0 for count in answer["usage"])


@ALL
def test_json_by_schema(found: dict[str, Any], provider: str) -> None:
    assert is_city(found[provider]["json"])


@pytest.mark.parametrize("provider", ["ollama_chat", "openai"])
def test_a_tool_is_called(found: dict[str, Any], provider: str) -> None:
    assert found[provider]["calls"] == [["weather", ULM]]
    assert found[provider]["called"] == "tool_calls"
    assert found[provider]["streamed_calls"] == [["weather", ULM]]


@pytest.mark.parametrize("provider", ["ollama", "openai"])
def test_texts_are_embedded(found: dict[str, Any], provider: str) -> None:
    first, second = found[provider]["vectors"]
    assert first == second > 1


def test_it_finds_out_what_a_model_can_do(found: dict[str, Any]) -> None:
    assert found["smol"] == {"tokens": 8192, "tools": False}
    assert found["clever"] == {"tokens": 4096, "tools": True}
