"""ModelPack: what is written is by the spec, and what others write by it is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from corral.registry.formats.packed import Packed
from corral.registry.formats.reading import recognise
from corral.registry.formats.writing import pack
from corral.store import parts
from corral.store.digest import Digest
from corral.store.errors import InvalidGGUFError, InvalidManifestError
from corral.store.manifest import (
    ADAPTER,
    CONFIG_TYPE,
    DRAFT,
    LICENSE,
    MESSAGES,
    MODEL,
    PARAMS,
    PROJECTOR,
    SYSTEM,
    TEMPLATE,
    Descriptor,
    Manifest,
)

from tests import weights
from tests.registry.formats.artifacts import (
    FILEPATH,
    OCI,
    TITLE,
    Artifact,
    Layer,
    artifact,
    check,
    pulled,
    read_header,
)
from tests.store import splitting

ARTIFACT = "application/vnd.cncf.model.manifest.v1+json"
CONFIG = "application/vnd.cncf.model.config.v1+json"
PREFIX = "application/vnd.cncf.model."
GGUF = weights.gguf()


def file(kind: str, path: str, data: bytes) -> Layer:
    """A raw layer as modctl writes it."""
    metadata = {"name": path, "mode": 420, "uid": 1000, "gid": 1000, "size": len(data), "typeflag": 48}
    metadata["mtime"] = "2025-06-01T10:00:00+08:00"
    annotations = {
        FILEPATH: path,
        "org.cncf.model.file.metadata+json": json.dumps(metadata),
        "org.cncf.model.file.mediatype.untested": "false",
    }
    return Layer(f"{PREFIX}{kind}.v1.raw", data, annotations)


def modelpack(*layers: Layer, **fields: Any) -> Artifact:
    """An artifact as modctl writes it."""
    config = {
        "descriptor": {"createdAt": "2025-06-01T10:00:00Z", "family": "llama", "name": "x"},
        "config": {"architecture": "transformer", "format": "gguf", "paramSize": "8b"},
        "modelfs": {"type": "layers", "diffIds": [str(layer.blob.digest) for layer in layers]},
    }
    described = Layer(CONFIG, json.dumps(config).encode())
    return artifact(*layers, config=described, **({"artifactType": ARTIFACT} | fields))


README = file("doc", "README.md", b"# x")
TOKENIZER = file("weight.config", "tokenizer.json", b"{}")
CODE = file("code", "run.py", b"import this")


def test_what_modctl_writes_is_read() -> None:
    here = pulled(
        modelpack(
            *(README, TOKENIZER, CODE, file("weight", "q/model-q4.gguf", GGUF), file("doc", "LICENSE", b"MIT")),
            *(file("weight.config", "chat_template.jinja", b"{{ x }}"), file("dataset", "d.csv", b"1,2")),
        )
    )
    assert here.layers == [("model", GGUF), ("license", b"MIT")]
    assert here.manifest == Manifest.build(here.manifest.config, list(here.manifest.layers))
    assert here.config == {
        "model_format": "gguf",
        "model_family": "llama",
        "model_families": ["llama"],
        "model_type": "8",
        "file_type": "unknown",
        "architecture": "amd64",
        "os": "linux",
    }
    assert {bytes(data) for data in here.original.blobs.values()} >= {b"# x", b"{}", b"import this", b"1,2"}


def test_the_order_and_what_else_is_there_make_no_difference() -> None:
    layers = [file("weight", "m.gguf", GGUF), file("weight", "mmproj-m.gguf", weights.projector())]
    first = pulled(modelpack(*layers, README)).manifest
    assert first == pulled(modelpack(TOKENIZER, *reversed(layers))).manifest
    assert first == pulled(modelpack(*layers, annotations={"a": "b"})).manifest
    assert [layer.media_type for layer in first.layers] == [MODEL, PROJECTOR]


@pytest.mark.parametrize("path", ["model.gguf", "MODEL.GGUF", "a/b/c.gguf", "model", "weights/model", ""])
def test_weights_are_known_by_their_name_or_their_header(path: str) -> None:
    assert pulled(modelpack(file("weight", path, GGUF))).layers == [("model", GGUF)]


def test_weights_need_no_annotation() -> None:
    assert pulled(modelpack(Layer(f"{PREFIX}weight.v1.raw", GGUF))).layers == [("model", GGUF)]
    assert pulled(modelpack(Layer(f"{PREFIX}weight.v1.gguf", GGUF))).layers == [("model", GGUF)]
    assert pulled(modelpack(Layer(f"{PREFIX}weight.v1.raw", GGUF, {TITLE: "x.gguf"}))).layers == [("model", GGUF)]


def test_an_artifact_is_known_by_either_of_its_types() -> None:
    weight = file("weight", "m.gguf", GGUF)
    assert modelpack(weight, artifactType="application/x").packed().format == "modelpack"
    assert artifact(weight, artifactType=ARTIFACT).packed().format == "modelpack"


def test_adapters_and_projectors_say_in_their_headers_what_they_are() -> None:
    lora = weights.gguf(weights.text_pair("general.type", "adapter"))
    here = pulled(modelpack(*(file("weight", n, d) for n, d in (("a-lora.gguf", lora), ("m.gguf", GGUF)))))
    assert here.layers == [("model", GGUF), ("adapter", lora)]
    eye = weights.projector()
    here = pulled(modelpack(file("weight", "vision", eye), file("weight", "m.gguf", GGUF)))
    assert here.layers == [("model", GGUF), ("projector", eye)]


def test_ollamas_texts_travel_under_the_names_they_have_on_hugging_face() -> None:
    texts = {"template": b"{{ .Prompt }}", "system": b"Be kind.", "params": b'{"seed":1}\n', "messages": b"[]\n"}
    here = pulled(
        modelpack(file("weight", "m.gguf", GGUF), *(file("weight.config", n, data) for n, data in texts.items()))
    )
    assert dict(here.layers) == {"model": GGUF, **texts}


@pytest.mark.parametrize("name", ["LICENSE", "License.txt", "LICENCE", "licenses/LICENSE-MIT", "COPYING"])
def test_a_licence_is_known_by_its_name(name: str) -> None:
    here = pulled(modelpack(file("weight", "m.gguf", GGUF), file("doc", name, b"MIT")))
    assert here.layers == [("model", GGUF), ("license", b"MIT")]


def test_split_weights_are_put_together(tmp_path: Path) -> None:
    tensors = [splitting.Weights(f"t{n}.weight", (8,), 0, bytes([n]) * 32) for n in range(4)]
    content = splitting.Content([splitting.text("general.architecture", "llama")], tensors)
    files = splitting.split(content, tmp_path, (1, 3))
    layers = [file("weight", path.name, path.read_bytes()) for path in files]
    source = modelpack(layers[2], README, layers[0], layers[1])
    whole = splitting.merged(content)

    def merge(digests: list[Digest] | Any) -> Descriptor:
        assert [source.blobs[digest] for digest in digests] == [path.read_bytes() for path in files]
        assert b"".join(parts.content(files)) == whole
        store[Digest.of(whole)] = whole
        return Descriptor("", Digest.of(whole), len(whole))

    packed = source.packed()
    store = {blob.digest: source.blobs[blob.digest] for blob in packed.taken}
    unpacked = packed.model({}, lambda digest: read_header(store[digest]), merge)
    check(unpacked, store)
    assert [store[layer.digest] for layer in unpacked.manifest.layers] == [whole]
    assert json.loads(store[unpacked.manifest.config.digest])["model_type"] == "32"


TAR = Layer(f"{PREFIX}weight.v1.tar", b"a tar", {FILEPATH: "model.gguf"})
SAFETENSORS = file("weight", "model.safetensors", b"x")
REFUSED = {
    "in a tar": (modelpack(TAR), f"its weights are in an archive ({PREFIX}weight.v1.tar), and only raw ones are read"),
    "packed": (modelpack(Layer(f"{PREFIX}weight.v1.tar+gzip", b"x"), README), "its weights are in an archive"),
    "in another format": (
        modelpack(SAFETENSORS, TOKENIZER),
        'it is a ModelPack artifact without a GGUF file: "model.safetensors"',
    ),
    "no weights": (
        modelpack(README),
        "it is a ModelPack artifact without a GGUF file: it has no weights at all",
    ),
    "nothing": (modelpack(), "without a GGUF file"),
    "two models": (
        modelpack(file("weight", "m-q4.gguf", GGUF), file("weight", "m-q8.gguf", GGUF + b"\0")),
        'it has 2 models in it: "m-q4.gguf", "m-q8.gguf"',
    ),
}


@pytest.mark.parametrize(("source", "said"), REFUSED.values(), ids=REFUSED)
def test_error_what_is_of_no_use_is_refused_before_it_is_fetched(source: Artifact, said: str) -> None:
    with pytest.raises(InvalidManifestError) as caught:
        recognise(source.raw, OCI, "crew/x")
    assert str(caught.value).startswith(f"crew/x: invalid manifest: {said}") or said in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("layers", "kind", "said"),
    [
        ([file("weight", "model", b"no gguf")], InvalidGGUFError, "does not begin with the bytes GGUF"),
        ([file("weight", "mmproj.gguf", weights.projector())], InvalidManifestError, "0 of its GGUF files are models"),
        (
            [file("weight", "a", GGUF), file("weight", "b", weights.gguf(context=9))],
            InvalidManifestError,
            '2 of its GGUF files are models, expected one: "a", "b"',
        ),
        (
            [Layer(f"{PREFIX}weight.v1.raw", GGUF), Layer(f"{PREFIX}weight.v1.raw", weights.gguf(context=9))],
            InvalidManifestError,
            "2 of its GGUF files are models, expected one",
        ),
    ],
)
def test_error_weights_that_make_no_model(layers: list[Layer], kind: type[Exception], said: str) -> None:
    with pytest.raises(kind) as caught:
        pulled(modelpack(*layers))
    assert said in str(caught.value)


# What is written.


def written(*kinds: str, config: bytes = b'{"model_format":"gguf"}') -> tuple[dict[str, Any], dict[str, Any], Packed]:
    """The manifest and the config of a model with layers of these types."""
    layers = [Layer(kind, f"{kind} {number}".encode()) for number, kind in enumerate(kinds)]
    manifest = Manifest.build(Layer(CONFIG_TYPE, config).blob, [layer.blob for layer in layers])
    outgoing = pack("modelpack", manifest, lambda _: config)
    (made,) = outgoing.made
    assert outgoing.stored == manifest.blobs
    assert made[0] == Descriptor(CONFIG, Digest.of(made[1]), len(made[1]))
    return json.loads(outgoing.raw), json.loads(made[1]), recognise(outgoing.raw, OCI, "x")


def test_what_is_written_is_by_the_spec() -> None:
    kinds = (MODEL, PROJECTOR, ADAPTER, ADAPTER, DRAFT, TEMPLATE, SYSTEM, PARAMS, MESSAGES, LICENSE, LICENSE)
    facts = {"model_format": "gguf", "model_family": "llama", "model_type": "134.52M", "file_type": "Q4_K_M"}
    document, config, _ = written(*kinds, config=json.dumps(facts).encode())
    assert (document["schemaVersion"], document["mediaType"], document["artifactType"]) == (2, OCI, ARTIFACT)
    assert document["config"]["mediaType"] == CONFIG
    assert [(layer["mediaType"].removeprefix(PREFIX), path(layer)) for layer in document["layers"]] == [
        *(("weight.v1.raw", name) for name in ("model.gguf", "mmproj.gguf", "adapter.gguf", "adapter-2.gguf")),
        ("weight.v1.raw", "draft.gguf"),
        *(("weight.config.v1.raw", name) for name in ("template", "system", "params", "messages")),
        ("doc.v1.raw", "LICENSE"),
        ("doc.v1.raw", "LICENSE-2"),
        ("weight.config.v1.raw", "ollama-config.json"),
    ]
    assert config == {
        "descriptor": {"family": "llama"},
        "config": {"format": "gguf", "paramSize": "134.5M", "quantization": "Q4_K_M"},
        "modelfs": {"type": "layers", "diffIds": [layer["digest"] for layer in document["layers"]]},
    }
    assert "annotations" not in document, "the files alone are enough"
    for layer in document["layers"]:
        metadata = json.loads(layer["annotations"]["org.cncf.model.file.metadata+json"])
        assert metadata == {
            "name": path(layer),
            "mode": 0o644,
            "uid": 0,
            "gid": 0,
            "size": layer["size"],
            "mtime": "1970-01-01T00:00:00Z",
            "typeflag": 48,
        }


def path(layer: dict[str, Any]) -> str:
    return layer["annotations"][FILEPATH]


@pytest.mark.parametrize(
    ("said", "size"), [("8B", "8B"), ("8.03B", "8.0B"), ("134.52M", "134.5M"), ("12K", "12K"), ("8", None), ("", None)]
)
def test_the_parameter_count_has_the_specs_form(said: str, size: str | None) -> None:
    _, config, _ = written(MODEL, config=json.dumps({"model_type": said}).encode())
    assert config["config"].get("paramSize") == size


@pytest.mark.parametrize("config", [b"", b"{}", b"[]", b"\xff", b'{"model_format":7}'])
def test_a_config_that_says_nothing_is_carried_all_the_same(config: bytes) -> None:
    _, described, packed = written(MODEL, config=config)
    assert described["descriptor"] == described["config"] == {}
    assert packed.taken[-1] == Layer(CONFIG_TYPE, config).blob


def test_what_the_files_cannot_say_is_an_annotation() -> None:
    document, _, _ = written(MODEL, "application/vnd.ollama.image.tensor", "application/x")
    assert [path(layer) for layer in document["layers"]] == ["model.gguf", "layer", "layer-2", "ollama-config.json"]
    assert list(document["annotations"]) == ["vnd.corral.manifest"]


def test_error_an_annotation_that_speaks_of_other_blobs() -> None:
    document, _, _ = written(MODEL, "application/x")
    for change in (document["layers"][:-1], [*document["layers"], file("weight", "b.gguf", b"b").to_json()]):
        raw = json.dumps(document | {"layers": change}).encode()
        with pytest.raises(InvalidManifestError, match="name different blobs"):
            recognise(raw, OCI, "x")
    document["annotations"]["vnd.corral.manifest"] = "no base64"
    with pytest.raises(InvalidManifestError, match="is not base64"):
        recognise(json.dumps(document).encode(), OCI, "x")


@pytest.mark.parametrize("kinds", [(MODEL, DRAFT, SYSTEM), (MODEL, "application/x")], ids=["files", "annotation"])
def test_what_is_attached_later_is_no_part_of_the_model(kinds: tuple[str, ...]) -> None:
    document, _, packed = written(*kinds)
    document["layers"][1:1] = [layer.to_json() for layer in (README, TOKENIZER, CODE)]
    again = recognise(json.dumps(document).encode(), OCI, "x")
    assert again.taken == packed.taken
    assert {blob.digest for blob in again.small} > {layer.blob.digest for layer in (README, TOKENIZER, CODE)}


def test_a_config_of_ollamas_does_not_hide_weights() -> None:
    document, _, _ = written(MODEL)
    document["layers"].append(file("weight", "other.gguf", GGUF).to_json())
    with pytest.raises(InvalidManifestError, match="it has 2 models in it"):
        recognise(json.dumps(document).encode(), OCI, "x")


def test_two_configs_of_ollamas_are_none() -> None:
    configs = [file("weight.config", "ollama-config.json", data) for data in (b"{}", b"{ }")]
    here = pulled(modelpack(file("weight", "model.gguf", GGUF), *configs))
    assert here.layers == [("model", GGUF)]
