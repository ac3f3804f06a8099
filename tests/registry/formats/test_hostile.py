"""Manifests come from strangers: whatever they are, there is a model or one InvalidManifestError, soon, and no path."""

from __future__ import annotations

import contextlib
import json
import random
import re
import time
from collections.abc import Callable
from typing import Any

import pytest
from corral.registry.formats.packed import Packed
from corral.registry.formats.reading import choose, recognise
from corral.store.digest import Digest
from corral.store.errors import InvalidGGUFError, InvalidManifestError
from corral.store.kept import MAX_BLOBS, MAX_BYTES
from corral.store.manifest import CONFIG_TYPE, MODEL, SYSTEM, Descriptor
from hypothesis import given
from hypothesis import strategies as st

from tests import weights
from tests.property.conftest import CHECKED, SOAK
from tests.registry.formats.artifacts import (
    DOCKER,
    FILEPATH,
    OCI,
    TITLE,
    Layer,
    artifact,
    check,
    index,
    no_parts,
    read_header,
)
from tests.registry.formats.test_docker import model as docker
from tests.registry.formats.test_modelpack import file, modelpack

GGUF = weights.gguf()
WEIGHT = file("weight", "model.gguf", GGUF)
SAMPLES = [
    artifact(Layer(MODEL, GGUF), Layer(SYSTEM, b"s"), config=Layer(CONFIG_TYPE, b"{}"), media_type=DOCKER),
    artifact(Layer(MODEL, GGUF), Layer(SYSTEM, b"s"), config=Layer(CONFIG_TYPE, b"{ }")),
    modelpack(WEIGHT, file("doc", "LICENSE", b"MIT"), file("weight.config", "system", b"s")),
    docker(Layer("application/vnd.docker.ai.gguf.v3", GGUF), Layer("application/vnd.docker.ai.license", b"MIT")),
    artifact(Layer("application/x", GGUF, {TITLE: "m.gguf"}), Layer("application/x", b"#", {TITLE: "LICENSE"})),
]
BLOBS = {digest: data for sample in SAMPLES for digest, data in sample.blobs.items()}
PIECES = [
    *(b"../../etc/passwd", b"sha256:", b"sha512:", b"-1", b"1e999", b"9" * 400, b"null", b"[", b"{", b'"', b"\x00"),
    *(b"\\ud800", b"\\u0000", b'"digest":', b'"layers":[]', b'"manifests":[]', b'"annotations":{"a":1}', b"\xff"),
    *(b"application/vnd.", b"gguf", b'"size":true', b'"schemaVersion":1', b"[" * 5000, b'"mediaType":"text/html"'),
]


def read(raw: bytes, media_type: str = "") -> Packed | None:
    """How it is recognised, None when it is refused; and it is done soon."""
    started = time.process_time()
    said, packed = "", None
    try:
        packed = None if choose(raw, media_type, "x") else recognise(raw, media_type, "x")
    except InvalidManifestError as error:
        said = str(error)
    assert time.process_time() - started < 2
    if said:
        assert said.startswith("x: invalid manifest: ")
        assert said.isprintable()
        assert len(said) < 2_000
    return packed


def finish(packed: Packed) -> None:
    """What a pull does with it, of blobs it has."""
    for blob in (*packed.taken, *packed.small):
        assert blob.digest.algorithm == "sha256"
        assert blob.size >= 0
    assert len(packed.small) <= MAX_BLOBS
    assert all(blob.size <= MAX_BYTES for blob in packed.small)
    wanted = [*packed.taken, *packed.small]
    if any(blob.digest not in BLOBS or len(BLOBS[blob.digest]) != blob.size for blob in wanted):
        return
    store = {blob.digest: BLOBS[blob.digest] for blob in packed.taken}
    small = {blob.digest: BLOBS[blob.digest] for blob in packed.small}
    with contextlib.suppress(InvalidManifestError, InvalidGGUFError):
        check(packed.model(small, lambda digest: read_header(store[digest]), no_parts), store)


def test_the_samples_are_models() -> None:
    packed = [read(sample.raw, sample.media_type) for sample in SAMPLES]
    assert [one and one.format for one in packed] == ["ollama", "oci", "modelpack", "docker", "oras"]


