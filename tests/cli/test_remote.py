"""`corral remote`: on the real docker-registry, and on a double that has what that one has not."""

from __future__ import annotations

import json
import re
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Cli, DockerRegistry, running_registry
from tests.registry.modern import INDEX, Modern, modern_registry


@pytest.fixture
def modern() -> Generator[Modern]:
    with modern_registry() as running:
        yield running


@pytest.fixture
def model(cli: Cli, tiny_gguf: Path, docker_registry: DockerRegistry, request: pytest.FixtureRequest) -> str:
    """A model in the real registry, in a repository of its own."""
    name = f"{docker_registry.host}/crew/{request.node.name.partition('[')[0].lower()[5:60]}:v1"
    text = f'FROM {tiny_gguf}\nSYSTEM Be {name}.\nPARAMETER temperature 0.5\nTEMPLATE "{{{{ .Prompt }}}}"\n'
    cli.ok("create", name, "-f", "-", stdin=text)
    cli.ok("push", name)
    return name


def digest_in(cli: Cli, name: str) -> str:
    return json.loads(cli.ok("show", name, "--json"))["digest"]


def test_tags(cli: Cli, model: str) -> None:
    repository = model.removesuffix(":v1")
    cli.ok("remote", "copy", model, f"{repository}:v2")
    assert cli.ok("remote", "tags", repository).split() == ["v1", "v2"]
    reply = json.loads(cli.ok("remote", "tags", model, "--json"))
    assert reply == {"name": repository.partition("/")[2], "tags": ["v1", "v2"]}


def test_tags_of_a_nested_repository(cli: Cli, modern: Modern) -> None:
    modern.page = 1
    modern.artifact("a/b/c/d", b"x", "v1", "v2", "v3")
    assert cli.ok("remote", "tags", f"{modern.host}/a/b/c/d").split() == ["v1", "v2", "v3"]


def test_error_tags_of_what_is_not_there(cli: Cli, docker_registry: DockerRegistry) -> None:
    said = cli.error(4, "remote", "tags", f"{docker_registry.host}/crew/never")
    assert said.startswith(f"Error: crew/never: no such repository in the registry {docker_registry.host}\n")


def test_inspect_says_what_a_model_is_without_pulling_it(cli: Cli, model: str, tmp_path: Path) -> None:
    other = Cli(tmp_path / "empty", cli.folder)
    text = other.ok("remote", "inspect", model)
    assert text.splitlines()[0] == f"{model} {digest_in(cli, model)}"
    assert re.search(r"^    format +ollama$", text, re.MULTILINE)
    assert re.search(r"^    model_family +llama$", text, re.MULTILINE)
    layers = json.loads(cli.ok("show", model, "--json"))["layers"]
    assert all(f"    {layer['digest']} " in text for layer in layers)
    assert not other.models.exists()


def test_inspect_as_json(cli: Cli, model: str) -> None:
    shown = json.loads(cli.ok("show", model, "--json"))
    found = json.loads(cli.ok("remote", "inspect", model, "--json"))
    assert found["digest"] == shown["digest"]
    assert found["layers"] == shown["layers"]
    assert found["config"] == shown["config"]
    assert found["total"] == sum(layer["size"] for layer in shown["layers"]) + shown["config"]["size"]
    assert (found["format"], found["facts"]["model_family"]) == ("ollama", "llama")
    assert found["mediaType"] == "application/vnd.docker.distribution.manifest.v2+json"


def test_inspect_raw_is_the_manifest_to_the_byte(cli: Cli, model: str) -> None:
    host, _, rest = model.partition("/")
    manifest = cli.models / "manifests" / host / rest.replace(":", "/")
    assert cli.ok("remote", "inspect", model, "--raw").encode() == manifest.read_bytes()


def test_inspect_what_is_no_model(cli: Cli, modern: Modern) -> None:
    digest = modern.artifact("crew/x", b"a note\x1b[2J", "v1", subject=f"sha256:{'1' * 64}")
    part = {"mediaType": "text/x", "digest": digest, "size": 9, "platform": {"os": "linux", "architecture": "arm64"}}
    modern.put("crew/x", {"schemaVersion": 2, "mediaType": INDEX, "manifests": [part]}, "all")
    text = cli.ok("remote", "inspect", f"{modern.host}/crew/x:v1")
    assert re.search(r"^    format +no model that can be used here$", text, re.MULTILINE)
    assert re.search(r"^    artifact type +text/x$", text, re.MULTILINE)
    assert re.search(rf"^    subject +sha256:{'1' * 64}$", text, re.MULTILINE)
    assert "\x1b" not in text
    text = cli.ok("remote", "inspect", f"{modern.host}/crew/x:all")
    assert re.search(rf"^    {digest} +9 B text/x linux/arm64$", text, re.MULTILINE)


@pytest.mark.parametrize(
    "config", [b"", b"\xff", b"[" * 5000, b"null", b"[1, 2]", b'{"a":' * 500 + b"1" + b"}" * 500, b'{"a": "\x1b[2J"}']
)
def test_inspect_survives_any_config(cli: Cli, modern: Modern, config: bytes) -> None:
    document: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": modern.put_blob("crew/x", config),
        "layers": [],
    }
    modern.put("crew/x", document, "v1")
    assert "\x1b" not in cli.ok("remote", "inspect", f"{modern.host}/crew/x:v1")
    assert json.loads(cli.ok("remote", "inspect", f"{modern.host}/crew/x:v1", "--json"))["total"] == len(config)


