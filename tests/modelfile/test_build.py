"""Building: where FROM leads, what is inherited, replaced and merged (spec parts 3.4, 3.6, 4.6)."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from corral.modelfile.builder import build
from corral.modelfile.describe import read_licenses, read_messages, read_text
from corral.modelfile.diagnostics import ModelfileError
from corral.modelfile.parser import parse
from corral.modelfile.sources import read_config, read_parameters
from corral.store import manifest
from corral.store.digest import Digest
from corral.store.errors import BlobNotFoundError, CorralError, InvalidGGUFError
from corral.store.local import Store
from corral.store.name import Name
from corral.store.progress import Progress, Report
from corral.store.tags import TaggedModel

from tests.store.splitting import Weights, decoded, merged, split

Create = Callable[..., TaggedModel]

BASE = """
FROM ./tiny.gguf
TEMPLATE "{{ .System }}|{{ .Prompt }}"
SYSTEM base
PARAMETER temperature 0.5
PARAMETER stop one
PARAMETER stop two
MESSAGE user hi
MESSAGE assistant ho
LICENSE first
RENDERER qwen3-coder
REQUIRES v0.14.0
"""


def kinds(model: TaggedModel) -> list[str]:
    return [layer.media_type.rpartition(".")[2] for layer in model.manifest.layers]


def read(store: Store, model: TaggedModel) -> dict[str, Any]:
    made = model.manifest
    config = read_config(store, made)
    return {
        "system": read_text(store, made.layers, manifest.SYSTEM),
        "template": read_text(store, made.layers, manifest.TEMPLATE),
        "parameters": read_parameters(store, made),
        "messages": [(message.role, message.content) for message in read_messages(store, made.layers)],
        "licenses": read_licenses(store, made),
        "renderer": config.renderer,
        "parser": config.parser,
        "requires": config.requires,
    }


def nothing_changed(store: Store, before: set[Path]) -> None:
    assert {path for path in store.root.rglob("*") if path.is_file()} == before


def test_a_model_from_a_file_has_its_bytes_and_facts(store: Store, create: Create, tiny_gguf: Path) -> None:
    model = create("m", "FROM ./tiny.gguf")
    assert kinds(model) == ["model"]
    assert model.manifest.layers[0].digest == Digest.of(tiny_gguf.read_bytes())
    config = store.blobs.read(model.manifest.config, 1000)
    assert config == (
        b'{"model_format":"gguf","model_family":"llama","model_families":["llama"],"model_type":"8","file_type":"F32",'
        b'"architecture":"amd64","os":"linux"}\n'
    )


def test_the_blobs_of_texts_are_ollamas_bytes(store: Store, create: Create) -> None:
    model = create(
        "m",
        'FROM ./tiny.gguf\nSYSTEM Say bye!\nTEMPLATE "{{ .System }} {{ .Prompt }}"\nMESSAGE user <a & b>\n'
        "PARAMETER top_p 0.7\nPARAMETER top_k 10\nPARAMETER temperature 0.6\n"
        "PARAMETER stop USER:\nPARAMETER stop ASSISTANT:\n"
        'LICENSE """MIT\n"""\n',
    )
    blobs = {
        layer.media_type.rpartition(".")[2]: store.blobs.path(layer.digest).read_bytes()
        for layer in model.manifest.layers[1:]
    }
    assert blobs == {
        "template": b"{{ .System }} {{ .Prompt }}",
        "system": b"Say bye!",
        "params": b'{"stop":["USER:","ASSISTANT:"],"temperature":0.6,"top_k":10,"top_p":0.7}\n',
        "messages": b'[{"role":"user","content":"\\u003ca \\u0026 b\\u003e"}]\n',
        "license": b"MIT\n",
    }
    params = model.manifest.of_type(manifest.PARAMS)[0].digest
    assert params.hex == "e29a7b3c47287a2489c895d21fe413c20f859a85d20e749492f52a838e36e1ba"


def test_from_a_model_inherits_everything(store: Store, create: Create) -> None:
    base = create("base", BASE)
    assert kinds(base) == ["model", "template", "system", "params", "messages", "license"]
    child = create("child", "FROM base")
    assert (
        read(store, child)
        == read(store, base)
        == {
            "system": "base",
            "template": "{{ .System }}|{{ .Prompt }}",
            "parameters": {"temperature": 0.5, "stop": ["one", "two"]},
            "messages": [("user", "hi"), ("assistant", "ho")],
            "licenses": ["first"],
            "renderer": "qwen3-coder",
            "parser": "",
            "requires": "0.14.0",
        }
    )
    # Nothing is different, so it is the same model.
    assert child.manifest.digest == base.manifest.digest


CHANGES: dict[str, dict[str, Any]] = {
    "SYSTEM new": {"system": "new"},
    'SYSTEM ""': {},
    "SYSTEM a\nSYSTEM b": {"system": "b"},
    'TEMPLATE "{{ .Prompt }}!"': {"template": "{{ .Prompt }}!"},
    'TEMPLATE ""': {},
    "LICENSE second\nLICENSE third": {"licenses": ["first", "second", "third"]},
    'LICENSE ""': {},
    "PARAMETER temperature 1": {"parameters": {"temperature": 1, "stop": ["one", "two"]}},
    "PARAMETER stop three": {"parameters": {"temperature": 0.5, "stop": ["three"]}},
    "PARAMETER top_k 3": {"parameters": {"temperature": 0.5, "stop": ["one", "two"], "top_k": 3}},
    "MESSAGE user new": {"messages": [("user", "new")]},
    "RENDERER r\nPARSER p": {"renderer": "r", "parser": "p"},
    "REQUIRES 0.20.1": {"requires": "0.20.1"},
}


@pytest.mark.parametrize("text", CHANGES)
def test_a_child_changes_only_what_it_says(store: Store, create: Create, text: str) -> None:
    base = create("base", BASE)
    child = create("child", f"FROM base\n{text}")
    assert read(store, child) == read(store, base) | CHANGES[text]
    assert store.find(Name.parse("base")).manifest == base.manifest


def test_a_child_may_replace_its_base(store: Store, create: Create) -> None:
    base = create("m", BASE)
    child = create("M", "FROM m\nSYSTEM new")
    assert child.name == base.name
    assert read_text(store, store.find(base.name).manifest.layers, manifest.SYSTEM) == "new"
    # What only the old one needed is gone, and what the new one needs is not.
    assert store.blobs.size(base.manifest.of_type(manifest.SYSTEM)[0].digest) is None
    store.check_complete(child.manifest)
    assert store.collect().blobs == []


def test_the_same_input_gives_the_same_model(create: Create, tmp_path: Path, tiny_gguf: Path) -> None:
    first = create("a", BASE)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.copy(tiny_gguf, elsewhere / "renamed.GGUF")
    lines = BASE.replace("./tiny.gguf", "./renamed.GGUF").strip().splitlines()
    moved = [line for line in lines if not line.startswith(("MESSAGE", "PARAMETER"))]
    kept = [line for line in lines if line not in moved]
    other = Store(tmp_path / "other")
    text = "# a comment\r\n" + "\r\n".join([*kept, *reversed(moved)])
    second = build(Name.parse("n/b:c"), parse(text), other, folder=elsewhere)
    assert second.manifest.raw == first.manifest.raw
    assert create("a", BASE).manifest.raw == first.manifest.raw


def test_from_a_digest_takes_exactly_that_model(store: Store, create: Create) -> None:
    old = create("m:old", BASE)
    new = create("m:new", BASE.replace("SYSTEM base", "SYSTEM newer"))
    child = create("child", f"FROM m@{old.manifest.digest}\nPARAMETER top_k 1")
    assert read_text(store, child.manifest.layers, manifest.SYSTEM) == "base"
    child = create("child", f"FROM m:old@{new.manifest.digest}\nPARAMETER top_k 1")
    assert read_text(store, child.manifest.layers, manifest.SYSTEM) == "newer"
    with pytest.raises(ModelfileError, match="not found"):
        create("child", f"FROM m@{Digest.of(b'x')}")


def test_from_a_blobs_path_copies_nothing(store: Store, create: Create) -> None:
    base = create("m", "FROM ./tiny.gguf")
    path = store.blobs.path(base.manifest.layers[0].digest)
    inode = path.stat().st_ino
    assert create("n", f"FROM {path}").manifest == base.manifest
    assert path.stat().st_ino == inode


def test_a_folder_gives_its_gguf_and_shadows_a_model(store: Store, create: Create, folder: Path) -> None:
    create("shadowed", BASE)
    (folder / "shadowed").mkdir()
    shutil.copy(folder / "tiny.gguf", folder / "shadowed" / "x.gguf")
    model = build(Name.parse("m"), parse("FROM shadowed"), store, folder=folder)
    assert kinds(model) == ["model"]
    (folder / "shadowed" / "x.gguf").unlink()
    assert len(kinds(build(Name.parse("m"), parse("FROM shadowed"), store, folder=folder))) > 1


@pytest.mark.parametrize(
    "source", ["tiny.gguf", "./tiny.gguf", '"./tiny.gguf"', "../{folder}/tiny.gguf", "{here}/tiny.gguf"]
)
def test_paths_start_at_the_modelfiles_folder(create: Create, folder: Path, source: str) -> None:
    assert kinds(create("m", f"FROM {source.format(folder=folder.name, here=folder)}")) == ["model"]


def test_a_home_path_is_expanded(create: Create, tiny_gguf: Path) -> None:
    home = Path(os.environ["HOME"])
    shutil.copy(tiny_gguf, home / "in-home.gguf")
    assert kinds(create("m", "FROM ~/in-home.gguf")) == ["model"]


def test_an_absent_base_is_asked_for(store: Store, create: Create, folder: Path) -> None:
    asked: list[Name] = []

    def resolver(name: Name, _: Report) -> None:
        asked.append(name)
        create(str(name), BASE)

    model = build(Name.parse("m"), parse("FROM n/far:1b"), store, folder=folder, resolver=resolver)
    assert asked == [Name.parse("n/far:1b")]
    assert read_text(store, model.manifest.layers, manifest.SYSTEM) == "base"
    build(Name.parse("m"), parse("FROM n/far:1b"), store, folder=folder, resolver=resolver)
    assert len(asked) == 1


WRONG = {
    "FROM ./missing.gguf": ModelfileError,
    "FROM missing": ModelfileError,
    "FROM /dev/zero": CorralError,
    "FROM base\nADAPTER ./missing": ModelfileError,
    "FROM base\nADAPTER ./tiny.gguf": ModelfileError,
    "FROM base\nDRAFT ./missing": ModelfileError,
    "FROM ./tiny.gguf\nADAPTER ./text": InvalidGGUFError,
    "FROM ./text": InvalidGGUFError,
    "FROM ./tiny.gguf\nFROM ./twin.gguf": ModelfileError,
    "FROM base\nPARAMETER top_k x": ModelfileError,
    "FROM base\nTEMPLATE {{ if }}": ModelfileError,
}


@pytest.mark.parametrize("text", WRONG)
def test_error_before_anything_is_written(store: Store, create: Create, folder: Path, text: str) -> None:
    create("base", BASE)
    (folder / "text").write_text("not a GGUF")
    shutil.copy(folder / "tiny.gguf", folder / "twin.gguf")
    before = {path for path in store.root.rglob("*") if path.is_file()}
    with pytest.raises(WRONG[text]) as caught:
        create("base", f"{text}\nSYSTEM never stored")
    assert str(caught.value).isprintable()
    nothing_changed(store, before)
    store.check_complete(store.find(Name.parse("base")).manifest)


def test_error_for_a_base_with_a_blob_missing(store: Store, create: Create) -> None:
    base = create("base", BASE)
    store.blobs.path(base.manifest.of_type(manifest.SYSTEM)[0].digest).unlink()
    with pytest.raises(BlobNotFoundError):
        create("child", "FROM base")


def tiny_parts(folder: Path, tiny_gguf: Path) -> tuple[list[Path], bytes]:
    """The tiny model with two tensors more, split in three in a folder, and the file they make."""
    tiny = decoded(tiny_gguf)
    more = [Weights(name, (8,), 0, bytes([9]) * 32) for name in ("a", "b")]
    whole = tiny._replace(tensors=[*tiny.tensors, *more])
    folder.mkdir()
    return split(whole, folder, (1, 2)), merged(whole)


def test_a_split_gguf_is_the_file_its_parts_make(create: Create, folder: Path, tiny_gguf: Path) -> None:
    paths, whole = tiny_parts(folder / "parts", tiny_gguf)
    (folder / "joined.gguf").write_bytes(whole)
    joined = create("joined", "FROM ./joined.gguf")
    for source in (*(f"./parts/{path.name}" for path in paths), "./parts", str(folder / "parts")):
        made = create("made", f"FROM {source}")
        assert made.manifest.raw == joined.manifest.raw, source


@pytest.mark.parametrize("missing", [0, 1, 2])
@pytest.mark.parametrize(
    "source", ["./parts", "./parts/model-00001-of-00003.gguf", "./parts/model-00003-of-00003.gguf"]
)
def test_error_for_a_split_gguf_with_a_part_missing(
    store: Store, create: Create, folder: Path, tiny_gguf: Path, source: str, missing: int
) -> None:
    create("made", "FROM ./tiny.gguf")
    paths, _ = tiny_parts(folder / "parts", tiny_gguf)
    paths[missing].unlink()
    before = {path for path in store.root.rglob("*") if path.is_file()}
    with pytest.raises(ModelfileError) as caught:
        create("made", f"FROM {source}")
    assert len(caught.value.diagnostics) == 1
    assert f"no such file: {paths[missing]}" in str(caught.value)
    nothing_changed(store, before)


def gguf_with(path: Path, source: Path, declared: str) -> Path:
    """The tiny GGUF with its `general.type` declared."""
    data = source.read_bytes()
    key, value = b"general.type", declared.encode()
    pair = len(key).to_bytes(8, "little") + key + (8).to_bytes(4, "little") + len(value).to_bytes(8, "little") + value
    count = int.from_bytes(data[16:24], "little") + 1
    head = data[:16] + count.to_bytes(8, "little") + pair + data[24:]
    path.write_bytes(head + bytes(64))
    return path


def test_an_adapter_and_a_projector_are_layers_and_the_last_adapter_counts(
    create: Create, tiny_gguf: Path, tmp_path: Path
) -> None:
    first, last = (gguf_with(tmp_path / f"{name}.gguf", tiny_gguf, "adapter") for name in ("first", "last"))
    last.write_bytes(last.read_bytes() + b"longer")
    projector = gguf_with(tmp_path / "p.gguf", tiny_gguf, "mmproj")
    model = create("m", f"ADAPTER {first}\nFROM {projector}\nADAPTER {last}\nFROM ./tiny.gguf\nSYSTEM hi")
    assert kinds(model) == ["model", "projector", "adapter", "system"]
    assert model.manifest.layers[2].digest == Digest.of(last.read_bytes())
    child = create("child", f"FROM m\nADAPTER {first}")
    assert kinds(child) == kinds(model)
    assert child.manifest.layers[2].digest == Digest.of(first.read_bytes())
    assert kinds(create("plain", "FROM child")) == kinds(model)


def test_statuses_are_ollamas(store: Store, folder: Path) -> None:
    def statuses() -> list[str]:
        heard: list[Progress] = []
        text = "FROM ./tiny.gguf\nSYSTEM hi"
        build(Name.parse("m"), parse(text), store, folder=folder, report=heard.append)
        return [progress.status.partition(" sha256")[0] for progress in heard]

    middle = ["parsing GGUF", "copying file tiny.gguf"]
    end = ["writing manifest", "success"]
    assert statuses() == [*middle, *["creating new layer"] * 3, *end]
    assert statuses() == [*middle, *["using existing layer"] * 3, *end]


def test_a_manifest_never_names_files(create: Create) -> None:
    raw = json.loads(create("m", BASE).manifest.raw)
    assert all(set(layer) == {"mediaType", "digest", "size"} for layer in raw["layers"])
