"""Plain artifacts with a GGUF among their files, and what is no model at all."""

from __future__ import annotations

import pytest
from corral.registry.formats.reading import recognise
from corral.store.errors import InvalidManifestError
from corral.store.manifest import CONFIG_TYPE, MODEL, SYSTEM

from tests import weights
from tests.registry.formats.artifacts import DOCKER, EMPTY, OCI, TITLE, Artifact, Layer, artifact, pulled

GGUF = weights.gguf()
EYE = weights.projector()
ANY = "application/octet-stream"
ORAS_DEFAULT = "application/vnd.oci.image.layer.v1.tar"
UNKNOWN_CONFIG = Layer("application/vnd.unknown.config.v1+json", b"")


def file(name: str, data: bytes, kind: str = ANY) -> Layer:
    return Layer(kind, data, {TITLE: name})


@pytest.mark.parametrize(
    "source",
    [
        artifact(file("model.gguf", GGUF), artifactType="application/vnd.example.model"),
        artifact(file("./folder/Model.GGUF", GGUF, ORAS_DEFAULT), config=UNKNOWN_CONFIG),
        artifact(Layer("application/gguf", GGUF)),
        artifact(Layer("application/vnd.example.gguf.v1", GGUF, {})),
        artifact(file("m.gguf", GGUF), file("Modelfile", b"FROM m.gguf"), file("README.md", b"#"), file("x.py", b"")),
        artifact(file("m.gguf", GGUF), file("m.imatrix.gguf", b"x"), file("m.gguf", b"x", f"{ORAS_DEFAULT}+gzip")),
    ],
    ids=["an artifact", "old oras", "by type", "by a longer type", "with others", "with what is no model"],
)
def test_the_gguf_is_the_model(source: Artifact) -> None:
    assert source.packed().format == "oras"
    here = pulled(source)
    assert here.layers == [("model", GGUF)]
    assert here.config["model_format"] == "gguf"


def test_a_projector_and_licences_belong_to_it() -> None:
    here = pulled(
        artifact(
            file("mmproj-F16.gguf", EYE), file("LICENSE", b"MIT"), file("LICENSE.more", b"2"), file("m.gguf", GGUF)
        )
    )
    assert here.layers == [("model", GGUF), ("projector", EYE), ("license", b"MIT"), ("license", b"2")]


def test_ollamas_types_say_what_a_file_is() -> None:
    here = pulled(
        artifact(Layer(SYSTEM, b"Be kind."), Layer(MODEL, GGUF, {TITLE: "weights"}), Layer(f"{MODEL}x", b"x"))
    )
    assert here.layers == [("model", GGUF), ("system", b"Be kind."), ("modelx", b"x")]
    assert here.config["model_family"] == "llama"


def test_everything_is_kept_to_be_sent_again() -> None:
    source = artifact(file("m.gguf", GGUF), file("README.md", b"# x"))
    here = pulled(source)
    assert sorted(here.original.blobs.values()) == [b"# x", b"{}"]
    assert here.original.raw == source.raw


IMAGE = Layer("application/vnd.oci.image.config.v1+json", b'{"architecture":"amd64"}')
ROOTFS = Layer("application/vnd.docker.image.rootfs.diff.tar.gzip", b"x")
STRANGERS = {
    "an OCI image": (artifact(Layer(ORAS_DEFAULT, b"x"), config=IMAGE), "it is a container image, no model"),
    "one with a model in it": (artifact(file("m.gguf", b"x", ORAS_DEFAULT), config=IMAGE), "it is a container image"),
    "a docker image": (
        artifact(ROOTFS, config=Layer(CONFIG_TYPE, b"{}"), media_type=DOCKER),
        "it is a container image, no model",
    ),
    "a chart": (
        artifact(
            Layer("application/vnd.cncf.helm.chart.content.v1.tar+gzip", b"x"),
            config=Layer("application/vnd.cncf.helm.config.v1+json", b"{}"),
        ),
        "it is a Helm chart, no model",
    ),
    "a ModelKit": (
        artifact(
            Layer("application/vnd.kitops.modelkit.model.v1.tar", b"x"),
            config=Layer("application/vnd.kitops.modelkit.config.v1+json", b"{}"),
        ),
        "it is a ModelKit, whose files are in archives, no model",
    ),
    "a signature": (
        artifact(
            Layer("application/vnd.dev.sigstore.bundle.v0.3+json", b"x"),
            artifactType="application/vnd.dev.sigstore.bundle.v0.3+json",
        ),
        "it is a signature, no model",
    ),
    "files": (
        artifact(file("a.txt", b"x"), file("b", b"y", "text/plain")),
        f'it is no model that is known here: "{EMPTY}" with "{ANY}", "text/plain"',
    ),
    "nothing": (artifact(), f'it is no model that is known here: "{EMPTY}" with no layers'),
}


@pytest.mark.parametrize(("source", "said"), STRANGERS.values(), ids=STRANGERS)
def test_error_what_is_no_model_is_called_by_its_name(source: Artifact, said: str) -> None:
    with pytest.raises(InvalidManifestError) as caught:
        recognise(source.raw, source.media_type, "crew/x")
    assert str(caught.value).startswith(f"crew/x: invalid manifest: {said}")
    assert caught.value.hint


def test_error_several_models_are_refused_before_they_are_fetched() -> None:
    quants = [file(f"m-{quant}.gguf", quant.encode()) for quant in ("Q2_K", "Q4_K_M", "Q8_0")]
    with pytest.raises(InvalidManifestError) as caught:
        recognise(artifact(*quants).raw, OCI, "x")
    said = 'it has 3 models in it: "m-Q2_K.gguf", "m-Q4_K_M.gguf", "m-Q8_0.gguf"'
    assert str(caught.value) == f"x: invalid manifest: {said}"
