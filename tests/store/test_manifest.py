"""Manifest and config: canonical bytes, kept bytes, and nothing hostile gets through."""

from __future__ import annotations

import hashlib
import itertools
import json
import random
from typing import Any

import pytest
from corral.store import manifest
from corral.store.config import MAX_CONFIG_BYTES, Config
from corral.store.digest import Digest
from corral.store.errors import InvalidManifestError
from corral.store.manifest import CANONICAL_ORDER, CONFIG_TYPE, MANIFEST_TYPE, MAX_MANIFEST_BYTES, Descriptor, Manifest

HEX = "ab" * 32
CONFIG = Descriptor(CONFIG_TYPE, Digest.of(b"{}"), 2)


def layer(media_type: str, text: str = "") -> Descriptor:
    return Descriptor(media_type, Digest.of(text.encode()), len(text))


def document(**changes: Any) -> dict[str, Any]:
    blob = {"mediaType": "m", "digest": f"sha256:{HEX}", "size": 1}
    return {"schemaVersion": 2, "mediaType": MANIFEST_TYPE, "config": blob, "layers": [blob]} | changes


def with_layer(**changes: Any) -> bytes:
    blob = {"mediaType": "m", "digest": f"sha256:{HEX}", "size": 1} | changes
    return json.dumps(document(layers=[{key: value for key, value in blob.items() if value is not ...}])).encode()


def test_built_bytes_are_ollamas_shape_without_from() -> None:
    built = Manifest.build(CONFIG, [layer(manifest.SYSTEM, "hi")])
    hi = hashlib.sha256(b"hi").hexdigest()
    assert (
        built.raw
        == (
            '{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.v2+json",'
            '"config":{"mediaType":"application/vnd.docker.container.image.v1+json",'
            f'"digest":"{CONFIG.digest}","size":2}},'
            f'"layers":[{{"mediaType":"application/vnd.ollama.image.system","digest":"sha256:{hi}","size":2}}]}}\n'
        ).encode()
    )
    assert str(built.digest) == "sha256:" + hashlib.sha256(built.raw).hexdigest()
    assert built.size == 4


def test_layers_have_one_order_whatever_order_they_come_in() -> None:
    layers = [layer(media_type, media_type) for media_type in (*CANONICAL_ORDER, "application/x-unknown")]
    expected = Manifest.build(CONFIG, layers)
    assert [blob.media_type.rpartition(".")[2] for blob in expected.layers] == [
        "model", "projector", "adapter", "draft", "template", "system", "params", "messages", "license",
        "application/x-unknown",
    ]  # fmt: skip
    shuffler = random.Random(1)
    for _ in range(20):
        shuffler.shuffle(layers)
        assert Manifest.build(CONFIG, layers) == expected


def test_licences_keep_their_own_order() -> None:
    licences = [layer(manifest.LICENSE, text) for text in "cab"]
    built = Manifest.build(CONFIG, [licences[0], layer(manifest.SYSTEM), *licences[1:]])
    assert built.of_type(manifest.LICENSE) == tuple(licences)


def test_read_bytes_are_kept_and_are_the_identity() -> None:
    raw = json.dumps(document(annotations={"x": 1}), indent=3).encode()
    read = Manifest.parse(raw)
    assert read.raw == raw
    assert read.digest == Digest.of(raw)
    assert read.layers == (Descriptor("m", Digest("sha256", HEX), 1),)
    assert Manifest.parse(Manifest.build(read.config, list(read.layers)).raw) != read


def test_what_ollama_writes_is_read() -> None:
    blob = {"mediaType": "m", "digest": f"sha256:{HEX}", "size": 1, "from": "base:latest", "name": "x"}
    assert len(Manifest.parse(json.dumps(document(layers=[blob])).encode()).layers) == 1
    # A model that runs elsewhere has a config only; Go writes its empty list as null.
    assert Manifest.parse(json.dumps(document(layers=None)).encode()).layers == ()


