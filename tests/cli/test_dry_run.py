"""`corral create --dry-run`: what would be created, to the digest, and nothing is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import Cli
from tests.store.splitting import Weights, decoded, split


@pytest.fixture
def here(cli: Cli, tiny_gguf: Path) -> Cli:
    """A folder with weights, whole and in parts."""
    (cli.folder / "tiny.gguf").write_bytes(tiny_gguf.read_bytes())
    whole = decoded(tiny_gguf)
    whole.tensors.extend(Weights(name, (8,), 0, bytes([9]) * 32) for name in ("a", "b"))
    split(whole, cli.folder, (1, 2))
    return cli


def files(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.stat().st_mtime_ns, path.stat().st_ino) for path in folder.rglob("*")}


MODELFILES = {
    "weights": "FROM ./tiny.gguf\n",
    "everything": (
        "FROM ./tiny.gguf\nSYSTEM Be kind.\nTEMPLATE {{ .Prompt }}\nPARAMETER stop <a>\nMESSAGE user hi\nLICENSE MIT\n"
        "REQUIRES 0.14.0\n"
    ),
    "a split GGUF": "FROM ./{part}\nSYSTEM Be kind.\n",
    "a model": "FROM base\nSYSTEM Be brief.\nPARAMETER seed 1\n",
}


@pytest.mark.parametrize("case", MODELFILES)
def test_it_foretells_the_digest_and_writes_nothing(here: Cli, case: str) -> None:
    (part, *_) = sorted(path.name for path in here.folder.glob("*-of-*.gguf"))
    text = MODELFILES[case].replace("{part}", part)
    if case == "a model":
        here.ok("create", "base", "-f", "-", stdin="FROM ./tiny.gguf\nPARAMETER stop <a>\n")
    before = files(here.models.parent)
    foretold = json.loads(here.ok("create", "m", "--dry-run", "--json", "-f", "-", stdin=text))
    printed = here.ok("create", "m", "--dry-run", "-f", "-", stdin=text)
    assert files(here.models.parent) == before
    assert here.models.exists() == (case == "a model")
    new = foretold.pop("new")
    blobs = [foretold["config"]["digest"], *(layer["digest"] for layer in foretold["layers"])]
    had = [digest for digest in blobs if (here.models / "blobs" / digest.replace(":", "-")).exists()]
    assert set(new) == set(blobs) - set(had)
    assert json.loads(here.ok("create", "m", "--json", "-f", "-", stdin=text)) == foretold
    assert here.ok("create", "m", "-f", "-", stdin=text) == printed
    assert json.loads(here.ok("create", "m", "--dry-run", "--json", "-f", "-", stdin=text)) == foretold | {"new": []}


def test_an_edited_file_is_seen(here: Cli) -> None:
    here.ok("create", "m", "-f", "-", stdin="FROM ./tiny.gguf\n")
    path = here.folder / "tiny.gguf"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    foretold = json.loads(here.ok("create", "m", "--dry-run", "--json", "-f", "-", stdin="FROM ./tiny.gguf\n"))
    assert len(foretold["new"]) == 1
    made = json.loads(here.ok("create", "m", "--json", "-f", "-", stdin="FROM ./tiny.gguf\n"))
    assert made["digest"] == foretold["digest"]


def test_error_a_base_that_is_not_here_is_not_pulled(here: Cli) -> None:
    said = here.error(1, "create", "m", "--dry-run", "-f", "-", stdin="FROM 127.0.0.1:1/crew/base:v1\n")
    assert "model '127.0.0.1:1/crew/base:v1' not found" in said
    assert not here.models.exists()


def test_error_all_that_is_wrong_is_told(here: Cli) -> None:
    done = here.run("create", "m", "--dry-run", "-f", "-", stdin="FROM ./absent.gguf\nPARAMETER sed 1\n")
    assert done.returncode == 1
    assert "no such file" in done.stderr
    assert "unknown parameter 'sed'" in done.stderr
    assert not here.models.exists()
