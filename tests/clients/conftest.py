"""What the clients are asked, and a server whose models answer as they are told, for what a small model cannot be relied on
to do: to think, to call tools, to embed.
"""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any, cast

import ollama
import pytest

from tests.conftest import ROOT, Cli
from tests.runtime.conftest import Serve
from tests.runtime.conftest import fake_models as fake_models
from tests.runtime.conftest import serve as serve
from tests.runtime.http.test_answers import TEMPLATE
from tests.runtime.weights import create, create_embedder

QUESTION = "What is the capital of France?"
CITY: dict[str, object] = {
    "title": "City",
    "type": "object",
    "properties": {"name": {"enum": ["Paris", "Lyon"]}, "districts": {"type": "integer", "minimum": 1, "maximum": 99}},
    "required": ["name", "districts"],
    "additionalProperties": False,
}
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Tell the weather of a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
ULM = {"city": "Ulm"}
ASKS = 'say:<think>Hm.</think>\n\nWait. <tool_call>{"name": "weather", "arguments": {"city": "Ulm"}}</tool_call>;'
"""What `clever` answers with a thought, text and a call of WEATHER with ULM."""
PUBLISHED = ROOT / "build" / "clients"
"""Clients that cannot be installed beside the others, from `make setup`."""


def is_city(value: object) -> bool:
    """Whether it is as CITY says."""
    city = cast("dict[str, Any]", value) if isinstance(value, dict) else {}
    return set(city) == {"name", "districts"} and city["name"] in ("Paris", "Lyon") and 1 <= city["districts"] <= 99


@pytest.fixture(scope="session")
def told_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with `clever`, which can think and call tools, and `embed`."""
    folder = tmp_path_factory.mktemp("told")
    cli = Cli(folder / "models", folder)
    create_embedder(cli, "embed")
    create(cli, "clever", modelfile=f'TEMPLATE """{TEMPLATE}"""', context=4096)
    return cli.models


@pytest.fixture(scope="session")
def told_url(serve: Serve, told_models: Path) -> Generator[str]:
    """The server of these."""
    with serve(models=told_models) as server:
        yield server.url


@pytest.fixture
def client(served_url: str) -> Generator[ollama.Client]:
    """Ollama's client, asking the real model."""
    client = ollama.Client(served_url)
    yield client
    client.close()


@pytest.fixture
def told(told_url: str) -> Generator[ollama.Client]:
    """The same, asking those that answer as they are told."""
    client = ollama.Client(told_url)
    yield client
    client.close()
