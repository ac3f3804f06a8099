"""Other programs with our registry server: skopeo, oras-py, Debian's docker-registry before and behind it, Ollama's."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Generator
from pathlib import Path

import oras.client
import pytest
from corral.registry.pull import pull
from corral.registry.push import push
from corral.store.local import Store
from corral.store.name import Name

from tests.cli.conftest import skopeo as skopeo
from tests.conftest import Cli, DockerRegistry
from tests.registry.serve.conftest import Serving
from tests.registry.serve.documents import DOCKER, INDEX, MANIFEST, artifact, described, digest, encoded
from tests.registry.serve.wire import Reply, Wire, located

Skopeo = Callable[..., str]


@pytest.fixture
def model(cli: Cli, tiny_gguf: Path) -> Store:
    """A store with the model `small`."""
    cli.ok("create", "small", "-f", "-", stdin=f"FROM {tiny_gguf}\nSYSTEM Be kind.\n")
    return Store(cli.models)


@pytest.fixture
def wire(own: Serving) -> Generator[Wire]:
    """A connection to the server."""
    connection = own.wire
    yield connection
    connection.close()


def named(store: Store, text: str) -> Name:
    """The model `small` under a further name."""
    return store.copy(Name.parse("small"), Name.parse(text))


def test_skopeo_copies_lists_inspects_and_deletes(
    own: Serving, wire: Wire, skopeo: Skopeo, model: Store, tmp_path: Path
) -> None:
    name = named(model, f"{own.host}/crew/small:v1")
    push(name, model, form="oci")
    image = f"docker://{own.host}/crew/small"
    plain = "--src-tls-verify=false"
    skopeo("copy", plain, f"{image}:v1", f"oci:{tmp_path}/layout:v1")
    skopeo("copy", "--dest-tls-verify=false", f"oci:{tmp_path}/layout:v1", f"{image}:v2")
    assert json.loads(skopeo("list-tags", "--tls-verify=false", image))["Tags"] == ["v1", "v2"]
    raw = skopeo("inspect", "--raw", "--tls-verify=false", f"{image}:v2").encode()
    given = wire.ask("GET", "/v2/crew/small/manifests/v1", headers={"Accept": MANIFEST})
    assert raw.strip() == given.body.strip()
    assert Store(own.models).find(Name.parse("crew/small:v2")).manifest == model.find(name).manifest
    skopeo("delete", "--tls-verify=false", f"{image}:v2")
    assert wire.ask("GET", "/v2/crew/small/manifests/v2").status == 404


def test_skopeo_carries_a_model_that_was_made_here(
    own: Serving, skopeo: Skopeo, wire: Wire, tiny_gguf: Path, tmp_path: Path
) -> None:
    own.cli.ok("create", "crew/made:v1", "-f", "-", stdin=f"FROM {tiny_gguf}\nSYSTEM Be kind.\n")
    image = f"docker://{own.host}/crew/made"
    skopeo("copy", "--src-tls-verify=false", f"{image}:v1", f"oci:{tmp_path}/layout:v1")
    skopeo("copy", "--dest-tls-verify=false", f"oci:{tmp_path}/layout:v1", f"{image}:v2")
    store = Store(own.models)
    assert store.find(Name.parse("crew/made:v2")).manifest == store.find(Name.parse("crew/made:v1")).manifest
    both = wire.ask("GET", "/v2/crew/made/manifests/v1", headers={"Accept": f"{DOCKER}, {MANIFEST}"})
    assert both.headers["content-type"] == DOCKER, "what a client names first it wants most"


def test_a_model_goes_through_debians_registry_and_back(
    own: Serving, skopeo: Skopeo, docker_registry: DockerRegistry, model: Store, tmp_path: Path
) -> None:
    """As a team's that outgrows one machine: from ours to Debian's, by skopeo and by Corral, and to ours again."""
    name = named(model, f"{own.host}/crew/small:v1")
    manifest = push(name, model, form="oci").manifest
    tag = hashlib.sha256(own.host.encode()).hexdigest()[:8]
    there = f"{docker_registry.host}/ours/{tag}"
    skopeo(
        "copy",
        "--src-tls-verify=false",
        "--dest-tls-verify=false",
        f"docker://{own.host}/crew/small:v1",
        f"docker://{there}:skopeo",
    )
    cli = Cli(tmp_path / "models", tmp_path)
    cli.ok("remote", "copy", f"{own.host}/crew/small:v1", f"{there}:corral")
    cli.ok("remote", "copy", f"{there}:corral", f"{own.host}/crew/back:v1")
    for remote in (f"{there}:skopeo", f"{there}:corral", f"{own.host}/crew/back:v1"):
        assert pull(Name.parse(remote), Store(tmp_path / "models")).manifest == manifest
    assert Store(own.models).find(Name.parse("crew/back:v1")).manifest == manifest


def test_what_refers_to_a_model_is_copied_with_it(
    own: Serving, wire: Wire, docker_registry: DockerRegistry, tmp_path: Path
) -> None:
    subject = artifact()
    for raw, tag in ((subject, "v1"), (artifact(subject=described(subject, MANIFEST)), "")):
        send(wire, "crew/signed", b"{}")
        reference = tag or digest(raw)
        reply = wire.ask("PUT", f"/v2/crew/signed/manifests/{reference}", raw, {"Content-Type": MANIFEST})
        assert reply.status == 201, reply.body
    tag = hashlib.sha256(own.host.encode()).hexdigest()[:8]
    cli = Cli(tmp_path / "models", tmp_path)
    there = f"{docker_registry.host}/signed/{tag}:v1"
    cli.ok("remote", "copy", "--referrers", f"{own.host}/crew/signed:v1", there)
    cli.ok("remote", "copy", "--referrers", there, f"{own.host}/crew/again:v1")
    index = wire.ask("GET", f"/v2/crew/again/referrers/{digest(subject)}")
    assert index.headers["content-type"] == INDEX
    assert [one["artifactType"] for one in index.json["manifests"]] == ["application/vnd.example.thing"]


def test_oras_pushes_and_pulls_files(own: Serving, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("notes.txt").write_text("Be kind.\n")
    client = oras.client.OrasClient(hostname=own.host, insecure=True)
    target = f"{own.host}/crew/notes:v1"
    assert client.push(target=target, files=["notes.txt:text/plain"], disable_path_validation=True).status_code == 201
    assert client.get_tags(f"{own.host}/crew/notes") == ["v1"]
    (pulled,) = client.pull(target=target, outdir=str(tmp_path / "back"))
    assert Path(pulled).read_text() == "Be kind.\n"
    assert own.cli.ok("list").count("\n") == 1, "a file is no model"


def send(wire: Wire, repository: str, data: bytes) -> None:
    """A blob, in two requests."""
    begun = wire.ask("POST", f"/v2/{repository}/blobs/uploads/")
    reply = wire.ask("PUT", f"{located(begun)}?digest={digest(data)}", data)
    assert reply.status == 201, reply.body


class OllamasClient:
    """What Ollama 0.33 asks of a registry, and what it makes of the replies (spec/ollama.md parts 6.3 and 6.4)."""

    part = 100_000

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def push(self, repository: str, tag: str, manifest: bytes, blobs: list[bytes]) -> None:
        for data in blobs:
            if self._wire.ask("HEAD", f"/v2/{repository}/blobs/{digest(data)}").status == 404:
                self._upload(repository, data)
        target = f"/v2/{repository}/manifests/{tag}"
        reply = self._wire.ask("PUT", target, manifest, {"Content-Type": DOCKER})
        assert 200 <= reply.status < 300, reply.body

    def _upload(self, repository: str, data: bytes) -> None:
        begun = self._wire.ask("POST", f"/v2/{repository}/blobs/uploads/?mount={digest(data)}&from=library/base")
        assert begun.status == 202, begun.body
        where = located(begun)
        for start in range(0, len(data), self.part):
            part = data[start : start + self.part]
            headers = {
                "Content-Type": "application/octet-stream",
                "Content-Range": f"{start}-{start + len(part) - 1}",
                "X-Redirect-Uploads": "1",
            }
            reply = self._wire.ask("PATCH", where, part, headers)
            assert reply.status == 202, reply.body
            where = located(reply)
        sums = b"".join(hashlib.md5(data[at : at + self.part]).digest() for at in range(0, len(data), self.part))
        etag = f"{hashlib.md5(sums).hexdigest()}-{-(-len(data) // self.part)}"
        join = "&" if "?" in where else "?"
        reply = self._wire.ask("PUT", f"{where}{join}digest={digest(data).replace(':', '%3A')}&etag={etag}")
        assert reply.status == 201, reply.body

    def pull(self, repository: str, tag: str) -> tuple[bytes, dict[str, bytes]]:
        manifest = self._wire.ask("GET", f"/v2/{repository}/manifests/{tag}", headers={"Accept": DOCKER})
        assert manifest.status == 200, manifest.body
        document = manifest.json
        found: dict[str, bytes] = {}
        for layer in [*document["layers"], document["config"]]:
            target = f"/v2/{repository}/blobs/{layer['digest']}"
            size = int(self._wire.ask("HEAD", target).headers["content-length"])
            direct = self._wire.ask("GET", target)
            assert direct.status in (200, 307)
            where = located(direct)  # without a Location it gives up
            parts = [self._ranged(where, start, min(start + self.part, size)) for start in range(0, size, self.part)]
            found[layer["digest"]] = b"".join(parts)
            assert digest(found[layer["digest"]]) == layer["digest"]
        return manifest.body, found

    def _ranged(self, where: str, start: int, stop: int) -> bytes:
        reply: Reply = self._wire.ask("GET", where, headers={"Range": f"bytes={start}-{stop - 1}"})
        assert reply.status == 206
        return reply.body


def test_ollamas_client_pushes_and_pulls(own: Serving, wire: Wire) -> None:
    weights, config = b"G" * 250_001, b'{"model_format":"gguf"}'
    layer = described(weights, "application/vnd.ollama.image.model")
    document = {"schemaVersion": 2, "mediaType": DOCKER, "config": described(config, CONFIG), "layers": [layer]}
    client = OllamasClient(wire)
    client.push("library/mine", "Latest", encoded(document), [weights, config])
    assert own.cli.ok("list").splitlines()[1].startswith("mine:")
    raw, blobs = client.pull("library/Mine", "Latest")
    assert raw == encoded(document)
    assert blobs == {digest(weights): weights, digest(config): config}


def test_ollamas_client_pulls_what_was_made_here_or_pushed_in_another_form(
    own: Serving, wire: Wire, model: Store
) -> None:
    manifest = push(named(model, f"{own.host}/crew/small:v1"), model, form="modelpack").manifest
    raw, blobs = OllamasClient(wire).pull("crew/small", "v1")
    assert raw == manifest.raw
    assert blobs.keys() == {str(blob.digest) for blob in manifest.blobs}


CONFIG = "application/vnd.docker.container.image.v1+json"
