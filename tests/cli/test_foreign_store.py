"""A store as Ollama lays it out, written byte by byte here: Corral lists, shows and serves it as it is."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from tests.conftest import Cli

SYSTEM = b"You are a helpful assistant."
PARAMS = b'{"num_predict":8,"seed":7,"stop":["\\u003c|im_end|\\u003e"],"temperature":0}\n'
MESSAGES = b'[{"role":"user","content":"Hi"},{"role":"assistant","content":"Hello!"}]\n'
LICENSE = b"Apache-2.0"


@pytest.fixture(scope="module")
def foreign(smollm2: Path, tmp_path_factory: pytest.TempPathFactory) -> Cli:
    """The model `x`, and what else an Ollama leaves in its store."""
    folder = tmp_path_factory.mktemp("foreign")
    blobs = folder / "models" / "blobs"
    blobs.mkdir(parents=True)

    def blob(data: bytes) -> str:
        digest = hashlib.sha256(data).hexdigest()
        (blobs / f"sha256-{digest}").write_bytes(data)
        return f'"digest":"sha256:{digest}","size":{len(data)}'

    with smollm2.open("rb") as file:
        weights = hashlib.file_digest(file, "sha256").hexdigest()
    shutil.copyfile(smollm2, blobs / f"sha256-{weights}")
    config = (
        b'{"model_format":"gguf","model_family":"llama","model_families":["llama"],"model_type":"134.52M",'
        b'"file_type":"Q4_1","architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":["sha256:'
        + weights.encode()
        + b'"]}}'
    )
    image = "application/vnd.ollama.image"
    layers = [
        f'{{"mediaType":"{image}.model","digest":"sha256:{weights}","size":{smollm2.stat().st_size},"from":"/home/me/x.gguf"}}',
        f'{{"mediaType":"{image}.license",{blob(LICENSE)}}}',
        f'{{"mediaType":"{image}.system",{blob(SYSTEM)}}}',
        f'{{"mediaType":"{image}.messages",{blob(MESSAGES)}}}',
        f'{{"mediaType":"{image}.params",{blob(PARAMS)}}}',
    ]
    manifest = (
        '{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.v2+json",'
        f'"config":{{"mediaType":"application/vnd.docker.container.image.v1+json",{blob(config)}}},'
        f'"layers":[{",".join(layers)}]}}'
    )
    tag = folder / "models" / "manifests" / "registry.ollama.ai" / "library" / "x" / "latest"
    tag.parent.mkdir(parents=True)
    tag.write_text(manifest)
    (blobs / f"sha256-{'0' * 64}-partial").write_bytes(b"half")
    (blobs / f"sha256-{'0' * 64}-partial-0").write_text('{"N":0,"Offset":0,"Size":8,"Completed":4}')
    return Cli(folder / "models", folder)


def identity(cli: Cli) -> str:
    tag = cli.models / "manifests" / "registry.ollama.ai" / "library" / "x" / "latest"
    return hashlib.sha256(tag.read_bytes()).hexdigest()


def test_it_is_listed_with_ollamas_id(foreign: Cli) -> None:
    before = foreign.files()
    (row,) = foreign.ok("list").splitlines()[1:]
    assert row.split()[:4] == ["x:latest", identity(foreign)[:12], "98", "MB"]
    (entry,) = json.loads(foreign.ok("list", "--json"))["models"]
    assert entry["digest"] == identity(foreign)
    assert entry["details"]["quantization_level"] == "Q4_1"
    assert foreign.files() == before


def test_it_is_shown(foreign: Cli) -> None:
    before = foreign.files()
    reply = json.loads(foreign.ok("show", "x", "--json"))
    assert reply["digest"] == f"sha256:{identity(foreign)}"
    assert reply["system"] == SYSTEM.decode()
    assert reply["license"] == LICENSE.decode()
    assert reply["messages"] == json.loads(MESSAGES)
    assert reply["details"]["parameter_size"] == "134.52M"
    assert 'stop                           "<|im_end|>"' in foreign.ok("show", "x", "--parameters")
    assert foreign.files() == before


def test_it_is_served_and_left_as_it_is(foreign: Cli) -> None:
    before = foreign.files()
    answer = foreign.ok("run", "x", "Say", "hello.")
    assert answer.strip()
    assert answer.endswith("\n\n")
    assert foreign.ok("run", "x", "Say hello.") == answer
    assert foreign.files() == before


def test_the_collector_leaves_what_ollama_wrote_or_is_downloading(foreign: Cli) -> None:
    before = foreign.files()
    foreign.ok("gc")
    assert {name: hashed for name, hashed in foreign.files().items() if not name.startswith(".corral/")} == before


def test_a_copy_keeps_the_manifests_bytes(foreign: Cli) -> None:
    foreign.ok("cp", "x", "me/y:v1")
    copy = foreign.models / "manifests" / "registry.ollama.ai" / "me" / "y" / "v1"
    assert hashlib.sha256(copy.read_bytes()).hexdigest() == identity(foreign)
    foreign.ok("rm", "me/y:v1")
    assert not copy.parent.exists()


def test_a_model_built_on_it_shares_its_weights(foreign: Cli) -> None:
    before = set(foreign.files())
    made = json.loads(foreign.ok("create", "z", "-f", "-", "--json", stdin="FROM x\nSYSTEM Be brief.\n"))
    new = {name for name in set(foreign.files()) - before if name.startswith("blobs/")}
    assert len(new) == 2
    assert made["layers"][0]["size"] > 90_000_000
    assert "from" not in made["layers"][0]
    foreign.ok("rm", "z")
    assert json.loads(foreign.ok("show", "x", "--json"))["digest"] == f"sha256:{identity(foreign)}"


def test_show_says_when_its_text_would_build_another_digest(foreign: Cli) -> None:
    text = foreign.ok("show", "x", "--modelfile")
    assert text.startswith("# The stored manifest was written by another tool: ")
    again = json.loads(foreign.ok("create", "again", "-f", "-", "--json", stdin=text))
    assert again["digest"] != f"sha256:{identity(foreign)}"
    assert not foreign.ok("show", "again", "--modelfile").startswith("# The stored manifest")
    foreign.ok("rm", "again")
