"""Verify: each kind of damage is found, all of it in one run, and a look changes nothing."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from corral.store.config import Config
from corral.store.digest import Digest
from corral.store.errors import ModelNotFoundError
from corral.store.local import Store
from corral.store.manifest import CONFIG_TYPE, LICENSE, MODEL, SYSTEM, Descriptor, Manifest
from corral.store.name import Name
from corral.store.progress import Progress
from corral.store.verify import SMALL, Problem, verify

LARGE = b"\0" * SMALL
"""What is added to a GGUF to make it one that is hashed only when that is asked for."""


@pytest.fixture
def full(store: Store, tiny_gguf: Path) -> Store:
    """A store with the models `one` and `two`, which share their large weights, and `three`."""

    def model(name: str, weights: bytes, system: bytes) -> None:
        layers = [store.blobs.put(weights, MODEL).blob, store.blobs.put(system, SYSTEM).blob]
        config = store.blobs.put(Config(model_format="gguf").encode(), CONFIG_TYPE).blob
        store.tag(Name.parse(name), Manifest.build(config, layers))

    with store.writing():
        model("one", tiny_gguf.read_bytes() + LARGE, b"one")
        model("two", tiny_gguf.read_bytes() + LARGE, b"two")
        model("three", tiny_gguf.read_bytes(), b"three")
    return store


def blob(store: Store, model: str, media_type: str) -> Path:
    (layer,) = store.find(Name.parse(model)).manifest.of_type(media_type)
    return store.blobs.path(layer.digest)


def manifest_file(store: Store, model: str) -> Path:
    return store.tags.folder / "registry.ollama.ai/library" / model / "latest"


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def summary(problems: tuple[Problem, ...]) -> list[tuple[str, list[str]]]:
    return [(problem.problem, [name.model for name in problem.models]) for problem in problems]


def snapshot(store: Store) -> dict[str, tuple[int, bytes]]:
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in store.root.rglob("*") if path.is_file()}


@pytest.mark.parametrize("is_deep", [False, True])
def test_a_sound_store_has_no_problems(full: Store, is_deep: bool) -> None:  # noqa: FBT001
    found = verify(full, is_deep=is_deep)
    assert (found.problems, found.strays, found.remaining) == ((), (), 0)
    assert (found.models, found.blobs) == (3, 6)
    sizes = [full.blobs.size(digest) or 0 for digest in full.blobs]
    assert found.hashed == sum(size for size in sizes if is_deep or size < SMALL)


def test_an_empty_store_has_no_problems_and_stays_empty(store: Store) -> None:
    assert verify(store, is_deep=True).problems == ()
    assert not store.root.exists()


def emptied(path: Path) -> None:
    path.write_bytes(b"")


DAMAGE: dict[str, tuple[str, Callable[[Path], object], str, str]] = {
    "gone": (SYSTEM, Path.unlink, "missing", "no file"),
    "cut short": (SYSTEM, lambda path: path.write_bytes(b"o"), "size", "1 bytes"),
    "emptied": (SYSTEM, emptied, "size", "0 bytes"),
    "longer": (SYSTEM, lambda path: path.write_bytes(b"oneone"), "size", "6 bytes"),
    "flipped": (SYSTEM, lambda path: flip(path, 0), "content", "sha256:"),
    "a folder": (SYSTEM, lambda path: (path.unlink(), path.mkdir()), "unreadable", "something else"),
    "a named pipe": (SYSTEM, lambda path: (path.unlink(), os.mkfifo(path)), "unreadable", "something else"),
    "a dangling link": (SYSTEM, lambda path: (path.unlink(), path.symlink_to("nowhere")), "missing", "no file"),
    "its own link": (SYSTEM, lambda path: (path.unlink(), path.symlink_to(path.name)), "unreadable", "Too many levels"),
    "weights gone": (MODEL, Path.unlink, "missing", "no file"),
    "weights cut short": (MODEL, lambda path: os.truncate(path, 4096), "size", "4096 bytes"),
    "weights that are zeros": (
        MODEL,
        lambda path: path.write_bytes(bytes(path.stat().st_size)),
        "header",
        "it does not begin with the bytes GGUF",
    ),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_each_kind_of_damage_is_found_without_hashing_everything(full: Store, case: str) -> None:
    media_type, damage, problem, got = DAMAGE[case]
    path = blob(full, "one", media_type)
    damage(path)
    (found,) = verify(full).problems
    users = ["one"] if media_type == SYSTEM else ["one", "two"]
    assert summary((found,)) == [(problem, users)]
    assert str(found.subject) == path.name.replace("-", ":")
    assert got in found.got
    assert got in str(found)
    assert not found.is_repaired


def test_a_flipped_byte_of_large_weights_is_found_by_hashing(full: Store) -> None:
    path = blob(full, "one", MODEL)
    flip(path, path.stat().st_size - 1)
    assert verify(full).problems == ()
    (found,) = verify(full, is_deep=True).problems
    digest = path.name.replace("-", ":")
    assert (found.problem, found.expected) == ("content", digest)
    assert found.got == str(Digest.of(path.read_bytes()))
    assert str(found).startswith(f"{digest}: content: expected {digest}, got sha256:")
    assert str(found).endswith("(in one:latest, two:latest)")


def test_a_config_that_would_never_end(full: Store) -> None:
    path = full.blobs.path(full.find(Name.parse("one")).manifest.config.digest)
    path.unlink()
    os.mkfifo(path)
    assert summary(verify(full).problems) == [("unreadable", ["one", "three", "two"])]


@pytest.mark.parametrize("raw", [b"", b"{", b'{"schemaVersion":2}', b"\0" * 512, b"[" * 100_000])
def test_a_corrupt_manifest_hides_no_other(full: Store, raw: bytes) -> None:
    manifest_file(full, "one").write_bytes(raw)
    manifest_file(full, "three").write_bytes(raw)
    blob(full, "two", SYSTEM).unlink()
    found = verify(full)
    assert summary(found.problems) == [("manifest", ["one"]), ("manifest", ["three"]), ("missing", ["two"])]
    assert found.models == 1


def test_all_damage_is_told_in_one_run_and_nothing_is_changed(full: Store) -> None:
    emptied(manifest_file(full, "three"))
    blob(full, "one", SYSTEM).unlink()
    flip(blob(full, "two", SYSTEM), 0)
    flip(blob(full, "one", MODEL), 0)
    (full.tags.folder / "stray").write_text("x")
    (full.blobs.folder / "sha256-123-partial").write_text("x")
    before = snapshot(full)
    shallow, deep = verify(full), verify(full, is_deep=True)
    assert summary(shallow.problems)[0] == ("manifest", ["three"])
    assert sorted(summary(shallow.problems)[1:]) == [
        ("content", ["two"]),
        ("header", ["one", "two"]),
        ("missing", ["one"]),
    ]
    assert sorted(summary(deep.problems)[1:]) == [
        ("content", ["one", "two"]),
        ("content", ["two"]),
        ("missing", ["one"]),
    ]
    assert verify(full) == shallow
    assert snapshot(full) == before


def test_only_one_model(full: Store) -> None:
    blob(full, "one", SYSTEM).unlink()
    flip(blob(full, "three", SYSTEM), 0)
    (full.tags.folder / "stray").write_text("x")
    found = verify(full, Name.parse("ONE"))
    assert (summary(found.problems), found.strays, found.models, found.blobs) == ([("missing", ["one"])], (), 1, 3)
    emptied(manifest_file(full, "one"))
    assert summary(verify(full, Name.parse("one")).problems) == [("manifest", ["one"])]
    with pytest.raises(ModelNotFoundError):
        verify(full, Name.parse("none"))


def test_models_and_blobs_of_a_store_below(full: Store, tmp_path: Path) -> None:
    above = Store(tmp_path / "above", below=[full.root])
    above.copy(Name.parse("one"), Name.parse("mine"))
    assert verify(above).problems == ()
    flip(blob(full, "one", SYSTEM), 0)
    flip(blob(full, "three", SYSTEM), 0)
    assert summary(verify(above).problems) == [("content", ["mine"])]
    assert summary(verify(above, Name.parse("three")).problems) == [("content", ["three"])]


def test_a_size_that_one_manifest_has_wrong(full: Store) -> None:
    path = manifest_file(full, "one")
    document = json.loads(path.read_bytes())
    document["layers"][1]["size"] = 99
    path.write_bytes(json.dumps(document).encode())
    full.copy(Name.parse("two"), Name.parse("four"))
    (found,) = verify(full).problems
    assert (found.problem, found.expected, found.got) == ("size", "99 bytes", "3 bytes")
    assert [name.model for name in found.models] == ["one"]


def test_a_blob_that_no_store_can_hold(full: Store) -> None:
    made = full.find(Name.parse("one")).manifest
    wrong = Manifest.build(made.config, [Descriptor(LICENSE, Digest("sha512", "a" * 128), 1), *made.layers])
    manifest_file(full, "one").write_bytes(wrong.raw)
    (found,) = verify(full).problems
    assert (found.problem, found.expected, found.got) == ("manifest", "blobs by sha256", f"sha512:{'a' * 128}")


def test_a_tag_that_is_a_digest_is_that_models(full: Store) -> None:
    made = full.find(Name.parse("one")).manifest
    full.tag(Name.parse(f"one@{made.digest}"), made)
    assert verify(full).problems == ()
    pinned = manifest_file(full, "one").with_name(made.digest.filename)
    pinned.write_bytes(manifest_file(full, "two").read_bytes())
    (found,) = verify(full).problems
    other = full.find(Name.parse("two")).manifest.digest
    assert (found.expected, found.got) == (made.digest.filename, other.filename)


def test_weights_of_another_format_need_not_be_a_gguf(store: Store) -> None:
    config = store.blobs.put(Config(model_format="safetensors").encode(), CONFIG_TYPE).blob
    store.tag(Name.parse("m"), Manifest.build(config, [store.blobs.put(b"weights", MODEL).blob]))
    assert verify(store).problems == ()


def test_a_linked_file_that_was_edited(store: Store, tiny_gguf: Path, tmp_path: Path) -> None:
    source = tmp_path / "model.gguf"
    source.write_bytes(tiny_gguf.read_bytes() + LARGE)
    with store.writing():
        layer = store.blobs.adopt(source, MODEL, links=True).blob
        config = store.blobs.put(Config(model_format="gguf").encode(), CONFIG_TYPE).blob
        store.tag(Name.parse("m"), Manifest.build(config, [layer]))
    assert verify(store).problems == ()
    flip(source, source.stat().st_size - 1)
    (found,) = verify(store).problems
    assert (found.problem, found.got) == ("content", "the file it links to was edited")
    (found,) = verify(store, is_deep=True).problems
    assert (found.problem, found.got) == ("content", str(Digest.of(source.read_bytes())))


def test_files_that_belong_nowhere_are_noted(full: Store) -> None:
    unused = full.blobs.put(b"unused", SYSTEM).blob.digest
    library = full.tags.folder / "registry.ollama.ai/library"
    for path in (
        full.tags.folder / "stray",
        library / "one" / ".DS_Store",
        library / "one" / "a b",
        library / "one" / "v1" / "deeper",
        full.blobs.folder / f"sha256-{'a' * 64}-partial",
        full.blobs.folder / f"sha256:{'a' * 64}",
        full.blobs.folder / "readme.txt",
        full.blobs.ingest_folder / "abandoned",
    ):
        path.parent.mkdir(exist_ok=True)
        path.write_text("x")
    with full.blobs.ingest() as ingest:
        ingest.write(b"on its way")
        found = verify(full)
    assert found.problems == ()
    assert {stray.path: stray.note for stray in found.strays} == {
        "manifests/stray": "no model: a manifest is HOST/NAMESPACE/MODEL/TAG",
        "manifests/registry.ollama.ai/library/one/.DS_Store": "no model: a manifest is HOST/NAMESPACE/MODEL/TAG",
        "manifests/registry.ollama.ai/library/one/a b": (
            'no model: "a b": invalid model name: expected a tag of up to 80 letters, digits and _ - .'
        ),
        "manifests/registry.ollama.ai/library/one/v1/deeper": "no model: a manifest is HOST/NAMESPACE/MODEL/TAG",
        f"blobs/sha256-{'a' * 64}-partial": "an unfinished download or write; gc removes it with age",
        f"blobs/sha256:{'a' * 64}": "no blob",
        "blobs/readme.txt": "no blob",
        f"blobs/{unused.filename}": "no model uses it; gc removes it",
        ".corral/ingest/abandoned": "left by a broken-off write; gc removes it",
    }
    assert list(found.strays) == sorted(found.strays)


def test_a_damaged_blob_that_no_model_uses_is_a_problem_too(full: Store) -> None:
    flip(full.blobs.path(full.blobs.put(b"unused", SYSTEM).blob.digest), 0)
    (found,) = verify(full).problems
    assert (found.problem, found.models) == ("content", ())


def test_every_byte_is_hashed_once_and_told_of(full: Store) -> None:
    steps: list[Progress] = []
    found = verify(full, is_deep=True, report=steps.append, threads=4)
    assert {step.status for step in steps} == {"hashing blobs"}
    done = [step.completed or 0 for step in steps]
    assert done == sorted(done)
    assert done[-1] == steps[-1].total == found.hashed


def test_an_interruption_does_not_wait(full: Store) -> None:
    before = threading.active_count()

    def interrupt(_: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        verify(full, is_deep=True, report=interrupt, threads=2)
    assert threading.active_count() <= before
