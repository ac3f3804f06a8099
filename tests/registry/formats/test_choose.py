"""Which manifest of an index is pulled, and what is no index."""

from __future__ import annotations

import json
from typing import Any

import pytest
from corral.registry.formats.reading import choose, recognise
from corral.store.digest import Digest
from corral.store.errors import InvalidManifestError

from tests.registry.formats.artifacts import DOCKER, OCI, artifact, entry, index

INDEX = "application/vnd.oci.image.index.v1+json"
LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
MODEL = "application/vnd.cncf.model.manifest.v1+json"
ATTESTATION = entry(
    9,
    platform={"os": "unknown", "architecture": "unknown"},
    annotations={"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": "sha256:0"},
)


@pytest.mark.parametrize(
    "entries",
    [
        [entry(1)],
        [entry(1), ATTESTATION],
        [ATTESTATION, entry(1)],
        [entry(1), entry(2, platform={"os": "unknown", "architecture": "unknown"})],
        [entry(1), entry(2, mediaType=INDEX)],
        [entry(1), entry(2, mediaType="application/octet-stream")],
        [entry(2), entry(1, artifactType=MODEL)],
        [entry(2, platform={"os": "linux", "architecture": "amd64"}), entry(1, artifactType=MODEL), ATTESTATION],
        [entry(1, platform={"os": "linux", "architecture": "amd64"})],
        [
            entry(1, platform={"os": "linux", "architecture": "amd64"}),
            entry(1, platform={"os": "linux", "architecture": "arm64"}),
        ],
        [entry(1, mediaType=DOCKER)],
    ],
    ids=[
        *("one", "with an attestation", "after one", "unknown platform", "another index", "no manifest"),
        *("named", "of several", "a platform", "the same for all", "docker's"),
    ],
)
@pytest.mark.parametrize("kind", [INDEX, LIST])
def test_the_one_model_is_taken(entries: list[dict[str, Any]], kind: str) -> None:
    chosen = choose(index(*entries, mediaType=kind), kind, "x")
    assert chosen is not None
    assert chosen.digest == Digest.of(b"1")
    assert chosen.size == 101


@pytest.mark.parametrize("sent", ["", "application/json", "application/octet-stream", "text/plain"])
def test_a_server_may_not_know_what_an_index_is(sent: str) -> None:
    chosen = choose(index(entry(1)), sent, "x")
    assert chosen is not None
    old = json.loads(index(entry(1)))
    del old["mediaType"]
    assert choose(json.dumps(old).encode(), sent, "x") == chosen
    assert choose(json.dumps(old).encode(), INDEX, "x") == chosen


def test_a_manifest_is_no_index() -> None:
    assert choose(artifact().raw, OCI, "x") is None
    assert choose(artifact().raw, "", "x") is None


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (index(), "its index names no model, but nothing"),
        (index(ATTESTATION), f'its index names no model, but "{OCI}"'),
        (index(entry(1, mediaType=INDEX)), f'its index names no model, but "{INDEX}"'),
        (
            index(
                entry(1, platform={"os": "linux", "architecture": "amd64"}),
                entry(2, platform={"os": "linux", "architecture": "arm64"}),
            ),
            f"its index names 2 manifests: {Digest.of(b'1')} (linux/amd64), {Digest.of(b'2')} (linux/arm64)",
        ),
        (
            index(entry(1, artifactType=MODEL), entry(2, artifactType=MODEL)),
            f"2 manifests: {Digest.of(b'1')} ({MODEL})",
        ),
        (index(entry(1, size=5 << 20)), "has 5242880 bytes, at most"),
        (index(entry(1, digest="sha512:" + "0" * 128)), "by sha256 are read"),
        (index(entry(1, digest="../../etc/passwd")), '"../../etc/passwd" is not a digest'),
        (index(entry(1, size=-1)), "size is"),
        (index(entry(1), layers=[entry(2)]), "it names manifests like an index and layers like a manifest"),
        (index(entry(1), config=entry(2)), "it names manifests like an index and layers like a manifest"),
        (index(*[entry(1)] * 10_001), "10001 parts"),
        (index(entry(1), schemaVersion=1), "schemaVersion is 1"),
        (index(entry(1), manifests={"0": 1}), "Expected `array"),
        (b'{"x":' + b"[" * 100_000, "recursion"),
        (b"", "truncated"),
        (b"<html>", "malformed"),
    ],
)
def test_error_an_index_without_the_one_model(raw: bytes, said: str) -> None:
    with pytest.raises(InvalidManifestError, match=r"^crew/x: invalid manifest: ") as caught:
        choose(raw, INDEX, "crew/x")
    assert said in str(caught.value)


def test_error_several_models_say_how_to_name_one() -> None:
    with pytest.raises(InvalidManifestError) as caught:
        choose(index(entry(1), entry(2)), INDEX, "x")
    assert caught.value.hint == "ask for one of them by its digest: NAME@sha256:…"


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (OCI, f'it says it is "{INDEX}", and was sent as "{OCI}"'),
        ("text/html", f'it says it is "{INDEX}", and was sent as "text/html"'),
    ],
)
def test_error_what_it_says_and_what_it_was_sent_as_differ(sent: str, said: str) -> None:
    for read in (choose, recognise):
        raw = index(entry(1)) if read is choose else artifact(mediaType=INDEX).raw
        with pytest.raises(InvalidManifestError) as caught:
            read(raw, sent, "x")
        assert str(caught.value) == f"x: invalid manifest: {said}"


def test_error_a_manifest_of_an_unknown_type() -> None:
    raw = artifact(mediaType="application/vnd.example.v1+json").raw
    with pytest.raises(InvalidManifestError, match="its media type is "):
        recognise(raw, "application/vnd.example.v1+json", "x")
