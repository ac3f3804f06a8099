"""`corral verify --repair` against a real registry: good copies come, and nothing gives way to a worse one."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Cli, DockerRegistry, free_port


@pytest.fixture
def remote(docker_registry: DockerRegistry, request: pytest.FixtureRequest) -> str:
    """A repository for this test alone."""
    return f"{docker_registry.host}/repair/{request.node.name.partition('[')[0].lower()[:60]}"


@pytest.fixture
def pushed(cli: Cli, tiny_gguf: Path, remote: str) -> Cli:
    """A store with a model that is in the registry as `remote:v1`, its weights large enough to be trusted by their size."""
    weights = cli.folder / "large.gguf"
    weights.write_bytes(tiny_gguf.read_bytes() + bytes(2 << 20))
    cli.ok("create", f"{remote}:v1", "-f", "-", stdin=f"FROM ./large.gguf\nSYSTEM {remote}\nPARAMETER seed 1\n")
    cli.ok("push", f"{remote}:v1")
    return cli


def content(cli: Cli) -> dict[str, str]:
    return {name: digest for name, digest in cli.files().items() if not name.startswith(".corral/")}


def manifest_file(cli: Cli, remote: str) -> Path:
    return cli.models.joinpath("manifests", *remote.split("/"), "v1")


def blobs(cli: Cli, remote: str) -> dict[str, Path]:
    document = json.loads(manifest_file(cli, remote).read_bytes())
    layers = {layer["mediaType"].rpartition(".")[2]: layer for layer in document["layers"]}
    return {
        role: cli.models / "blobs" / blob["digest"].replace(":", "-")
        for role, blob in {**layers, "config": document["config"]}.items()
    }


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "gone": Path.unlink,
    "cut short": lambda path: os.truncate(path, 2),
    "flipped": flip,
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damaged_blobs_are_fetched_again(pushed: Cli, remote: str, case: str) -> None:
    before = content(pushed)
    for path in blobs(pushed, remote).values():
        DAMAGE[case](path)
    assert pushed.run("verify", "--deep").returncode == 3
    done = pushed.run("verify", "--deep", "--repair")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n  repaired\n") == 4
    assert done.stdout.endswith(": 4 problems\n")
    assert content(pushed) == before
    assert pushed.ok("verify", "--deep").endswith(": no problems\n")


def test_zeroed_weights_are_seen_and_mended_without_hashing_everything(pushed: Cli, remote: str) -> None:
    before = content(pushed)
    DAMAGE["zeros"](blobs(pushed, remote)["model"])
    (problem,) = json.loads(pushed.ok("verify", "--repair", "--json"))["problems"]
    assert (problem["problem"], problem["repaired"], problem["reason"]) == ("header", True, None)
    assert content(pushed) == before


def test_a_corrupt_manifest_is_pulled_and_looked_through(pushed: Cli, remote: str) -> None:
    before = content(pushed)
    flip(blobs(pushed, remote)["model"])
    manifest_file(pushed, remote).write_bytes(b"")
    done = pushed.run("verify", "--deep", "--repair", "--json")
    problems = json.loads(done.stdout)["problems"]
    # The blob's damage is there whoever uses it; who that is comes out with the manifest.
    assert [(problem["problem"], problem["repaired"]) for problem in problems if problem["models"]] == [
        ("manifest", True),
        ("content", True),
    ]
    assert done.returncode == 0, done.stdout
    assert content(pushed) == before


def test_a_model_pulled_by_its_digest(pushed: Cli, remote: str) -> None:
    digest = json.loads(pushed.ok("show", f"{remote}:v1", "--json"))["digest"]
    pushed.ok("pull", f"{remote}@{digest}")
    pinned = manifest_file(pushed, remote).with_name(digest.replace(":", "-"))
    raw = pinned.read_bytes()
    pinned.write_bytes(raw[:-5])
    pushed.ok("verify", "--repair")
    assert pinned.read_bytes() == raw


@pytest.mark.parametrize("case", ["flipped", "cut short"])
def test_a_registrys_damaged_copy_replaces_nothing(
    pushed: Cli, remote: str, docker_registry: DockerRegistry, case: str
) -> None:
    path = blobs(pushed, remote)["model"]
    sound = path.read_bytes()
    flip(path)
    before = content(pushed)
    theirs = docker_registry.blob_file(path.name.replace("-", ":"))
    try:
        DAMAGE[case](theirs)
        done = pushed.run("verify", "--deep", "--repair", "--json")
    finally:
        theirs.write_bytes(sound)
    (problem,) = json.loads(done.stdout)["problems"]
    assert (done.returncode, problem["repaired"]) == (3, False)
    assert docker_registry.host in problem["reason"]
    assert content(pushed) == before
    pushed.ok("verify", "--deep", "--repair")


def test_a_manifest_with_a_wrong_size_costs_no_good_blob(pushed: Cli, remote: str) -> None:
    path = manifest_file(pushed, remote)
    document = json.loads(path.read_bytes())
    document["layers"][0]["size"] += 1
    path.write_bytes(json.dumps(document).encode())
    before = content(pushed)
    done = pushed.run("verify", "--deep", "--repair")
    assert done.returncode == 3
    assert "  not repaired: " in done.stdout
    assert content(pushed) == before


def test_another_name_of_the_same_blob_will_do(pushed: Cli, remote: str) -> None:
    pushed.ok("cp", f"{remote}:v1", "mine")
    pushed.ok("cp", f"{remote}:v1", f"127.0.0.1:{free_port()}/crew/down:v1")
    before = content(pushed)
    blobs(pushed, remote)["system"].unlink()
    assert "  repaired\n" in pushed.ok("verify", "--repair")
    assert content(pushed) == before


def test_a_registry_that_is_down_leaves_all_as_it_is(cli: Cli, tiny_gguf: Path) -> None:
    remote = f"127.0.0.1:{free_port()}/crew/x"
    cli.ok("create", f"{remote}:v1", "-f", "-", stdin=f"FROM {tiny_gguf}\nSYSTEM Be kind.\n")
    flip(blobs(cli, remote)["system"])
    before = content(cli)
    done = cli.run("verify", "--repair")
    assert done.returncode == 3
    assert f"  not repaired: {remote}:v1: cannot reach {remote.partition('/')[0]}: Connection refused\n" in done.stdout
    assert content(cli) == before


def test_a_file_that_was_no_gguf_to_begin_with(cli: Cli, tiny_gguf: Path) -> None:
    cli.ok("create", "m", "-f", "-", stdin=f"FROM {tiny_gguf}\n")
    tag = cli.models / "manifests/registry.ollama.ai/library/m/latest"
    document = json.loads(tag.read_bytes())
    document["layers"][0] |= {"digest": document["config"]["digest"], "size": document["config"]["size"]}
    tag.write_bytes(json.dumps(document).encode())
    done = cli.run("verify", "--repair")
    assert done.returncode == 3
    assert "  not repaired: it is as its digest says, and was made so\n" in done.stdout
