"""Push and pull against real OCI registries, ours and Debian's: every byte comes back, and no wrong byte gets in."""

from __future__ import annotations

import hashlib
import inspect
import json
from pathlib import Path

import pytest
import requests

from tests.conftest import Cli, DockerRegistry, free_port


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each test against both, but those that look into the files of Debian's."""
    if "remote" in metafunc.fixturenames:
        looks_into = "docker_registry" in inspect.signature(metafunc.function).parameters
        metafunc.parametrize("remote", ["debians"] if looks_into else ["ours", "debians"], indirect=True)


@pytest.fixture
def remote(request: pytest.FixtureRequest) -> str:
    """A repository for this test alone."""
    if request.param == "ours":
        host: str = request.getfixturevalue("embedded_registry")
    else:
        debians: DockerRegistry = request.getfixturevalue("docker_registry")
        host = debians.host
    return f"{host}/crew/{request.node.name.partition('[')[0].lower()[:60]}"


@pytest.fixture
def pushed(cli: Cli, tiny_gguf: Path, remote: str) -> Cli:
    """A store whose model `small` was pushed as `remote:v1`."""
    cli.ok("create", "small", "-f", "-", stdin=f"FROM {tiny_gguf}\nSYSTEM Be kind.\nPARAMETER seed 1\nLICENSE MIT\n")
    cli.ok("cp", "small", f"{remote}:v1")
    cli.ok("push", f"{remote}:v1")
    return cli


def content(cli: Cli) -> dict[str, str]:
    """The store's files but Corral's own records."""
    return {name: digest for name, digest in cli.files().items() if not name.startswith(".corral/")}


def manifest_file(cli: Cli, name: str) -> Path:
    repository, _, tag = name.rpartition(":")
    return cli.models.joinpath("manifests", *repository.split("/"), tag)


def requests_to(docker_registry: DockerRegistry) -> int:
    """How many uploads the registry has begun and not finished, and how many files it holds."""
    return sum(path.is_file() for path in docker_registry.data.rglob("*"))


def test_what_was_pushed_comes_back_to_the_last_byte(pushed: Cli, remote: str, tmp_path: Path) -> None:
    before = content(pushed)
    raw = manifest_file(pushed, f"{remote}:v1").read_bytes()
    pushed.ok("rm", "small", f"{remote}:v1")
    pushed.ok("gc")
    assert content(pushed) == {}
    printed = pushed.ok("pull", f"{remote}:v1")
    assert printed == f"{remote}:v1 sha256:{hashlib.sha256(raw).hexdigest()}\n"
    assert manifest_file(pushed, f"{remote}:v1").read_bytes() == raw
    assert content(pushed).items() <= before.items()
    elsewhere = Cli(tmp_path / "elsewhere", pushed.folder)
    assert elsewhere.ok("pull", f"{remote}:v1") == printed
    assert content(elsewhere) == content(pushed)


def test_the_registry_keeps_the_manifests_very_bytes(pushed: Cli, remote: str) -> None:
    host, _, repository = remote.partition("/")
    accept = {"Accept": "application/vnd.docker.distribution.manifest.v2+json"}
    reply = requests.get(f"http://{host}/v2/{repository}/manifests/v1", headers=accept, timeout=10)
    assert reply.content == manifest_file(pushed, f"{remote}:v1").read_bytes()


def test_the_real_model_comes_back(cli: Cli, smollm2: Path, remote: str) -> None:
    made = json.loads(cli.ok("create", f"{remote}:v1", "-f", "-", "--json", stdin=f"FROM {smollm2}\n"))
    cli.ok("push", f"{remote}:v1")
    before = content(cli)
    cli.ok("rm", f"{remote}:v1")
    assert cli.ok("pull", f"{remote}:v1").split()[1] == made["digest"]
    assert content(cli) == before


def test_a_second_push_uploads_nothing(pushed: Cli, remote: str, docker_registry: DockerRegistry) -> None:
    before = requests_to(docker_registry)
    first = pushed.run("push", f"{remote}:v1")
    assert requests_to(docker_registry) == before
    pushed.ok("cp", "small", f"{remote}:v2")
    assert pushed.ok("push", f"{remote}:v2").split()[1] == first.stdout.split()[1]
    blobs = list(docker_registry.data.rglob("blobs/sha256/*/*/data"))
    assert len(blobs) == len({path.parent.name for path in blobs})


