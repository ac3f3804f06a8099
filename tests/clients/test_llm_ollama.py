"""The published `llm` command with its plugin `llm-ollama`."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from tests.clients.conftest import ASKS, CITY, QUESTION, is_city
from tests.conftest import CORRAL

WEATHER = "def weather(city: str) -> str:\n    return 'rain in ' + city\n"


def llm(url: str, home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """One command."""
    variables = {"OLLAMA_HOST": url, "LLM_USER_PATH": str(home), "LLM_LOAD_PLUGINS": "llm-ollama"}
    return subprocess.run(
        [CORRAL.parent / "llm", *arguments],
        env=os.environ | variables,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def ok(url: str, home: Path, *arguments: str) -> str:
    done = llm(url, home, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_models_are_listed_by_what_they_can_do(told_url: str, tmp_path: Path) -> None:
    talking = ok(told_url, tmp_path, "models", "-q", "ollama")
    assert "ollama/clever:latest" in talking
    assert "embed" not in talking
    assert "embed" in ok(told_url, tmp_path, "embed-models", "-q", "ollama")


def test_a_prompt_is_answered_streamed_and_whole(served_url: str, tmp_path: Path) -> None:
    prompt = ("prompt", "-m", "ollama/smol:latest", "-o", "num_predict", "8", "--no-log", QUESTION)
    whole = ok(served_url, tmp_path, *prompt, "--no-stream")
    assert "Paris" in whole
    assert ok(served_url, tmp_path, *prompt) == whole


def test_json_by_schema(served_url: str, tmp_path: Path) -> None:
    prompt = ("prompt", "-m", "ollama/smol:latest", "-o", "num_predict", "100", "--no-log", QUESTION)
    assert is_city(json.loads(ok(served_url, tmp_path, *prompt, "--schema", json.dumps(CITY))))


def test_a_tool_is_called(told_url: str, tmp_path: Path) -> None:
    prompt = ("prompt", "-m", "ollama/clever:latest", "--no-log", ASKS, "--functions", WEATHER)
    # The model says the same again when it is told of the rain.
    done = llm(told_url, tmp_path, *prompt, "--tools-debug", "--chain-limit", "2")
    assert "rain in Ulm" in done.stderr


def test_a_text_is_embedded(told_url: str, tmp_path: Path) -> None:
    vector = json.loads(ok(told_url, tmp_path, "embed", "-m", "ollama/embed:latest", "-c", "one"))
    assert len(vector) > 1
    assert all(isinstance(number, float) for number in vector)