def test_error_inspect_what_is_not_as_its_digest(cli: Cli, modern: Modern) -> None:
    modern.artifact("crew/x", b"x", "v1")
    for digest in modern.repository("crew/x").blobs:
        modern.repository("crew/x").blobs[digest] = b"[]"
    said = cli.error(3, "remote", "inspect", f"{modern.host}/crew/x:v1")
    assert re.search(rf"blob [0-9a-f]{{12}} from {modern.host}: expected sha256:", said)
    said = cli.error(4, "remote", "inspect", f"{modern.host}/crew/x:v9")
    assert "404" in said


def test_copy_within_and_between_registries(cli: Cli, model: str, modern: Modern) -> None:
    digest = digest_in(cli, model)
    there, back = f"{modern.host}/team/deep/copy:v2", model.replace(":v1", "-back:v3")
    done = cli.run("remote", "copy", model, there)
    assert (done.returncode, done.stdout) == (0, f"{there} {digest}\n")
    assert done.stderr.splitlines()[0] == "pulling manifest"
    assert done.stderr.splitlines()[-1] == "success"
    steps = [json.loads(line) for line in cli.ok("remote", "copy", there, back, "--json").splitlines()]
    assert steps[-1] == {"status": "success"}
    assert any(step.get("completed") == step.get("total") != None for step in steps)  # noqa: E711
    cli.ok("pull", back)
    assert digest_in(cli, back) == digest


def test_referrers_on_a_registry_without_their_api(cli: Cli, model: str, modern: Modern) -> None:
    """What is attached elsewhere goes along, and is found by the tag that clients keep."""
    there = f"{modern.host}/crew/there:v1"
    cli.ok("remote", "copy", model, there)
    note = modern.artifact("crew/there", b"checked", subject=digest_in(cli, model), kind="text/note")
    assert cli.ok("remote", "referrers", there).splitlines()[0].split()[::3] == [note, "text/note"]
    assert cli.ok("remote", "referrers", model) == ""
    cli.ok("remote", "copy", there, model, "--referrers")
    text = cli.ok("remote", "referrers", model)
    assert text.splitlines() == [text.splitlines()[0], "  note: checked"]
    assert cli.ok("remote", "referrers", model, "--type", "text/other") == ""
    index = json.loads(cli.ok("remote", "referrers", f"{model.removesuffix(':v1')}@{digest_in(cli, model)}", "--json"))
    assert [part["digest"] for part in index["manifests"]] == [note]
    assert index["mediaType"] == INDEX


def test_rm_of_a_tag_alone(cli: Cli, modern: Modern) -> None:
    digest = modern.artifact("crew/x", b"x", "v1", "v2")
    said = cli.ok("remote", "rm", f"{modern.host}/crew/x:v1")
    assert said == f"deleted '{modern.host}/crew/x:v1': the tag alone; the manifest is still there as {digest}\n"
    assert cli.ok("remote", "tags", f"{modern.host}/crew/x").split() == ["v2"]


def test_rm_on_a_registry_that_removes_manifests_only(cli: Cli, model: str) -> None:
    repository = model.removesuffix(":v1")
    digest = digest_in(cli, model)
    cli.ok("remote", "copy", model, f"{repository}:v2")
    said = cli.error(1, "remote", "rm", model)
    assert "removes no single tag, and this manifest is also v2" in said
    assert "--all-tags" in said
    assert cli.ok("remote", "tags", repository).split() == ["v1", "v2"]
    said = cli.ok("remote", "rm", model, "--all-tags")
    assert said == f"deleted '{model}': the manifest {digest} and every tag it had\n"
    assert cli.ok("remote", "tags", repository) == ""
    cli.ok("push", model)
    assert "every tag" in cli.ok("remote", "rm", model)
    cli.ok("push", model)
    assert "every tag" in cli.ok("remote", "rm", f"{repository}@{digest}")
    assert "404" in cli.error(4, "pull", model) + cli.error(4, "remote", "rm", model)


def test_error_rm_where_deletion_is_switched_off(cli: Cli, tiny_gguf: Path, tmp_path: Path) -> None:
    with running_registry(tmp_path, deletes=False) as registry:
        name = f"{registry.host}/crew/kept:v1"
        cli.ok("create", name, "-f", "-", stdin=f"FROM {tiny_gguf}\n")
        cli.ok("push", name)
        said = cli.error(4, "remote", "rm", name)
    assert f"the registry {registry.host} deletes nothing (405)" in said
    assert "hint: its owner has to allow it" in said


def test_the_group_and_its_verbs_have_help(cli: Cli) -> None:
    assert re.search(r"^ {2}remote +Look at what registries have", cli.ok("--help"), re.MULTILINE)
    text = cli.run("remote").stdout + cli.ok("remote", "-h")
    for verb in ("tags", "inspect", "referrers", "copy", "rm"):
        assert re.search(rf"^ {{2}}{verb} ", text, re.MULTILINE)
        assert f"corral remote {verb} [OPTIONS]" in cli.ok("remote", verb, "--help")
    assert cli.run("remote", "nothing").returncode == 2


def test_its_verbs_are_completed(cli: Cli) -> None:
    variables = {"_CORRAL_COMPLETE": "complete_bash", "COMP_WORDS": "corral remote r", "COMP_CWORD": "2"}
    assert cli.ok(**variables).split() == ["referrers", "rm"]
