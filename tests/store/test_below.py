"""Read-only stores below the writable one (CORRAL_EXTRA_MODELS)."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from corral.store.errors import InputError, ModelNotFoundError
from corral.store.local import Store
from corral.store.manifest import Manifest
from corral.store.name import Name

from tests.conftest import Cli

Stored = Callable[[Store, str], Manifest]
M, N = Name.parse("m"), Name.parse("n")


def everything(root: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.fixture
def lower(tmp_path: Path, stored: Stored) -> Store:
    store = Store(tmp_path / "lower")
    store.tag(M, stored(store, "lower"))
    return store


def test_models_below_are_found_unless_one_above_has_the_name(tmp_path: Path, lower: Store, stored: Stored) -> None:
    store = Store(tmp_path / "upper", [lower.root])
    before = everything(lower.root)
    below = store.find(M).manifest
    store.check_complete(below)
    assert [str(model.name) for model in store.models()[0]] == ["m:latest"]
    own = stored(store, "upper")
    store.tag(Name.parse("M"), own)
    assert store.find(M).manifest == own
    assert len(store.models()[0]) == 1
    assert store.find(Name.parse(f"m@{below.digest}")).manifest == below
    assert everything(lower.root) == before


def test_a_model_built_on_one_below_needs_no_copy_of_it(tmp_path: Path, lower: Store) -> None:
    store = Store(tmp_path / "upper", [lower.root])
    store.copy(M, N)
    assert list(store.blobs) == []
    store.check_complete(store.find(N).manifest)
    assert store.collect(older_than=0).blobs == []
    with pytest.raises(InputError, match="only read"):
        store.remove(M)
    store.remove(N)
    assert lower.find(M)
    with pytest.raises(ModelNotFoundError):
        store.remove(N)


def test_the_command_line_stacks_them(cli: Cli, tiny_gguf: Path, tmp_path: Path) -> None:
    (cli.folder / "Modelfile").write_text(f"FROM {tiny_gguf}\n")
    shared = str(tmp_path / "shared")
    cli.ok("create", "base", OLLAMA_MODELS=shared)
    before = everything(Path(shared))
    extra = {"CORRAL_EXTRA_MODELS": f"{tmp_path / 'nowhere'}:{shared}"}
    cli.ok("create", "mine", "-f", "-", stdin="FROM base\nSYSTEM mine\n", **extra)
    assert [line.split()[0] for line in cli.ok("list", **extra).splitlines()[1:]] == ["mine:latest", "base:latest"]
    assert [line.split()[0] for line in cli.ok("list").splitlines()[1:]] == ["mine:latest"]
    layers = json.loads(cli.ok("show", "mine", "--json", **extra))["layers"]
    assert len(layers) == 2
    assert "only read" in cli.error(1, "rm", "base", **extra)
    assert everything(Path(shared)) == before