HOSTILE = {
    "empty": b"",
    "blank": b" \n",
    "not JSON": b"<html>",
    "cut": json.dumps(document()).encode()[:-1],
    "trailing": json.dumps(document()).encode() + b"x",
    "not UTF-8": b'\xff\xfe{"schemaVersion":2}',
    "null": b"null",
    "list": b"[]",
    "deep list": b"[" * 100_000,
    "deep object": b'{"a":' * 100_000,
    "schema 1": json.dumps(document(schemaVersion=1)).encode(),
    "schema text": json.dumps(document(schemaVersion="2")).encode(),
    "no schema": json.dumps({k: v for k, v in document().items() if k != "schemaVersion"}).encode(),
    "no config": json.dumps({k: v for k, v in document().items() if k != "config"}).encode(),
    "config null": json.dumps(document(config=None)).encode(),
    "layers object": json.dumps(document(layers={})).encode(),
    "layers text": json.dumps(document(layers="sha256")).encode(),
    "layer null": json.dumps(document(layers=[None])).encode(),
    "too many layers": json.dumps(document(layers=document()["layers"] * 10_001)).encode(),
    "too large": json.dumps(document(padding="x" * MAX_MANIFEST_BYTES)).encode(),
    "size negative": with_layer(size=-1),
    "size text": with_layer(size="1"),
    "size fraction": with_layer(size=1.5),
    "size beyond all": with_layer(size=2**63),
    "size astronomic": with_layer(size=10**4000),
    "size missing": with_layer(size=...),
    "type missing": with_layer(mediaType=...),
    "type number": with_layer(mediaType=1),
    "digest path": with_layer(digest="sha256:../../../../etc/passwd"),
    "digest traversal of the right length": with_layer(digest="sha256:" + "../" * 21 + "a"),
    "digest short": with_layer(digest="sha256:ab"),
    "digest empty": with_layer(digest=""),
    "digest upper": with_layer(digest=f"sha256:{HEX.upper()}"),
    "digest newline": with_layer(digest=f"sha256:{HEX}\n"),
    "digest file name": with_layer(digest=f"sha256-{HEX}"),
    "digest other": with_layer(digest=f"md5:{HEX[:32]}"),
    "digest number": with_layer(digest=5),
    "digest with an escape sequence": with_layer(digest="\x1b[2J"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_error_for_hostile_bytes(case: str) -> None:
    with pytest.raises(InvalidManifestError) as caught:
        Manifest.parse(HOSTILE[case], "evil:latest")
    assert caught.value.identity == "evil:latest"
    assert str(caught.value).startswith("evil:latest: invalid manifest: ")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400


def test_error_for_every_cut_of_a_manifest() -> None:
    raw = json.dumps(document()).encode()
    for length in range(len(raw)):
        with pytest.raises(InvalidManifestError):
            Manifest.parse(raw[:length])


def test_flipped_bytes_give_a_manifest_or_our_error() -> None:
    raw = Manifest.build(CONFIG, [layer(manifest.SYSTEM, "hi")]).raw
    for position, bit in itertools.product(range(len(raw)), (0, 3, 7)):
        data = bytearray(raw)
        data[position] ^= 1 << bit
        try:
            read = Manifest.parse(bytes(data))
        except InvalidManifestError:
            continue
        assert all(blob.size >= 0 and len(blob.digest.hex) == 64 for blob in read.blobs)


def test_config_keys_stand_in_ollamas_order_and_empty_ones_are_left_out() -> None:
    config = Config(model_format="gguf", model_family="f", model_families=["f"], requires="0.3.0", renderer="r")
    assert config.encode() == (
        b'{"model_format":"gguf","model_family":"f","model_families":["f"],"model_type":"","file_type":"",'
        b'"renderer":"r","requires":"0.3.0","architecture":"amd64","os":"linux"}\n'
    )
    assert Config().encode() == (
        b'{"model_format":"","model_family":"","model_families":null,"model_type":"","file_type":"",'
        b'"architecture":"amd64","os":"linux"}\n'
    )
    assert Config.parse(config.encode()) == config


def test_config_of_an_old_ollama_is_read() -> None:
    raw = b'{"model_format":"gguf","model_family":"llama","rootfs":{"type":"layers","diff_ids":["sha256:0"]},"x":1}'
    assert Config.parse(raw).model_family == "llama"


@pytest.mark.parametrize(
    "raw",
    [b"", b"[]", b"{", b'{"model_type":3}', b'{"capabilities":{}}', b'{"a":' * 100_000, b" " * (MAX_CONFIG_BYTES + 1)],
)
def test_error_for_what_is_no_config(raw: bytes) -> None:
    with pytest.raises(InvalidManifestError):
        Config.parse(raw)
