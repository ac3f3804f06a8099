"""Whatever form a model is pushed in, the same manifest and the same blobs come back."""

from __future__ import annotations

import json
from typing import Any, get_args

import pytest
from corral.registry.formats.packed import Whole
from corral.registry.formats.writing import FORMS, Form, pack
from corral.store import gojson
from corral.store.config import Config
from corral.store.digest import Digest
from corral.store.errors import InputError, InvalidManifestError
from corral.store.manifest import (
    ADAPTER,
    CANONICAL_ORDER,
    CONFIG_TYPE,
    LICENSE,
    MESSAGES,
    MODEL,
    PARAMS,
    PROJECTOR,
    PROMPT,
    SYSTEM,
    TEMPLATE,
    Descriptor,
    Manifest,
)
from hypothesis import given
from hypothesis import strategies as st

from tests.property.conftest import CHECKED
from tests.registry.formats.artifacts import OCI, Layer, Pulled, artifact, pulled, sent

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
UNKNOWN = ("application/vnd.ollama.image.tensor", "application/vnd.ollama.image.x", "application/x", "", PROMPT)
Store = dict[Digest, bytes]

CONTENTS = st.one_of(st.binary(max_size=6), st.sampled_from([b"", b"{}", b"x"]))
LAYERS = st.builds(Layer, st.sampled_from([*CANONICAL_ORDER, *UNKNOWN]), CONTENTS)
CONFIG_TYPES = (
    *("application/x", "application/vnd.cncf.model.config.v1+json", "application/vnd.oci.image.config.v1+json"),
    *("application/vnd.docker.ai.model.config.v0.1+json", "application/vnd.oci.empty.v1+json"),
)
CONFIGS = st.builds(
    Layer,
    st.one_of(st.just(CONFIG_TYPE), st.sampled_from(CONFIG_TYPES)),
    st.one_of(CONTENTS, st.just(Config(model_format="gguf", model_family="llama", model_type="134.52M").encode())),
)
EXTRAS = st.fixed_dictionaries({}, optional={"from": st.text(max_size=5), "name": st.text(max_size=5), "x": st.none()})


def models() -> st.SearchStrategy[Pulled]:
    """Any model that a store may hold, of ours or pulled from Ollama."""

    def foreign(
        config: Layer, layers: list[Layer], extra: dict[str, Any], form: dict[str, Any], *, null: bool
    ) -> Pulled:
        entries = [layer.to_json() | extra for layer in layers]
        document: dict[str, Any] = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": config.to_json(),
            "layers": entries,
        }
        if null and not layers:
            document["layers"] = None
        raw = json.dumps(document, **form).encode()
        blobs = {layer.blob.digest: layer.data for layer in (config, *layers)}
        return made(Manifest.parse(raw), blobs)

    def canonical(config: Layer, layers: list[Layer]) -> Pulled:
        manifest = Manifest.build(config.blob, [layer.blob for layer in layers])
        return made(manifest, {layer.blob.digest: layer.data for layer in (config, *layers)})

    layers = st.lists(LAYERS, max_size=6).map(lambda some: [Layer(MODEL, b"w"), *some] if some else some)
    ollamas = CONFIGS.map(lambda config: Layer(CONFIG_TYPE, config.data))
    forms = st.sampled_from([{}, {"indent": 1}, {"separators": (",", ":")}, {"sort_keys": True}])
    nonempty = layers.filter(bool)
    return st.one_of(
        st.builds(canonical, ollamas, layers),
        st.builds(canonical, CONFIGS, nonempty),
        st.builds(foreign, CONFIGS, nonempty, EXTRAS, forms, null=st.booleans()),
        st.builds(foreign, ollamas, layers, EXTRAS, forms, null=st.booleans()),
    )


def made(manifest: Manifest, blobs: Store) -> Pulled:
    return Pulled(manifest, blobs, None)  # pyright: ignore[reportArgumentType] it was not pulled


def pushed(form: Form, model: Pulled) -> Pulled:
    """The model elsewhere, after a push from here and a pull there."""
    outgoing = pack(form, model.manifest, lambda blob: model.blobs[blob.digest])
    assert outgoing == pack(form, model.manifest, lambda blob: model.blobs[blob.digest])
    there = sent(outgoing, model.blobs)
    assert isinstance(there.packed(), Whole)
    assert there.packed().format == form
    return pulled(there)


@CHECKED
@given(models(), st.sampled_from(FORMS))
def test_any_model_comes_back_in_any_form(model: Pulled, form: Form) -> None:
    back = pushed(form, model)
    assert back.manifest == model.manifest
    assert back.manifest.blobs == model.manifest.blobs
    assert back.blobs == {blob.digest: model.blobs[blob.digest] for blob in model.manifest.blobs}


@CHECKED
@given(models(), st.sampled_from(FORMS), st.sampled_from(FORMS))
def test_what_was_pulled_in_a_form_is_pushed_in_it_as_it_was(model: Pulled, first: Form, second: Form) -> None:
    there = sent(pack(first, model.manifest, lambda blob: model.blobs[blob.digest]), model.blobs)
    here = pulled(there)
    again = sent(pack(second, here.manifest, lambda blob: here.blobs[blob.digest], here.original), here.blobs)
    assert pulled(again).manifest == model.manifest
    if first == second:
        assert again.raw == there.raw


def small(*kinds: str) -> Pulled:
    """A model of ours with layers of these types."""
    config = Layer(CONFIG_TYPE, Config(model_format="gguf", model_family="llama", file_type="Q4_0").encode())
    layers = [Layer(kind, f"{kind} {number}".encode()) for number, kind in enumerate(kinds)]
    manifest = Manifest.build(config.blob, [layer.blob for layer in layers])
    return made(manifest, {layer.blob.digest: layer.data for layer in (config, *layers)})