@pytest.mark.soak
@pytest.mark.parametrize("sample", SAMPLES, ids=["ollama", "oci", "modelpack", "docker", "oras"])
def test_a_changed_manifest_is_a_model_or_refused(sample: Any) -> None:
    rng = random.Random(20261121)
    accepted = 0
    for _ in range(20_000 if SOAK else 2_000):
        data = bytearray(sample.raw)
        for _ in range(rng.randrange(1, 5)):
            start = rng.randrange(len(data) + 1)
            end = min(len(data), start + rng.randrange(40))
            data[start:end] = rng.choice([b"", data[start:end] * 2, rng.choice(PIECES), rng.randbytes(end - start)])
        if packed := read(bytes(data)):
            accepted += 1
            finish(packed)
    assert accepted


JSON: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, -1, 1.5, "", "x", [], {}, [[]], {"x": None}, [{"x": 1}], [1]]
)
RARELY = st.integers(0, 9).map(lambda number: number == 0)
"""Nothing but wrong parts would be refused for the first of them."""
_TYPES = re.findall(r"application/[a-zA-Z0-9.+-]+", str([sample.raw for sample in SAMPLES]))
KINDS = st.one_of(st.text(max_size=10), st.sampled_from(sorted(set(_TYPES))))
NAMES = st.sampled_from(["a.gguf", "mmproj.gguf", "LICENSE", "../x.gguf", "/etc/passwd", "\0.gguf", ""])
BLOB: st.SearchStrategy[Any] = st.sampled_from(sorted(BLOBS)).map(lambda digest: (str(digest), len(BLOBS[digest])))
WRONG: st.SearchStrategy[Any] = st.tuples(st.text(max_size=10), st.one_of(st.integers(-1, 1 << 70), JSON))


def mostly(sound: st.SearchStrategy[Any], otherwise: st.SearchStrategy[Any] = JSON) -> st.SearchStrategy[Any]:
    return RARELY.flatmap(lambda is_wrong: otherwise if is_wrong else sound)


ANNOTATIONS = mostly(st.dictionaries(st.sampled_from([FILEPATH, TITLE]), NAMES))


def descriptor(kind: str, blob: tuple[Any, Any], annotations: Any) -> dict[str, Any]:
    return {"mediaType": kind, "digest": blob[0], "size": blob[1], "annotations": annotations}


_SAMPLES: list[dict[str, Any]] = [json.loads(sample.raw) for sample in SAMPLES]
ANY_PART = st.builds(descriptor, KINDS, mostly(BLOB, WRONG), ANNOTATIONS)
CONFIG = st.one_of(st.sampled_from([sample["config"] for sample in _SAMPLES]), ANY_PART)
LAYER = st.one_of(st.sampled_from([layer for sample in _SAMPLES for layer in sample["layers"]]), ANY_PART)
DOCUMENTS: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"schemaVersion": st.just(2), "config": mostly(CONFIG), "layers": mostly(st.lists(LAYER, max_size=3))},
    optional={
        "mediaType": st.sampled_from([OCI, DOCKER]),
        "artifactType": mostly(KINDS),
        "annotations": mostly(st.dictionaries(st.sampled_from(["vnd.corral.manifest", "x"]), st.text(), max_size=1)),
        "manifests": mostly(st.none()),
        "subject": mostly(ANY_PART),
    },
)


@CHECKED
@given(st.one_of(DOCUMENTS, JSON), st.sampled_from(["", OCI, DOCKER, "text/html"]))
def test_any_document_is_a_model_or_refused(document: Any, sent: str) -> None:
    if packed := read(json.dumps(document).encode(), sent):
        finish(packed)


@CHECKED
@given(st.binary(max_size=200), st.sampled_from(["", OCI, DOCKER]))
def test_any_bytes_are_refused(raw: bytes, sent: str) -> None:
    assert read(raw, sent) is None


def described(**changes: Any) -> bytes:
    """A sound artifact, one of its layers changed so."""
    return artifact(Layer("x", GGUF, {TITLE: "m.gguf"}), layers=[WEIGHT.to_json(), WEIGHT.to_json() | changes]).raw