def test_a_push_and_a_pull_say_ollamas_steps(pushed: Cli, remote: str) -> None:
    steps = pushed.run("push", f"{remote}:v1").stderr.splitlines()
    assert (steps[0], steps[-2:]) == ("retrieving manifest", ["pushing manifest", "success"])
    assert all(len(step) == len("pushing ") + 12 for step in steps[1:-2])
    pushed.ok("rm", "small", f"{remote}:v1")
    steps = pushed.run("pull", f"{remote}:v1").stderr.splitlines()
    assert (steps[0], steps[-3:]) == ("pulling manifest", ["verifying sha256 digest", "writing manifest", "success"])
    assert all(len(step) == len("pulling ") + 12 for step in steps[1:-3])


def test_a_pull_of_what_is_here_changes_nothing(pushed: Cli, remote: str) -> None:
    before = pushed.files()
    pushed.ok("pull", f"{remote}:v1")
    assert pushed.files() == before


def test_a_pull_fetches_only_what_is_missing(pushed: Cli, remote: str) -> None:
    shown = json.loads(pushed.ok("show", "small", "--json"))
    weights = pushed.models / "blobs" / shown["layers"][0]["digest"].replace(":", "-")
    inode = weights.stat().st_ino
    (pushed.models / "blobs" / shown["layers"][1]["digest"].replace(":", "-")).unlink()
    before = content(pushed)
    pushed.ok("pull", f"{remote}:v1")
    assert len(content(pushed).keys() - before.keys()) == 1
    assert weights.stat().st_ino == inode


def test_a_model_is_pulled_by_its_digest(pushed: Cli, remote: str) -> None:
    digest = json.loads(pushed.ok("show", "small", "--json"))["digest"]
    pushed.ok("rm", "small", f"{remote}:v1")
    assert pushed.ok("pull", f"{remote}@{digest}").split()[1] == digest
    assert json.loads(pushed.ok("show", f"{remote}@{digest}", "--json"))["digest"] == digest


