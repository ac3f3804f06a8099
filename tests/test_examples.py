"""Every example builds, from its own folder and from the tree's root, into the same model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import ROOT, Cli

EXAMPLES = sorted((ROOT / "examples").glob("*/Modelfile"))


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Cli:
    """One store for all examples: their weights are the same."""
    return Cli(tmp_path_factory.mktemp("examples") / "models", ROOT)


def test_there_are_examples() -> None:
    assert EXAMPLES


@pytest.mark.usefixtures("smollm2")
@pytest.mark.parametrize("modelfile", EXAMPLES, ids=lambda path: path.parent.name)
def test_an_example_builds(shared: Cli, modelfile: Path) -> None:
    name = modelfile.parent.name
    built = json.loads(shared.ok("create", name, "-f", str(modelfile.relative_to(ROOT)), "--json"))
    again = json.loads(Cli(shared.models, modelfile.parent).ok("create", name, "--json"))
    assert built == again
    assert built["name"] == f"{name}:latest"
    shown = json.loads(shared.ok("show", name, "--json"))
    assert shown["digest"] == built["digest"]
    assert "completion" in shown["capabilities"]


@pytest.mark.parametrize("modelfile", EXAMPLES, ids=lambda path: path.parent.name)
def test_an_example_says_what_it_shows(modelfile: Path) -> None:
    assert modelfile.read_text().startswith("# ")
