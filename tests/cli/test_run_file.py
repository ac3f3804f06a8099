"""`corral run ./file.gguf`: a file of weights is run where it lies, and nothing of it gets into the store."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from corral.runtime.served import of_file
from corral.store import gguf

from corral import Store
from tests import weights
from tests.conftest import Cli
from tests.store.splitting import decoded, split

QUESTION = "What is the capital of France? Answer with one word."
SHORT = {"OLLAMA_NUM_PARALLEL": "1", "OLLAMA_CONTEXT_LENGTH": "64"}
"""A small context bounds an answer at random that does not come to its end."""


@pytest.fixture
def smol(cli: Cli, smollm2: Path) -> str:
    """The real model beside where `corral` is run, under a name that is no model's."""
    (cli.folder / "smol lm & co.gguf").symlink_to(smollm2)
    return "./smol lm & co.gguf"


def test_a_file_answers_and_nothing_is_stored(cli: Cli, smol: str) -> None:
    done = cli.run("run", smol, QUESTION, **SHORT)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip()
    assert done.stdout.endswith("\n\n")
    assert not cli.models.exists()


def test_a_file_is_run_privately_beside_a_server(cli: Cli, smol: str, served_url: str) -> None:
    assert cli.ok("run", "--verbose", smol.removeprefix("./"), "Say hello.", OLLAMA_HOST=served_url, **SHORT).strip()
    assert "smol-lm-co" not in cli.ok("ps", OLLAMA_HOST=served_url)
    assert not cli.models.exists()


def test_a_file_is_run_as_create_would_make_a_model_of_it(cli: Cli, smol: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(cli.folder)
    made = of_file(Store(cli.models), smol)
    assert (str(made.name), made.digest, made.choice.kind) == ("smol-lm-co:latest", None, "template")
    assert made.parameters == {"stop": ["<|im_start|>", "<|im_end|>"]}
    assert made.header == gguf.read(cli.folder / smol)
    assert (made.family, made.config.file_type) == ("llama", "Q4_1")


@pytest.mark.parametrize("name", ["...gguf", "日本.gguf", "a" * 200 + ".gguf", "-x.gguf", "a b\tc.GGUF", "x@y:z.gguf"])
def test_a_file_may_have_any_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(weights.gguf())
    assert of_file(Store(tmp_path / "models"), str(path)).weights == path


def test_the_parts_of_a_split_file_are_run_together(cli: Cli, smollm2: Path) -> None:
    first, second = split(decoded(smollm2), cli.folder, (130,))
    assert cli.ok("run", f"./{second.name}", "Say hello.", **SHORT).strip()
    assert not cli.models.exists()
    second.unlink()
    assert f"no such file: {second.name}" in cli.error(1, "run", f"./{first.name}", "Say hello.")


def test_error_for_what_is_no_model(cli: Cli, smollm2: Path) -> None:
    bad = cli.folder / "bad.gguf"
    with smollm2.open("rb") as model:
        bad.write_bytes(model.read(1 << 20))
    assert cli.error(3, "run", "./bad.gguf", "hi").startswith("Error: bad.gguf: invalid GGUF: ")
    assert "invalid GGUF" in cli.error(3, "run", "bad.gguf", "hi")
    (cli.folder / "README").write_text("Read me.")
    assert "does not begin with the bytes GGUF" in cli.error(3, "run", "./README", "hi")
    (cli.folder / "clip.gguf").write_bytes(weights.projector())
    assert "./clip.gguf: FROM gives no model weights" in cli.error(1, "run", "./clip.gguf", "hi")
    assert "not a regular file" in cli.error(1, "run", "/dev/zero", "hi")
    for path in ("./absent.gguf", "/absent", "~nobody-of-this-name/x", "../x\x1b[2J"):
        assert ": no such file" in cli.error(1, "run", path, "hi")
    assert not cli.models.exists()


def test_error_for_a_file_that_the_engine_dies_of(cli: Cli, smollm2: Path) -> None:
    """Its header is sound, but a token is there twice, and llama.cpp asserts that none is."""
    path = cli.folder / "twice.gguf"
    shutil.copyfile(smollm2, path)
    start, end = gguf.read(path).pairs["tokenizer.ggml.tokens"]
    with path.open("r+b") as file:
        file.seek(start)
        at = file.read(end - start).index((1).to_bytes(8, "little") + b"A") + 8
        file.seek(start + at)
        file.write(b"B")
    assert "the model runner has unexpectedly stopped" in cli.error(5, "run", "./twice.gguf", "hi")
