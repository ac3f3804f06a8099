"""Models between store and registry: what clients push is a model here; what is here is served, whatever changed it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from corral.registry.pull import pull
from corral.registry.push import push as send
from corral.store.name import Name

from corral import Store
from tests import weights
from tests.conftest import Cli, DockerRegistry
from tests.registry.formats.artifacts import Layer
from tests.registry.formats.artifacts import artifact as sample
from tests.registry.serve.conftest import Serving
from tests.registry.serve.documents import DOCKER, MANIFEST, artifact, digest, put, upload
from tests.registry.serve.table import held, row
from tests.registry.serve.wire import Reply, Wire

FORMS = ("ollama", "oci", "modelpack")
BOTH = f"{DOCKER}, {MANIFEST}"
SMALL = Name.parse("small")


def ask(own: Serving, reference: str, accept: str = BOTH, method: str = "GET", repository: str = "crew/small") -> Reply:
    return own.wire.ask(method, f"/v2/{repository}/manifests/{reference}", b"", {"Accept": accept})


def listed(own: Serving) -> dict[str, str]:
    """The store's models, and their digests."""
    return {str(model.name): str(model.manifest.digest) for model in Store(own.models).models()[0]}


def tags(own: Serving, repository: str = "crew/small") -> list[str]:
    reply = own.wire.ask("GET", f"/v2/{repository}/tags/list")
    return reply.json["tags"] if reply.status == 200 else []


def manifest_file(own: Serving, tag: str = "v1") -> Path:
    return own.models / "manifests" / "registry.ollama.ai" / "crew" / "small" / tag


def blobs(own: Serving) -> list[str]:
    """The names of all blobs' files."""
    return [path.name for path in own.models.rglob("sha256-*") if path.is_file()]