SHA512 = "sha512:" + "0" * 128
REFUSED: dict[str, bytes] = {
    "a digest of another algorithm": described(digest=SHA512),
    "a digest that is a path": described(digest="../../etc/passwd"),
    "a digest with a path": described(digest="sha256:../../../etc/passwd"),
    "a negative size": described(size=-1),
    "a huge size": described(size=1 << 62),
    "a size beyond numbers": described(size=1 << 70),
    "a size that is a text": described(size="8"),
    "two sizes": described(size=len(GGUF) + 1),
    "annotations of another type": described(annotations={TITLE: 5}),
    "annotations in a list": described(annotations=[TITLE]),
    "too many layers": artifact(layers=[WEIGHT.to_json()] * 10_001).raw,
    "too many bytes": artifact(WEIGHT).raw + b" " * (4 << 20),
    "a deep document": b'{"x":' + b"[" * 1_000_000,
    "a deep annotation": artifact().raw[:-1] + b',"annotations":{"x":' + b"[" * 100_000,
    "no text": b"\xff\xfe" * 100,
    "bytes that are no text": artifact(WEIGHT).raw.replace(b"model.gguf", b"model\xff.gguf"),
    "an index within": artifact(WEIGHT, manifests=[WEIGHT.to_json()]).raw,
    "only an index": index(WEIGHT.to_json(), mediaType=OCI),
}


@pytest.mark.parametrize("raw", REFUSED.values(), ids=REFUSED)
def test_error_a_hostile_manifest(raw: bytes) -> None:
    assert read(raw, OCI) is None


def test_names_are_compared_and_shown_but_never_paths() -> None:
    """A title that leads anywhere is a file's name; one with control characters is shown without them."""
    for name in ("../../../etc/m.gguf", "/etc/m.gguf", "C:\\x\\m.gguf", "a\0b/m.gguf", "\x1b[2J.gguf"):
        packed = read(artifact(Layer("x", GGUF, {TITLE: name})).raw)
        assert packed is not None
        assert packed.taken == (Descriptor(MODEL, Digest.of(GGUF), len(GGUF)),)
    raw = artifact(Layer("x", GGUF, {TITLE: "\x1b[2J.gguf"}), Layer("x", b"y", {TITLE: "\x1b[1m.gguf"})).raw
    with pytest.raises(InvalidManifestError, match=r'^x: invalid manifest: it has 2 models in it: "\\x1b\[2J.gguf", '):
        recognise(raw, OCI, "x")


def test_of_keys_that_occur_twice_the_last_counts_for_every_reader() -> None:
    """As in Go, where Ollama's server reads the same bytes."""
    raw = artifact(WEIGHT, media_type=DOCKER).raw
    twice = raw.replace(b'"schemaVersion": 2', b'"schemaVersion": 2, "mediaType": "' + OCI.encode() + b'"')
    assert read(twice, OCI) is not None
    assert read(twice, DOCKER) is None


MUCH: dict[str, Callable[[int], bytes]] = {
    "adapters": lambda n: artifact(*[Layer("x", b"%d" % i, {TITLE: f"{i}-lora.gguf"}) for i in range(n)]).raw,
    "weights": lambda n: modelpack(*[file("weight", f"{i}", b"%d" % i) for i in range(n)]).raw,
    "the same part": lambda n: artifact(*[Layer("x", b"x", {TITLE: "m-00001-of-00002.gguf"})] * n).raw,
    "an index": lambda n: index(*[file("x", "x", b"%d" % i).to_json() | {"mediaType": OCI} for i in range(n)]),
    "a long name": lambda n: artifact(Layer("x", b"x", {TITLE: "LICENSE" + "." * n * 100})).raw,
    "long words": lambda n: artifact(Layer("x+" * n * 50, b"x", {TITLE: ".gguf" * n * 50})).raw,
}


@pytest.mark.parametrize("make", MUCH.values(), ids=MUCH)
def test_much_is_read_soon(make: Callable[[int], bytes]) -> None:
    raw = make(5_000)
    assert len(raw) > 400_000
    read(raw)


def test_a_small_blob_that_is_said_to_be_large_is_not_asked_for() -> None:
    readme = file("doc", "README.md", b"# x")
    liar = readme.to_json() | {"size": MAX_BYTES + 1}
    packed = read(modelpack(WEIGHT, layers=[WEIGHT.to_json(), liar]).raw)
    assert packed is not None
    assert packed.small == ()
    many = [file("doc", f"{number}.md", b"%d" % number) for number in range(MAX_BLOBS)]
    packed = read(modelpack(WEIGHT, *many).raw)
    assert packed is not None
    assert packed.small == ()
    packed = read(modelpack(WEIGHT, *many[1:]).raw)
    assert packed is not None
    assert len(packed.small) == MAX_BLOBS
