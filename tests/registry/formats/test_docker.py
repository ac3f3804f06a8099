"""Docker Model Runner's artifacts, by its published spec and as its program writes them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from corral.registry.formats.reading import recognise
from corral.store.errors import InvalidManifestError
from corral.store.manifest import MODEL, PROJECTOR, Manifest

from tests import weights
from tests.registry.formats.artifacts import FILEPATH, OCI, Artifact, Layer, artifact, pulled, types

PREFIX = "application/vnd.docker.ai."
GGUF = weights.gguf()
LORA = weights.gguf(weights.text_pair("general.type", "adapter"))
EYE = weights.projector()
BY_THE_PROGRAM: dict[str, Any] = {
    "config": {
        "format": "gguf",
        "quantization": "Q4_0",
        "parameters": "8 B",
        "architecture": "llama",
        "size": "4 GiB",
        "gguf": {"general.architecture": "llama"},
    },
    "descriptor": {"created": "2026-01-01T00:00:00Z"},
    "rootfs": {"type": "rootfs", "diff_ids": ["sha256:0"]},
}
BY_THE_SPEC: dict[str, Any] = {
    "descriptor": {"createdAt": "2025-01-01T00:00:00Z"},
    "config": {"format": "gguf", "format_version": "3", "gguf": {"parameter_count": "1.10 B"}, "size": "635992801"},
    "files": [{"diffID": "sha256:0", "type": f"{PREFIX}gguf.v3"}],
}


def layer(kind: str, data: bytes, path: str = "") -> Layer:
    return Layer(PREFIX + kind, data, {FILEPATH: path} if path else None)


def model(*layers: Layer, config: object = BY_THE_PROGRAM, version: str = "v0.1") -> Artifact:
    """An artifact with these layers."""
    described = Layer(f"{PREFIX}model.config.{version}+json", json.dumps(config).encode())
    return artifact(*layers, config=described)


@pytest.mark.parametrize("config", [BY_THE_PROGRAM, BY_THE_SPEC], ids=["program", "spec"])
def test_version_01_tells_files_by_their_types(config: dict[str, Any]) -> None:
    source = model(layer("gguf.v3", GGUF), layer("license", b"MIT"), layer("license", b"more"), config=config)
    assert source.packed().format == "docker"
    here = pulled(source)
    assert here.layers == [("model", GGUF), ("license", b"MIT"), ("license", b"more")]
    assert here.config["model_family"] == "llama"
    assert list(here.original.blobs.values()) == [json.dumps(config).encode()]


def test_version_02_has_a_layer_for_each_file() -> None:
    here = pulled(
        model(
            *(layer("model.file", b"# x", "README.md"), layer("model.file", b"{}", "tokenizer/config.json")),
            *(layer("mmproj", EYE, "mmproj-f16.gguf"), layer("gguf.v3", GGUF, "weights/model.gguf")),
            layer("model.file", b"MIT", "LICENSE"),
            version="v0.2",
        )
    )
    assert here.layers == [("model", GGUF), ("projector", EYE), ("license", b"MIT")]


@pytest.mark.parametrize("kind", ["mmproj", "gguf.v3.mmproj"])
def test_both_spellings_of_a_projector_are_read(kind: str) -> None:
    here = pulled(model(layer("gguf.v3", GGUF), layer(kind, EYE)))
    assert [blob.media_type for blob in here.manifest.layers] == [MODEL, PROJECTOR]


def test_an_adapter_is_one_by_its_type() -> None:
    assert types(pulled(model(layer("gguf.v3.lora", LORA), layer("gguf.v3", GGUF))).layers) == ["model", "adapter"]


def test_a_chat_template_stays_with_the_model_under_its_own_type() -> None:
    here = pulled(model(layer("chat.template.jinja", b"{{ messages }}"), layer("gguf.v3", GGUF)))
    assert here.layers == [("model", GGUF), (f"{PREFIX}chat.template.jinja", b"{{ messages }}")]


@pytest.mark.parametrize(("size", "params"), [(4096, {"num_ctx": 4096}), (0, None), (-1, None), (None, None)])
def test_the_context_size_becomes_a_parameter(size: int | None, params: dict[str, int] | None) -> None:
    config = BY_THE_PROGRAM | {"config": BY_THE_PROGRAM["config"] | {"context_size": size}}
    here = dict(pulled(model(layer("gguf.v3", GGUF), config=config)).layers)
    assert here == {"model": GGUF, **({"params": b'{"num_ctx":4096}\n'} if params else {})}


def test_the_same_files_make_the_same_model() -> None:
    first = pulled(model(layer("gguf.v3", GGUF), layer("license", b"MIT")))
    second = pulled(
        model(layer("license", b"MIT", "LICENSE"), layer("gguf.v3", GGUF, "m.gguf"), version="v0.2", config={})
    )
    assert first.manifest == second.manifest
    assert first.manifest == Manifest.build(first.manifest.config, list(first.manifest.layers))


@pytest.mark.parametrize(
    "source",
    [
        model(
            layer("safetensors", b"x", "model.safetensors"), layer("vllm.config.tar", b"x"), layer("license", b"MIT")
        ),
        model(layer("dduf", b"x")),
        model(layer("dir.tar", b"x"), version="v0.2"),
        model(),
    ],
    ids=["safetensors", "dduf", "a tar", "nothing"],
)
def test_error_other_weights_are_refused(source: Artifact) -> None:
    with pytest.raises(
        InvalidManifestError, match="it is a model of Docker Model Runner without a GGUF file: "
    ) as caught:
        recognise(source.raw, OCI, "x")
    assert caught.value.hint


@pytest.mark.parametrize("version", ["v0.3", "v1", "v0.10"])
def test_error_a_version_that_is_not_known(version: str) -> None:
    with pytest.raises(InvalidManifestError, match=r"and v0\.1 and v0\.2 are read"):
        recognise(model(layer("gguf.v3", GGUF), version=version).raw, OCI, "x")


@pytest.mark.parametrize(
    "config",
    [
        [],
        "x",
        {"config": []},
        {"config": {"context_size": "4096"}},
        {"config": {"context_size": 1 << 40}},
        {"config": {"context_size": 10**30}},
        {"config": {"context_size": 1.5}},
        {"config": {"context_size": True}},
    ],
    ids=str,
)
def test_error_a_config_that_says_something_else(config: object) -> None:
    with pytest.raises(InvalidManifestError, match=r"^x: invalid manifest: its con"):
        pulled(model(layer("gguf.v3", GGUF), config=config))


def test_error_a_config_that_is_too_large() -> None:
    config: dict[str, object] = {"config": {}, "x": "x" * (8 << 20)}
    with pytest.raises(InvalidManifestError, match="its config has 8388631 bytes, at most 8388608 are read"):
        recognise(model(layer("gguf.v3", GGUF), config=config).raw, OCI, "x")


def test_error_a_deep_config() -> None:
    deep = Layer(f"{PREFIX}model.config.v0.1+json", b'{"x":' + b"[" * 100_000)
    with pytest.raises(InvalidManifestError, match="its config: maximum recursion depth"):
        pulled(artifact(layer("gguf.v3", GGUF), config=deep))