@pytest.fixture(scope="module")
def made(tiny_gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with the models `small` and `changed`."""
    folder = tmp_path_factory.mktemp("made")
    cli = Cli(folder / "models", folder)
    text = f"FROM {tiny_gguf}\nSYSTEM Be kind.\nPARAMETER seed 1\nLICENSE MIT\n"
    cli.ok("create", "small", "-f", "-", stdin=text)
    cli.ok("create", "changed", "-f", "-", stdin=f"FROM {tiny_gguf}\nSYSTEM Changed.\n")
    return cli.models


@pytest.fixture
def client(made: Path, tmp_path: Path) -> Store:
    """A client's store, which has `small`."""
    return Store(shutil.copytree(made, tmp_path / "client"))


def push(client: Store, own: Serving, form: str = "oci") -> str:
    """Push `small` under a tag named like the form; the digest that it has there."""
    send(client.copy(SMALL, Name.parse(f"{own.host}/crew/small:{form}")), client, form=form)
    return ask(own, form, method="HEAD").headers["docker-content-digest"]


@pytest.fixture
def local(own: Serving, made: Path) -> str:
    """The digest of a model that the store which is served has by itself."""
    shutil.copytree(made, own.models, dirs_exist_ok=True)
    store = Store(own.models)
    name = store.copy(Name.parse("changed"), Name.parse("crew/small:v1"))
    for other in ("changed", "small"):
        store.remove(Name.parse(other))
    return str(store.find(name).manifest.digest)


@pytest.mark.parametrize("form", FORMS)
def test_a_model_that_is_pushed_is_the_stores_and_comes_back_to_the_byte(
    client: Store, own: Serving, form: str, docker_registry: DockerRegistry, tmp_path: Path
) -> None:
    pushed = push(client, own, form)
    send(client.copy(SMALL, Name.parse(f"{docker_registry.host}/serve/small:{form}")), client, form=form)
    small = client.find(SMALL).manifest
    assert listed(own) == {f"crew/small:{form}": str(small.digest)}
    given = ask(own, form)
    with Wire(docker_registry.host) as debians:
        assert given.body == debians.ask("GET", f"/v2/serve/small/manifests/{form}", b"", {"Accept": BOTH}).body
    assert digest(given.body) == pushed
    assert ask(own, pushed).body == given.body
    back = pull(Name.parse(f"{own.host}/crew/small:{form}"), Store(tmp_path / "back"))
    assert back.manifest == small
    assert f"crew/small:{form}" in own.cli.ok("list")
    assert own.cli.ok("show", f"crew/small:{form}", "--system") == "Be kind."


def test_a_model_that_is_pushed_runs_the_same(cli: Cli, own: Serving, smollm2: Path) -> None:
    name = f"{own.host}/crew/smol:v1"
    cli.ok("create", name, "-f", "-", stdin=f"FROM {smollm2}\nPARAMETER temperature 0\nPARAMETER num_predict 4\n")
    cli.ok("push", name, "--format", "modelpack")
    said = cli.ok("run", name, "Say hello.", OLLAMA_NUM_PARALLEL="1")
    assert said.strip()
    assert own.cli.ok("run", "crew/smol:v1", "Say hello.", OLLAMA_NUM_PARALLEL="1") == said


def test_a_model_of_docker_model_runner_that_is_pushed_is_the_stores(own: Serving) -> None:
    prefix, gguf = "application/vnd.docker.ai.", weights.gguf()
    config = Layer(f"{prefix}model.config.v0.1+json", b'{"config":{"format":"gguf"},"descriptor":{},"rootfs":{}}')
    docker = sample(Layer(f"{prefix}gguf.v3", gguf), Layer(f"{prefix}license", b"MIT"), config=config)
    steps = [*upload(*docker.blobs.values(), to="crew/small"), put(docker.raw, "docker", to="crew/small")]
    assert held(row("docker", *steps), own.host) == ""
    model = Store(own.models).find(Name.parse("crew/small:docker")).manifest
    assert str(model.layers[0].digest) == digest(gguf)
    assert ask(own, "docker").body == docker.raw
    assert ask(own, "docker", DOCKER).body == model.raw


def test_the_forms_of_one_model_share_their_large_blobs(client: Store, own: Serving) -> None:
    for form in FORMS:
        push(client, own, form)
    assert len(set(listed(own).values())) == 1
    large = client.find(SMALL).manifest.layers[0].digest
    names = [path for path in own.models.rglob(large.filename) if path.stat().st_size]
    assert len({path.stat().st_ino for path in names}) == 1


def test_who_takes_ollamas_form_only_gets_it_of_what_was_pushed_otherwise(client: Store, own: Serving) -> None:
    pushed = push(client, own)
    given = ask(own, "oci", DOCKER)
    assert given.headers["content-type"] == DOCKER
    assert digest(given.body) == given.headers["docker-content-digest"] != pushed
    assert given.body == manifest_file(own, "oci").read_bytes()
    assert ask(own, given.headers["docker-content-digest"], DOCKER).body == given.body
    assert ask(own, "oci").headers["docker-content-digest"] == pushed


def test_a_model_that_is_made_here_is_served(own: Serving, local: str, tmp_path: Path) -> None:
    assert ask(own, "v1").body == ask(own, "v1", DOCKER).body == manifest_file(own).read_bytes()
    assert ask(own, local).headers["docker-content-digest"] == local
    assert tags(own) == ["v1"]
    assert own.wire.ask("GET", "/v2/_catalog").json == {"repositories": ["crew/small"]}
    wrapped = ask(own, "v1", MANIFEST)
    assert (wrapped.headers["content-type"], digest(wrapped.body)) == (
        MANIFEST,
        wrapped.headers["docker-content-digest"],
    )
    assert ask(own, digest(wrapped.body), MANIFEST).body == wrapped.body
    assert ask(own, digest(wrapped.body), MANIFEST, "HEAD").status == 200
    for layer in [wrapped.json["config"], *wrapped.json["layers"]]:
        reply = own.wire.ask("GET", f"/v2/crew/small/blobs/{layer['digest']}")
        assert (digest(reply.body), len(reply.body)) == (layer["digest"], layer["size"])
        assert own.wire.ask("HEAD", f"/v2/crew/other/blobs/{layer['digest']}").status == 404
    assert str(pull(Name.parse(f"{own.host}/crew/small:v1"), Store(tmp_path / "back")).manifest.digest) == local


def test_a_model_of_the_default_namespace_is_served_by_its_word_too(own: Serving, local: str) -> None:
    assert local
    Store(own.models).copy(Name.parse("crew/small:v1"), Name.parse("Word"))
    for repository in ("word", "library/word", "Word"):
        assert ask(own, "latest", repository=repository).status == 200
    assert own.wire.ask("GET", "/v2/_catalog").json == {"repositories": ["crew/small", "library/word"]}


def test_a_model_of_another_host_is_served_with_it(own: Serving, local: str) -> None:
    assert local
    Store(own.models).copy(Name.parse("crew/small:v1"), Name.parse("example.com:5000/a/b/c:v1"))
    assert tags(own, "example.com__5000/a/b/c") == ["v1"]
    assert ask(own, "v1", repository="example.com__5000/a/b/c").status == 200


@pytest.mark.parametrize("form", FORMS)
def test_a_model_that_is_changed_here_is_changed_there(client: Store, own: Serving, form: str, local: str) -> None:
    pushed = push(client, own, form)
    Store(own.models).copy(Name.parse("crew/small:v1"), Name.parse(f"crew/small:{form}"))
    changed = ask(own, form, DOCKER)
    assert changed.headers["docker-content-digest"] == listed(own)[f"crew/small:{form}"] == local != pushed
    assert ask(own, pushed).status == 404
    assert push(client, own, form) == pushed
    assert ask(own, form).headers["docker-content-digest"] == pushed


@pytest.mark.parametrize("form", FORMS)
def test_a_model_that_is_removed_here_is_gone_there(client: Store, own: Serving, form: str) -> None:
    pushed = push(client, own, form)
    own.cli.ok("rm", f"crew/small:{form}")
    assert (ask(own, form).status, ask(own, pushed).status, tags(own)) == (404, 404, [])
    assert client.find(SMALL).manifest.layers[0].digest.filename not in blobs(own)
    Store(own.models).collect()
    assert blobs(own) == []


@pytest.mark.parametrize("form", FORMS)
def test_a_model_whose_manifest_ollama_deletes_is_gone_there(client: Store, own: Serving, form: str) -> None:
    push(client, own, form)
    manifest_file(own, form).unlink()
    assert (ask(own, form).status, tags(own), listed(own)) == (404, [], {})
    own.cli.ok("gc")
    assert blobs(own) == []


def test_a_model_that_ollama_replaces_is_replaced_there(client: Store, own: Serving, local: str) -> None:
    push(client, own)
    manifest_file(own, "oci").write_bytes(manifest_file(own).read_bytes())
    assert ask(own, "oci").headers["docker-content-digest"] == local
    assert ask(own, "oci", MANIFEST).body == ask(own, "v1", MANIFEST).body


@pytest.mark.parametrize("form", FORMS)
def test_a_model_whose_tag_is_deleted_there_is_gone_here(client: Store, own: Serving, form: str) -> None:
    pushed = push(client, own, form)
    assert ask(own, form, method="DELETE").status == 202
    assert (listed(own), tags(own), ask(own, form).status) == ({}, [], 404)
    assert digest(ask(own, pushed).body) == pushed  # the spec's: a tag alone was deleted
    assert ask(own, pushed, method="DELETE").status == 202
    assert ask(own, pushed).status == 404


@pytest.mark.parametrize("form", FORMS)
def test_a_model_that_is_deleted_there_by_its_digest_is_gone_here(client: Store, own: Serving, form: str) -> None:
    pushed = push(client, own, form)
    assert ask(own, pushed, method="DELETE").status == 202
    assert (listed(own), tags(own), ask(own, form).status, ask(own, pushed).status) == ({}, [], 404, 404)


@pytest.mark.parametrize("accept", [DOCKER, MANIFEST])
def test_a_model_made_here_is_deleted_by_the_digest_that_its_tag_gave(own: Serving, local: str, accept: str) -> None:
    assert local
    given = ask(own, "v1", accept, "HEAD").headers["docker-content-digest"]
    assert ask(own, given, accept, "DELETE").status == 202
    assert (listed(own), ask(own, "v1").status, ask(own, given, accept).status) == ({}, 404, 404)
    assert ask(own, given, accept, "DELETE").status == 404


def test_error_a_blob_that_a_model_needs_is_not_deleted(client: Store, own: Serving) -> None:
    push(client, own)
    large = client.find(SMALL).manifest.layers[0].digest
    reply = own.wire.ask("DELETE", f"/v2/crew/small/blobs/{large}")
    assert (reply.status, reply.code) == (403, "DENIED")
    assert own.wire.ask("HEAD", f"/v2/crew/small/blobs/{large}").status == 200


def test_what_is_no_model_takes_the_place_of_one(client: Store, own: Serving) -> None:
    push(client, own)
    assert held(row("empty", upload(b"{}", to="crew/small")), own.host) == ""
    reply = own.wire.ask("PUT", "/v2/crew/small/manifests/oci", artifact(), {"Content-Type": MANIFEST})
    assert (reply.status, listed(own)) == (201, {})
    assert ask(own, "oci").body == artifact()
    push(client, own)
    assert list(listed(own)) == ["crew/small:oci"]


def test_a_model_under_several_tags_of_one_request(client: Store, own: Serving) -> None:
    push(client, own)
    raw = ask(own, "oci").body
    put = own.wire.ask("PUT", f"/v2/crew/small/manifests/{digest(raw)}?tag=a&tag=b", raw, {"Content-Type": MANIFEST})
    assert put.headers["oci-tag"] == "a, b"
    assert sorted(listed(own)) == ["crew/small:a", "crew/small:b", "crew/small:oci"]


def test_a_link_to_a_file_that_was_edited_is_not_served(own: Serving, tiny_gguf: Path, tmp_path: Path) -> None:
    source = tmp_path / "source.gguf"
    source.write_bytes(tiny_gguf.read_bytes())
    own.cli.ok("create", "crew/small:v1", "--link", "-f", "-", stdin=f"FROM {source}\n")
    (large,) = (one["digest"] for one in ask(own, "v1").json["layers"])
    assert own.wire.ask("GET", f"/v2/crew/small/blobs/{large}").status == 200
    with source.open("r+b") as file:
        file.write(b"another")
    assert own.wire.ask("GET", f"/v2/crew/small/blobs/{large}").code == "BLOB_UNKNOWN"
