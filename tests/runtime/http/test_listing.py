"""Listings say what other processes have done to the store, in the next reply."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Generator
from pathlib import Path

import pytest
from corral.runtime.http.app import make_app
from corral.runtime.inference import EngineDefaults
from corral.runtime.served import served

from corral import Name, Store
from tests.conftest import Cli
from tests.runtime.conftest import FakeServer, Serve
from tests.runtime.http.running import running

TAG = "manifests/registry.ollama.ai/library/{}/latest"


@pytest.fixture
def server(serve: Serve, cli: Cli, tiny_gguf: Path) -> Generator[FakeServer]:
    """It has listed `a`, as whose copy Ollama could have written `b`, and remembers them."""
    cli.ok("create", "a", "-f", "-", stdin=f"FROM {tiny_gguf}\nSYSTEM a\n")
    cli.ok("cp", "a", "b")
    time.sleep(0.2)
    with serve(models=cli.models) as found:
        assert listed(found) == {"a:latest", "b:latest"}
        yield found


def listed(server: FakeServer) -> set[str]:
    """The names, in every listing."""
    names = {entry["name"] for entry in server.get("/api/tags")["models"]}
    assert names == {entry["id"] for entry in server.get("/v1/models")["data"]}
    return names


def lose_weights(cli: Cli) -> None:
    served(Store(cli.models), Name.parse("a")).weights.unlink()


def change_a_byte(cli: Cli) -> None:
    """As Ollama writes, in place; the size stays."""
    path = Path(cli.models, TAG.format("b"))
    path.write_bytes(path.read_bytes().replace(b'"schemaVersion":2', b'"schemaVersion":3'))


CHANGES: dict[str, tuple[Callable[[Cli], object], set[str]]] = {
    "create": (lambda cli: cli.ok("create", "c", "-f", "-", stdin="FROM a\n"), {"a:latest", "b:latest", "c:latest"}),
    "cp": (lambda cli: cli.ok("cp", "a", "c:d"), {"a:latest", "b:latest", "c:d"}),
    "rm": (lambda cli: cli.ok("rm", "a"), {"b:latest"}),
    "rm of all": (lambda cli: cli.ok("rm", "a", "b"), set()),
    "a manifest of the same size": (change_a_byte, {"a:latest"}),
    "no weights": (lose_weights, set()),
}


@pytest.mark.parametrize(("change", "expected"), CHANGES.values(), ids=CHANGES)
def test_what_another_process_does_is_in_the_next_reply(
    server: FakeServer, cli: Cli, change: Callable[[Cli], object], expected: set[str]
) -> None:
    change(cli)
    assert listed(server) == expected
    assert {entry["name"] for entry in json.loads(cli.ok("list", "--json"))["models"]} == expected


def test_what_another_process_makes_of_a_model_is_in_the_next_reply(server: FakeServer, cli: Cli) -> None:
    def entry() -> tuple[str, list[str], str]:
        (found,) = (entry for entry in server.get("/api/tags")["models"] if entry["name"] == "b:latest")
        shown = server.post("/api/show", {"model": "b"}).json()
        assert found["capabilities"] == shown["capabilities"]
        assert found["modified_at"] == shown["modified_at"]
        return found["digest"], found["capabilities"], found["modified_at"]

    before = entry()
    cli.ok("create", "b", "-f", "-", stdin="FROM a\nTEMPLATE {{ .Tools }}{{ .Prompt }}\n")
    after = entry()
    assert (before[1], after[1]) == (["completion"], ["completion", "tools"])
    assert before[0] != after[0]
    assert before[2] < after[2]


def test_models_of_a_store_below_are_in_every_listing(fake_models: Path, tmp_path: Path) -> None:
    with running(make_app(Store(tmp_path / "upper", [fake_models]), EngineDefaults())) as server:
        assert listed(server.fake) == {"tiny:latest", "other:latest", "twin:latest"}
