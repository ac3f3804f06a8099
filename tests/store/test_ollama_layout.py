"""A store that Ollama laid out is Corral's store too: listed, found, shown, copied, and left as it was."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from corral.modelfile.describe import read_licenses, read_messages, read_text
from corral.modelfile.sources import read_config, read_parameters
from corral.store import manifest
from corral.store.gc import Collected
from corral.store.local import Store
from corral.store.name import Name

LAYERS = {
    "model": b"not a GGUF, and nobody asks",
    "template": b"{{ .Prompt }}",
    "system": b"Say bye!",
    "license": b"MIT",
    "params": b'{"stop":["\\u003c|im_end|\\u003e"],"temperature":0.6}\n',
    "messages": b'[{"role":"user","content":"hi"},{"role":"assistant","content":"ho"}]\n',
}
CONFIG = (
    b'{"model_format":"gguf","model_family":"llama","model_families":["llama"],"model_type":"8.0B","file_type":"Q4_0",'
    b'"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":["sha256:00"]}}'
)


def lay_out(root: Path, place: str) -> bytes:
    """One model, as spec parts 4.1 and 4.2 have it; gives the manifest's bytes."""

    def blob(data: bytes, media_type: str) -> dict[str, str | int]:
        hex_digits = hashlib.sha256(data).hexdigest()
        (root / "blobs").mkdir(parents=True, exist_ok=True)
        (root / "blobs" / f"sha256-{hex_digits}").write_bytes(data)
        return {"mediaType": media_type, "digest": f"sha256:{hex_digits}", "size": len(data)}

    layers = [blob(data, f"application/vnd.ollama.image.{kind}") | {"from": "b"} for kind, data in LAYERS.items()]
    layers.append(blob(b"kept along", "application/vnd.example.future"))
    config = blob(CONFIG, "application/vnd.docker.container.image.v1+json")
    # Pulled manifests keep the registry's white space and key order.
    raw = json.dumps({"layers": layers, "config": config, "schemaVersion": 2}, indent=1).encode()
    path = root / "manifests" / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(raw)
    return raw


@pytest.mark.parametrize(
    ("place", "name"),
    [
        ("registry.ollama.ai/library/llama3/8b", "llama3:8b"),
        ("registry.ollama.ai/me/Mine/latest", "me/mine"),
        ("hf.co/bartowski/Some-GGUF/Q4_K_M", "hf.co/bartowski/some-gguf:q4_k_m"),
        ("localhost:5000/n/m/v1.0", "localhost:5000/n/m:v1.0"),
    ],
)
def test_a_model_is_found_and_read_whole(tmp_path: Path, place: str, name: str) -> None:
    raw = lay_out(tmp_path, place)
    store = Store(tmp_path)
    found = store.find(Name.parse(name))
    model = found.manifest
    assert "/".join(found.name.parts) == place
    assert model.digest.hex == hashlib.sha256(raw).hexdigest()
    assert [listed.name for listed in store.tags.models()[0]] == [found.name]
    assert model.size == sum(map(len, LAYERS.values())) + len(b"kept along") + len(CONFIG)
    store.check_complete(model)
    assert read_text(store, model.layers, manifest.SYSTEM) == "Say bye!"
    assert read_text(store, model.layers, manifest.TEMPLATE, manifest.PROMPT) == "{{ .Prompt }}"
    assert read_licenses(store, model) == ["MIT"]
    assert read_parameters(store, model) == {"stop": ["<|im_end|>"], "temperature": 0.6}
    assert [(message.role, message.content) for message in read_messages(store, model.layers)] == [
        ("user", "hi"),
        ("assistant", "ho"),
    ]
    assert read_config(store, model).model_type == "8.0B"


def test_reading_and_copying_leave_ollamas_files_alone(tmp_path: Path) -> None:
    raw = lay_out(tmp_path, "registry.ollama.ai/library/m/latest")
    (tmp_path / "blobs" / f"sha256-{'ab' * 32}-partial").write_bytes(b"half")
    store = Store(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    store.copy(Name.parse("m"), Name.parse("other"))
    assert (tmp_path / "manifests/registry.ollama.ai/library/other/latest").read_bytes() == raw
    assert store.collect() == Collected()
    assert before == {path: path.read_bytes() for path in before}
    # Ollama ignores hidden folders; nothing else was added.
    added = {path.relative_to(tmp_path).parts[0] for path in tmp_path.rglob("*") if path.is_file()}
    assert added == {"blobs", "manifests", ".corral"}


def test_removing_a_model_of_ollamas_leaves_fresh_blobs_to_age(tmp_path: Path) -> None:
    lay_out(tmp_path, "registry.ollama.ai/library/m/latest")
    store = Store(tmp_path)
    blobs = list(store.blobs)
    store.remove(Name.parse("m"))
    assert store.tags.models() == ([], [])
    assert list(store.blobs) == blobs
    assert store.collect(older_than=0).blobs == blobs


def test_the_legacy_prompt_layer_is_a_template(tmp_path: Path) -> None:
    lay_out(tmp_path, "registry.ollama.ai/library/m/latest")
    store = Store(tmp_path)
    model = store.find(Name.parse("m")).manifest
    prompt = store.blobs.put(b"old {{ .Prompt }}", manifest.PROMPT).blob
    old = manifest.Manifest.build(model.config, [prompt])
    assert read_text(store, old.layers, manifest.TEMPLATE, manifest.PROMPT) == "old {{ .Prompt }}"
