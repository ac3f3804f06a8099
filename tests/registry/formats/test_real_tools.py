"""Real tools: skopeo, oras-py and a real registry carry what was pushed, to the byte, and what they push is recognised."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import oras.layout
import oras.provider
import pytest
import requests
from corral.registry.formats.writing import Form
from corral.registry.pull import pull
from corral.registry.push import push
from corral.store.config import Config
from corral.store.local import Store
from corral.store.manifest import (
    CONFIG_TYPE,
    LICENSE,
    MESSAGES,
    MODEL,
    PARAMS,
    PROJECTOR,
    SYSTEM,
    TEMPLATE,
    Manifest,
)
from corral.store.name import Name

from tests import weights
from tests.conftest import Cli, DockerRegistry
from tests.registry.formats import test_docker, test_modelpack
from tests.registry.formats.artifacts import DOCKER, OCI, Artifact, Layer, index
from tests.store import splitting

Skopeo = Callable[..., str]
CARRIED = pytest.mark.parametrize("form", ["oci", "modelpack"])
PLAIN = [
    Layer(MODEL, weights.gguf()),
    Layer(TEMPLATE, b"{{ .Prompt }}"),
    Layer(SYSTEM, b"Be kind."),
    Layer(LICENSE, b""),
]
EVERYTHING = [
    *PLAIN,
    Layer(PROJECTOR, weights.projector()),
    Layer(PARAMS, b'{"seed":1}\n'),
    Layer(MESSAGES, b'[{"role":"user","content":"Hi"}]\n'),
    Layer(LICENSE, b"MIT"),
    Layer("application/vnd.ollama.image.future", b"\0"),
    Layer("application/vnd.docker.image.rootfs.diff.tar.gzip", b"no tar"),
]
CONFIG = Layer(CONFIG_TYPE, Config(model_format="gguf", model_family="llama", file_type="F32").encode())


def written(layers: list[Layer], **form: Any) -> Manifest:
    """A manifest as Ollama writes it."""
    entries = [layer.to_json() | {"from": "/home/me/x.gguf"} for layer in layers]
    document = {"schemaVersion": 2, "mediaType": DOCKER, "config": CONFIG.to_json(), "layers": entries}
    return Manifest.parse(json.dumps(document, **form).encode())


MODELS: dict[str, tuple[list[Layer], Manifest]] = {
    "ours": (EVERYTHING[:8], Manifest.build(CONFIG.blob, [layer.blob for layer in EVERYTHING[:8]])),
    "Ollama's": (EVERYTHING, written(EVERYTHING, indent=1)),
    "doubled": ([*PLAIN, *PLAIN, CONFIG], written([*PLAIN, *PLAIN, CONFIG])),
    "of nothing": ([], Manifest.build(CONFIG.blob, [])),
}


@pytest.fixture
def remote(docker_registry: DockerRegistry, request: pytest.FixtureRequest) -> str:
    """Repositories for this test alone."""
    tag = hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:12]
    return f"{docker_registry.host}/formats/{tag}"


def stored(folder: Path, name: str, layers: list[Layer], manifest: Manifest) -> Store:
    """A store with the model."""
    store = Store(folder)
    with store.writing():
        for layer in (*layers, CONFIG):
            store.blobs.put(layer.data, layer.media_type)
        store.tag(Name.parse(name), manifest)
    return store


def content(store: Store, manifest: Manifest) -> dict[str, bytes]:
    return {str(blob.digest): store.blobs.read(blob, 1 << 20) for blob in manifest.blobs}


def in_registry(name: str) -> requests.Response:
    """The manifest that a registry has."""
    host, _, rest = name.partition("/")
    repository, _, tag = rest.rpartition(":")
    types = f"{OCI}, {DOCKER}"
    return requests.get(f"http://{host}/v2/{repository}/manifests/{tag}", headers={"Accept": types}, timeout=10)


def put(name: str, source: Artifact) -> None:
    """What any client does to push an artifact."""
    host, _, rest = name.partition("/")
    repository, _, tag = rest.rpartition(":")
    base = f"http://{host}/v2/{repository}"
    for digest, data in source.blobs.items():
        location = requests.post(f"{base}/blobs/uploads/", timeout=10).headers["Location"]
        reply = requests.put(f"{location}&digest={digest}", data=data, timeout=30)
        assert reply.status_code == 201, reply.text
    reply = requests.put(
        f"{base}/manifests/{tag}", data=source.raw, headers={"Content-Type": source.media_type}, timeout=10
    )
    assert reply.status_code == 201, reply.text


@CARRIED
@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_skopeo_carries_it_to_the_byte(
    tmp_path: Path, remote: str, skopeo: Skopeo, form: Form, model: tuple[list[Layer], Manifest]
) -> None:
    layers, manifest = model
    here = stored(tmp_path / "here", f"{remote}:v1", layers, manifest)
    push(Name.parse(f"{remote}:v1"), here, form=form)
    sent = in_registry(f"{remote}:v1")
    skopeo("copy", "--src-tls-verify=false", f"docker://{remote}:v1", f"oci:{tmp_path}/layout:v1")
    blobs = {f"sha256:{path.name}": path.read_bytes() for path in (tmp_path / "layout/blobs/sha256").iterdir()}
    assert blobs.pop(f"sha256:{hashlib.sha256(sent.content).hexdigest()}") == sent.content
    assert blobs.items() >= content(here, manifest).items()
    assert json.loads(skopeo("inspect", "--raw", f"oci:{tmp_path}/layout:v1")) == sent.json()
    skopeo("copy", "--dest-tls-verify=false", f"oci:{tmp_path}/layout:v1", f"docker://{remote}-back:v1")
    assert in_registry(f"{remote}-back:v1").content == sent.content
    there = Store(tmp_path / "there")
    assert pull(Name.parse(f"{remote}-back:v1"), there).manifest == manifest
    assert content(there, manifest) == content(here, manifest)


@CARRIED
def test_oras_py_carries_it_to_the_byte(tmp_path: Path, remote: str, form: Form) -> None:
    # Its layouts cannot hold a blob that is a list in JSON, as messages are.
    layers = [layer for layer in EVERYTHING if layer.media_type != MESSAGES]
    manifest = written(layers)
    here = stored(tmp_path / "here", f"{remote}:v1", layers, manifest)
    push(Name.parse(f"{remote}:v1"), here, form=form)
    provider = oras.provider.Registry(insecure=True)
    layout = oras.layout.Layout(str(tmp_path / "layout"), validate=False)
    layout.pull_from_registry(provider, f"{remote}:v1", tag="v1")
    blobs = {f"sha256:{path.name}": path.read_bytes() for path in (tmp_path / "layout/blobs/sha256").iterdir()}
    assert blobs.items() >= content(here, manifest).items()
    layout.push_to_registry(provider, f"{remote}-back:v1", tag="v1")
    assert in_registry(f"{remote}-back:v1").content == in_registry(f"{remote}:v1").content
    there = Store(tmp_path / "there")
    assert pull(Name.parse(f"{remote}-back:v1"), there).manifest == manifest
    assert content(there, manifest) == content(here, manifest)


def test_what_oras_py_pushes_is_a_model(tmp_path: Path, remote: str) -> None:
    files = {"model.gguf": weights.gguf(), "mmproj-f16.gguf": weights.projector(), "LICENSE": b"MIT", "README.md": b"#"}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    provider = oras.provider.Registry(insecure=True)
    paths = [str(tmp_path / name) for name in files]
    provider.push(f"{remote}:v1", files=paths, disable_path_validation=True, quiet=True)
    provider.push(
        f"{remote}:typed", files=[f"{paths[0]}:{MODEL}", f"{paths[2]}:{LICENSE}"], disable_path_validation=True
    )
    first, second = (pull(Name.parse(f"{remote}:v1"), Store(tmp_path / folder)) for folder in ("a", "b"))
    assert first.manifest == second.manifest
    store = Store(tmp_path / "a")
    assert [(layer.media_type, store.blobs.read(layer, 1000)) for layer in first.manifest.layers] == [
        (MODEL, files["model.gguf"]),
        (PROJECTOR, files["mmproj-f16.gguf"]),
        (LICENSE, b"MIT"),
    ]
    assert [layer.media_type for layer in pull(Name.parse(f"{remote}:typed"), store).manifest.layers] == [
        MODEL,
        LICENSE,
    ]


def test_what_skopeo_puts_into_a_registry_is_read_whoever_packed_it(
    tmp_path: Path, remote: str, skopeo: Skopeo
) -> None:
    samples = {
        "modelpack": test_modelpack.modelpack(test_modelpack.file("weight", "m.gguf", weights.gguf())),
        "docker": test_docker.model(test_docker.layer("gguf.v3", weights.gguf())),
    }
    ids = set[str]()
    for name, source in samples.items():
        put(f"{remote}:{name}", source)
        skopeo(
            *("copy", "--src-tls-verify=false", "--dest-tls-verify=false"),
            *(f"docker://{remote}:{name}", f"docker://{remote}-back:{name}"),
        )
        assert in_registry(f"{remote}-back:{name}").content == source.raw
        ids.add(str(pull(Name.parse(f"{remote}-back:{name}"), Store(tmp_path / name)).manifest.digest))
    assert len(ids) == 1, "the same files are the same model"


def test_a_pulled_artifact_is_pushed_on_as_it_was(tmp_path: Path, remote: str) -> None:
    source = test_modelpack.modelpack(
        test_modelpack.README, test_modelpack.file("weight", "m.gguf", weights.gguf()), annotations={"signed": "yes"}
    )
    put(f"{remote}:v1", source)
    store = Store(tmp_path / "models")
    model = pull(Name.parse(f"{remote}:v1"), store)
    with store.writing():
        store.tag(Name.parse(f"{remote}-on:v1"), model.manifest)
        store.tag(Name.parse(f"{remote}-on:v2"), model.manifest)
    push(Name.parse(f"{remote}-on:v1"), store, form="modelpack")
    assert in_registry(f"{remote}-on:v1").content == source.raw
    push(Name.parse(f"{remote}-on:v2"), store, form="oci")
    assert in_registry(f"{remote}-on:v2").json()["layers"] == [layer.to_json() for layer in model.manifest.layers]
    assert pull(Name.parse(f"{remote}-on:v2"), Store(tmp_path / "there")).manifest == model.manifest


def test_the_model_of_an_index_is_pulled(tmp_path: Path, remote: str) -> None:
    source = test_docker.model(test_docker.layer("gguf.v3", weights.gguf()))
    attestation = test_docker.model(test_docker.layer("license", b"x"))
    put(f"{remote}:child", source)
    put(f"{remote}:other", attestation)
    digests = [f"sha256:{hashlib.sha256(one.raw).hexdigest()}" for one in (source, attestation)]
    entries: list[dict[str, Any]] = [{"mediaType": OCI, "digest": digests[0], "size": len(source.raw)}]
    entries.append(
        {
            "mediaType": OCI,
            "digest": digests[1],
            "size": len(attestation.raw),
            "annotations": {"vnd.docker.reference.type": "attestation-manifest"},
        }
    )
    put(f"{remote}:v1", Artifact(index(*entries), {}, "application/vnd.oci.image.index.v1+json"))
    model = pull(Name.parse(f"{remote}:v1"), Store(tmp_path / "models"))
    assert [layer.media_type for layer in model.manifest.layers] == [MODEL]


def test_a_split_model_is_put_together(tmp_path: Path, remote: str) -> None:
    tensors = [splitting.Weights(f"t{n}.weight", (8,), 0, bytes([n]) * 32) for n in range(4)]
    split = splitting.Content([splitting.text("general.architecture", "llama")], tensors)
    paths = splitting.split(split, tmp_path, (2, 3))
    provider = oras.provider.Registry(insecure=True)
    provider.push(
        f"{remote}:v1", files=[str(path) for path in reversed(paths)], disable_path_validation=True, quiet=True
    )
    store = Store(tmp_path / "models")
    model = pull(Name.parse(f"{remote}:v1"), store)
    assert [store.blobs.read(layer, 10_000) for layer in model.manifest.layers] == [splitting.merged(split)]
    assert len(list(store.blobs)) == 2, "the parts are not kept"


@pytest.mark.parametrize("kind", ["modelpack", "docker"])
def test_the_real_model_runs_whoever_packed_it(cli: Cli, smollm2: Path, remote: str, kind: str) -> None:
    data = smollm2.read_bytes()
    samples = {
        "modelpack": lambda: test_modelpack.modelpack(
            test_modelpack.file("weight", smollm2.name, data), test_modelpack.file("doc", "LICENSE", b"Apache-2.0")
        ),
        "docker": lambda: test_docker.model(
            test_docker.layer("gguf.v3", data),
            test_docker.layer("license", b"Apache-2.0"),
            config=test_docker.BY_THE_PROGRAM | {"config": {"format": "gguf", "context_size": 512}},
        ),
    }
    put(f"{remote}:v1", samples[kind]())
    cli.ok("pull", f"{remote}:v1")
    shown = json.loads(cli.ok("show", f"{remote}:v1", "--json"))
    assert shown["layers"][0]["digest"] == f"sha256:{hashlib.sha256(data).hexdigest()}"
    # A small context bounds an answer at random that does not come to its end.
    short = {"OLLAMA_NUM_PARALLEL": "1", "OLLAMA_CONTEXT_LENGTH": "64"}
    assert cli.ok("run", f"{remote}:v1", "What is 1+1? Answer in one word.", **short).strip()
