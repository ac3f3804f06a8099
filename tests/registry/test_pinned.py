"""Names with a digest, and tags that differ by case: what is meant is what is pulled, pushed, looked through and removed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import requests

from tests.conftest import Cli, DockerRegistry


@pytest.fixture
def remote(docker_registry: DockerRegistry, request: pytest.FixtureRequest) -> str:
    """A repository for this test alone."""
    return f"{docker_registry.host}/pins/{request.node.name.partition('[')[0].lower()[5:50].strip('_')}"


@pytest.fixture
def elsewhere(cli: Cli, tmp_path: Path) -> Cli:
    return Cli(tmp_path / "elsewhere", cli.folder)


def pushed(cli: Cli, tiny_gguf: Path, name: str, form: str, system: str = "Be kind.") -> str:
    """A model in the registry; its digest there."""
    cli.ok("create", name, "-f", "-", stdin=f"FROM {tiny_gguf}\nSYSTEM {system}\nPARAMETER seed 1\n")
    cli.ok("push", name, "--format", form)
    return str(json.loads(cli.ok("remote", "inspect", name, "--json"))["digest"])


def tags(name: str) -> list[str]:
    host, _, repository = name.partition("/")
    return sorted(requests.get(f"http://{host}/v2/{repository}/tags/list", timeout=10).json()["tags"])


@pytest.mark.parametrize("form", ["ollama", "oci", "modelpack"])
def test_what_was_pulled_by_its_digest_is_sound_and_goes_back_as_it_was(
    cli: Cli, elsewhere: Cli, tiny_gguf: Path, remote: str, form: str
) -> None:
    name = f"{remote}:{form}"
    digest = pushed(cli, tiny_gguf, name, form)
    before = tags(remote)
    elsewhere.ok("pull", f"{remote}@{digest}")
    elsewhere.ok("verify", "--deep")
    elsewhere.ok("show", f"{remote}@{digest}")
    elsewhere.ok("push", f"{remote}@{digest}")
    assert tags(remote) == before
    elsewhere.ok("cp", f"{remote}@{digest}", f"{remote}:mine")
    assert elsewhere.ok("rm", f"{remote}@{digest}") == f"deleted '{remote}:{digest.replace(':', '-')}'\n"
    assert [model["name"] for model in json.loads(elsewhere.ok("list", "--json"))["models"]] == [f"{remote}:mine"]


def test_error_a_push_by_a_digest_that_the_form_does_not_have(cli: Cli, tiny_gguf: Path, remote: str) -> None:
    pushed(cli, tiny_gguf, f"{remote}:v1", "ollama")
    own = json.loads(cli.ok("show", f"{remote}:v1", "--json"))["digest"]
    said = cli.error(1, "push", f"{remote}@{own}", "--format", "oci")
    assert "its manifest has another digest in the form in which it would be sent: sha256:" in said
    assert tags(remote) == ["v1"]


def test_a_manifest_where_clients_keep_referrers_is_no_list_of_them(cli: Cli, tiny_gguf: Path, remote: str) -> None:
    name = f"{remote}:v1"
    digest = pushed(cli, tiny_gguf, name, "ollama")
    host, _, repository = remote.partition("/")
    url = f"http://{host}/v2/{repository}/manifests/"
    kind = {"Accept": "application/vnd.docker.distribution.manifest.v2+json"}
    raw = requests.get(f"{url}v1", headers=kind, timeout=10).content
    tag = digest.replace(":", "-")
    stored = requests.put(f"{url}{tag}", data=raw, headers={"Content-Type": kind["Accept"]}, timeout=10)
    assert stored.status_code == 201
    assert json.loads(cli.ok("remote", "referrers", name, "--json"))["manifests"] == []


def test_tags_that_differ_by_case_are_two_in_a_registry_and_here(
    cli: Cli, elsewhere: Cli, tiny_gguf: Path, remote: str
) -> None:
    for tag, system in (("v1", "lower"), ("V1", "upper")):
        pushed(cli, tiny_gguf, f"{remote}:{tag}", "ollama", system)
    assert tags(remote) == ["V1", "v1"]
    for tag, system in (("v1", "lower"), ("V1", "upper")):
        elsewhere.ok("pull", f"{remote}:{tag}")
        assert elsewhere.ok("show", f"{remote}:{tag}", "--system").strip() == system
    assert len(json.loads(elsewhere.ok("list", "--json"))["models"]) == 2
    elsewhere.ok("rm", f"{remote}:V1")
    assert elsewhere.ok("show", f"{remote}:v1", "--system").strip() == "lower"


def test_error_a_push_to_the_hub(cli: Cli, tiny_gguf: Path) -> None:
    cli.ok("create", "hf.co/crew/x", "-f", "-", stdin=f"FROM {tiny_gguf}\n")
    assert "models are not pushed to Hugging Face" in cli.error(1, "push", "hf.co/crew/x")