@pytest.mark.parametrize(
    ("part", "where"),
    [
        ("manifest", "digest"),
        ("config", "middle"),
        ("weights", "middle"),
        *(("system", w) for w in ("first", "middle", "last")),
    ],
)
def test_error_one_flipped_byte_in_the_registrys_files(
    pushed: Cli, remote: str, docker_registry: DockerRegistry, part: str, where: str
) -> None:
    raw = manifest_file(pushed, f"{remote}:v1").read_bytes()
    document = json.loads(raw)
    digest = {
        "manifest": f"sha256:{hashlib.sha256(raw).hexdigest()}",
        "config": document["config"]["digest"],
        "weights": document["layers"][0]["digest"],
        "system": document["layers"][1]["digest"],
    }[part]
    file = docker_registry.blob_file(digest)
    sound = file.read_bytes()
    # In a manifest, a digit of a digest: it stays a manifest, of something else.
    digit = sound.find(document["layers"][-1]["digest"].encode()) + 20
    place = {"digest": digit, "first": 0, "middle": len(sound) // 2, "last": len(sound) - 1}[where]
    damaged = bytearray(sound)
    damaged[place] ^= 1
    pushed.ok("rm", "small", f"{remote}:v1")
    before = pushed.files()
    file.write_bytes(damaged)
    try:
        said = pushed.error(3, "pull", f"{remote}:v1")
    finally:
        file.write_bytes(sound)
    assert f"Error: {remote}:v1: " in said
    assert f" from {docker_registry.host}: expected {digest}, got sha256:{hashlib.sha256(damaged).hexdigest()}" in said
    assert "  hint: the registry's copy is damaged" in said
    assert pushed.files() == before
    pushed.ok("pull", f"{remote}:v1")


def test_a_pull_mends_a_small_blob_that_was_damaged_here(pushed: Cli, remote: str) -> None:
    before = content(pushed)
    for layer in json.loads(pushed.ok("show", "small", "--json"))["layers"]:
        blob = pushed.models / "blobs" / layer["digest"].replace(":", "-")
        blob.write_bytes(b"x" * blob.stat().st_size)
    pushed.ok("pull", f"{remote}:v1")
    assert content(pushed) == before


def test_error_a_blob_cut_short_in_the_registry(pushed: Cli, remote: str, docker_registry: DockerRegistry) -> None:
    digest = json.loads(pushed.ok("show", "small", "--json"))["layers"][1]["digest"]
    file = docker_registry.blob_file(digest)
    sound = file.read_bytes()
    pushed.ok("rm", "small", f"{remote}:v1")
    before = pushed.files()
    file.write_bytes(sound[:-3])
    try:
        done = pushed.run("pull", f"{remote}:v1")
    finally:
        file.write_bytes(sound)
    assert done.returncode in (3, 4)
    assert pushed.files() == before, done.stderr


def test_error_a_damaged_blob_is_not_pushed(cli: Cli, tiny_gguf: Path, remote: str) -> None:
    made = json.loads(
        cli.ok("create", f"{remote}:v1", "-f", "-", "--json", stdin=f"FROM {tiny_gguf}\nSYSTEM {remote}\n")
    )
    blob = cli.models / "blobs" / made["layers"][1]["digest"].replace(":", "-")
    blob.write_bytes(b"x" * blob.stat().st_size)
    before = cli.files()
    digest, got = made["layers"][1]["digest"], f"sha256:{hashlib.sha256(blob.read_bytes()).hexdigest()}"
    said = cli.error(3, "push", f"{remote}:v1")
    assert f"expected {digest}, got {got}" in said
    assert f"delete blobs/{blob.name} in the store, and pull or create the model again" in said
    assert content(cli) == {name: digest for name, digest in before.items() if not name.startswith(".corral/")}
    assert "not found in the registry" in Cli(cli.folder / "other", cli.folder).error(4, "pull", f"{remote}:v1")


def test_from_pulls_an_absent_base(pushed: Cli, remote: str) -> None:
    pushed.ok("rm", "small", f"{remote}:v1")
    made = json.loads(pushed.ok("create", "crew", "-f", "-", "--json", stdin=f"FROM {remote}:v1\nSYSTEM Be brief.\n"))
    base = json.loads(pushed.ok("show", f"{remote}:v1", "--json"))
    assert made["layers"][0] == base["layers"][0]
    assert pushed.ok("show", "crew", "--system") == "Be brief."


def test_run_pulls_an_absent_model(cli: Cli, smollm2: Path, remote: str) -> None:
    text = f"FROM {smollm2}\nPARAMETER temperature 0\nPARAMETER num_predict 4\n"
    cli.ok("create", f"{remote}:v1", "-f", "-", stdin=text)
    cli.ok("push", f"{remote}:v1")
    cli.ok("rm", f"{remote}:v1")
    done = cli.run("run", f"{remote}:v1", "Say hello.", OLLAMA_NUM_PARALLEL="1")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert done.stderr.startswith("pulling manifest\n")


def test_error_a_model_the_registry_lacks(cli: Cli, docker_registry: DockerRegistry) -> None:
    name = f"{docker_registry.host}/crew/none:v1"
    words = f"Error: {name}: not found in the registry {docker_registry.host}\n  hint: see that the name and tag are right\n"
    assert words in cli.error(4, "pull", name)
    assert words in cli.error(4, "run", name, "hi")
    assert words in cli.error(4, "create", "x", "-f", "-", stdin=f"FROM {name}\n")
    assert content(cli) == {}


def test_error_a_registry_that_is_down(pushed: Cli) -> None:
    name = f"127.0.0.1:{free_port()}/crew/x:v1"
    pushed.ok("cp", "small", name)
    before = pushed.files()
    other = name.replace("/x:", "/y:")
    for wanted, *arguments in ((name, "pull", name), (name, "push", name), (other, "create", "y", "-f", "-")):
        said = pushed.error(4, *arguments, stdin=f"FROM {other}\n")
        assert f"Error: {wanted}: cannot reach {name.partition('/')[0]}: Connection refused\n" in said
        assert "  hint: check the name and the network\n" in said
    assert pushed.files() == before


def test_error_a_registry_whose_name_is_unknown(cli: Cli) -> None:
    said = cli.error(4, "pull", "nowhere.invalid/crew/x:v1", NO_PROXY="*", no_proxy="*")
    assert said.startswith("pulling manifest\nError: nowhere.invalid/crew/x:v1: cannot reach nowhere.invalid: ")
    assert "[Errno" not in said
    assert "  hint: check the name and the network\n" in said


def test_error_a_registry_without_tls(cli: Cli, docker_registry: DockerRegistry) -> None:
    said = cli.error(4, "pull", f"https://{docker_registry.host}/crew/x:v1")
    assert "TLS failed" in said
    assert "--insecure" in said