EVERYTHING = small(MODEL, PROJECTOR, ADAPTER, ADAPTER, TEMPLATE, SYSTEM, PARAMS, MESSAGES, LICENSE, LICENSE)


@pytest.mark.parametrize("form", FORMS)
def test_a_model_with_everything_comes_back(form: Form) -> None:
    assert pushed(form, EVERYTHING).manifest == EVERYTHING.manifest


def test_a_form_is_sent_under_its_own_type() -> None:
    sent_as = {form: pack(form, EVERYTHING.manifest, lambda blob: EVERYTHING.blobs[blob.digest]) for form in FORMS}
    assert {form: outgoing.media_type for form, outgoing in sent_as.items()} == {
        "ollama": MANIFEST,
        "oci": OCI,
        "modelpack": OCI,
    }
    assert sent_as["ollama"].raw == EVERYTHING.manifest.raw
    assert json.loads(sent_as["oci"].raw)["mediaType"] == OCI
    assert sent_as["oci"].made == ()


def test_what_another_tool_made_of_ollamas_layers_is_kept_to_the_byte() -> None:
    source = artifact(Layer(MODEL, b"w"), Layer(SYSTEM, b"s"), config=Layer(CONFIG_TYPE, b'{"os":"linux"}'))
    here = pulled(source)
    assert here.manifest.raw == source.raw
    for form in ("ollama", "oci"):
        outgoing = pack(form, here.manifest, lambda blob: here.blobs[blob.digest])
        assert (outgoing.raw, outgoing.media_type) == (source.raw, OCI)
    assert pushed("modelpack", here).manifest.raw == source.raw


def test_a_signed_original_stays_what_was_signed() -> None:
    """Its annotations, and a read-me that is no part of the model, are what another tool would not write."""
    wrapped = pack("modelpack", EVERYTHING.manifest, lambda blob: EVERYTHING.blobs[blob.digest])
    document = json.loads(wrapped.raw)
    readme = Layer("application/vnd.cncf.model.doc.v1.raw", b"# x", {"org.cncf.model.filepath": "README.md"})
    document["layers"].append(readme.to_json())
    document["annotations"] = {"org.opencontainers.image.created": "2026-11-20T10:00:00Z"}
    source = sent(wrapped, EVERYTHING.blobs)
    source = type(source)(json.dumps(document, indent=2).encode(), {**source.blobs, readme.blob.digest: readme.data})
    here = pulled(source)
    assert here.manifest == EVERYTHING.manifest
    again = pack("modelpack", here.manifest, lambda blob: here.blobs[blob.digest], here.original)
    assert again.raw == source.raw
    assert sent(again, here.blobs).blobs == source.blobs
    other = pack("oci", here.manifest, lambda blob: here.blobs[blob.digest], here.original)
    assert json.loads(other.raw)["layers"] == [layer.to_json() for layer in EVERYTHING.manifest.layers]


def test_an_original_of_which_a_part_is_not_here_is_made_anew() -> None:
    huge = Layer("application/vnd.cncf.model.dataset.v1.tar", bytes((8 << 20) + 1), {"org.cncf.model.filepath": "data"})
    wrapped = pack("modelpack", EVERYTHING.manifest, lambda blob: EVERYTHING.blobs[blob.digest])
    document = json.loads(wrapped.raw)
    document["layers"].insert(0, huge.to_json())
    source = sent(wrapped, EVERYTHING.blobs)
    here = pulled(type(source)(json.dumps(document).encode(), {**source.blobs, huge.blob.digest: huge.data}))
    assert here.original.blobs == {}
    assert here.manifest == EVERYTHING.manifest
    again = pack("modelpack", here.manifest, lambda blob: here.blobs[blob.digest], here.original)
    assert again.raw == wrapped.raw


@pytest.mark.parametrize("form", ["oci", "modelpack"])
def test_a_model_of_a_thousand_layers_comes_back(form: Form) -> None:
    model = small(MODEL, *["application/vnd.ollama.image.tensor"] * 1000)
    assert pushed(form, model).manifest == model.manifest


@pytest.mark.parametrize("form", ["oci", "modelpack"])
def test_error_a_model_with_too_many_layers_for_a_manifest(form: Form) -> None:
    layers = [
        Descriptor("application/vnd.ollama.image.tensor" + "x" * 50, Digest.of(b"%d" % n), 1) for n in range(10_000)
    ]
    config = Descriptor(CONFIG_TYPE, Digest.of(b"{}"), 2)
    with pytest.raises(InvalidManifestError, match="bytes, at most 4194304 are read"):
        pack(form, Manifest.build(config, layers), lambda _: b"{}")


def test_error_an_unknown_form() -> None:
    with pytest.raises(InputError) as caught:
        pack("docker", EVERYTHING.manifest, lambda _: b"")
    assert str(caught.value) == '"docker": no such format'
    assert caught.value.hint == "a model is pushed as one of ollama, oci, modelpack"
    assert get_args(Form) == FORMS == ("ollama", "oci", "modelpack")


def test_a_config_that_is_too_large_to_be_read_is_not_read() -> None:
    config = Descriptor(CONFIG_TYPE, Digest.of(b"huge"), 5 << 20)
    manifest = Manifest.build(config, [Descriptor(MODEL, Digest.of(b"w"), 1)])
    outgoing = pack("modelpack", manifest, lambda blob: pytest.fail(str(blob)))
    assert outgoing.made[0][1].startswith(gojson.encode({"descriptor": {}, "config": {}}).rstrip(b"}\n"))
