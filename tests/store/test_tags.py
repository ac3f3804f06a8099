"""Tags: names of complete models, found whatever their case, copied and removed without harm to others."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from corral.store.digest import Digest
from corral.store.errors import (
    BlobNotFoundError,
    CorralError,
    InvalidManifestError,
    MismatchError,
    ModelNotFoundError,
    StoreError,
)
from corral.store.local import Store
from corral.store.manifest import Manifest
from corral.store.name import Name

Stored = Callable[[Store, str], Manifest]


def name(text: str) -> Name:
    return Name.parse(text)


def blob_names(store: Store) -> set[str]:
    return {digest.hex for digest in store.blobs}


def test_a_tag_is_found_listed_and_is_ollamas_file(store: Store, stored: Stored) -> None:
    made = stored(store, "hi")
    assert store.tag(name("n/m:t"), made) == name("n/m:t")
    assert (store.root / "manifests/registry.ollama.ai/n/m/t").read_bytes() == made.raw
    assert store.find(name("n/m:t")).manifest == made
    models, broken = store.tags.models()
    assert [model.name for model in models] == [name("n/m:t")]
    assert broken == []


def test_models_are_listed_newest_first(store: Store, stored: Stored) -> None:
    for age, text in ((30, "old"), (10, "new"), (20, "middle")):
        store.tag(name(text), stored(store, text))
        path = store.root / "manifests/registry.ollama.ai/library" / text / "latest"
        os.utime(path, (1_000_000 - age, 1_000_000 - age))
    assert [model.name.model for model in store.tags.models()[0]] == ["new", "middle", "old"]


def test_names_that_differ_by_case_are_one(store: Store, stored: Stored) -> None:
    store.tag(name("Owner/Model:Tag"), stored(store, "first"))
    assert store.find(name("owner/MODEL:tag")).name == name("Owner/Model:Tag")
    second = stored(store, "second")
    assert store.tag(name("OWNER/model:TAG"), second) == name("Owner/Model:Tag")
    assert [model.manifest for model in store.tags.models()[0]] == [second]
    store.remove(name("owner/model:tag"))
    assert store.tags.models() == ([], [])


def test_a_digest_finds_the_model_under_any_tag(store: Store, stored: Stored) -> None:
    first, second = stored(store, "first"), stored(store, "second")
    store.tag(name("m:a"), first)
    store.tag(name("m:b"), second)
    assert store.find(name(f"m@{second.digest}")).name == name("m:b")
    assert store.find(name(f"m:b@{first.digest}")).name == name("m:a")
    with pytest.raises(ModelNotFoundError):
        store.find(name(f"other@{first.digest}"))
    with pytest.raises(ModelNotFoundError):
        store.find(name(f"m@{Digest.of(b'x')}"))


def test_a_digest_is_found_beside_a_broken_tag(store: Store, stored: Stored) -> None:
    made = stored(store, "hi")
    for tag in ("m:latest", "m:good"):
        store.tag(name(tag), made)
    (store.root / "manifests/registry.ollama.ai/library/m/latest").write_bytes(b"")
    assert store.find(name(f"m@{made.digest}")).name == name("m:good")


def test_a_pinned_name_is_kept_under_a_tag_that_ollama_sees(store: Store, stored: Stored) -> None:
    made = stored(store, "hi")
    kept = store.tag(name(f"m@{made.digest}"), made)
    assert kept == Name("registry.ollama.ai", "library", "m", made.digest.filename)
    assert store.find(name(f"m@{made.digest}")).manifest == made


def test_error_for_an_incomplete_model_leaves_no_tag(store: Store, stored: Stored) -> None:
    made = stored(store, "hi")
    path = store.blobs.path(made.layers[0].digest)
    path.write_bytes(b"cut")
    with pytest.raises(MismatchError):
        store.tag(name("m"), made)
    path.unlink()
    with pytest.raises(BlobNotFoundError):
        store.tag(name("m"), made)
    assert list(store.tags.names()) == []


def test_a_failed_tag_leaves_the_old_one(store: Store, stored: Stored) -> None:
    old = stored(store, "old")
    store.tag(name("m"), old)
    new = stored(store, "new")
    store.blobs.path(new.layers[1].digest).unlink()
    with pytest.raises(BlobNotFoundError):
        store.tag(name("m"), new)
    assert store.find(name("m")).manifest == old


def test_copy_gives_a_second_name_to_the_same_blobs(store: Store, stored: Stored) -> None:
    made = stored(store, "hi")
    store.tag(name("m"), made)
    before = blob_names(store)
    store.copy(name("M"), name("n/other:x"))
    assert store.find(name("n/other:x")).manifest == made
    assert blob_names(store) == before
    with pytest.raises(ModelNotFoundError):
        store.copy(name("nope"), name("x"))


def test_remove_takes_only_what_nobody_else_needs(store: Store, stored: Stored) -> None:
    kept, removed = stored(store, "kept"), stored(store, "removed")
    store.tag(name("a"), kept)
    store.tag(name("b"), removed)
    store.remove(name("b"))
    assert [model.name.model for model in store.tags.models()[0]] == ["a"]
    assert blob_names(store) == {blob.digest.hex for blob in kept.blobs}
    assert not (store.root / "manifests/registry.ollama.ai/library/b").exists()
    with pytest.raises(ModelNotFoundError):
        store.remove(name("b"))
    store.remove(name("a"))
    assert blob_names(store) == set()


def test_remove_by_digest_takes_the_tag_that_has_it(store: Store, stored: Stored) -> None:
    first, second = stored(store, "first"), stored(store, "second")
    store.tag(name("m:a"), first)
    store.tag(name("m:b"), second)
    store.remove(name(f"m@{first.digest}"))
    assert [model.name.tag for model in store.tags.models()[0]] == ["b"]


@pytest.mark.parametrize("raw", [b"", b"{", b"\0" * 100])
def test_a_broken_manifest_is_told_of_and_can_be_removed_and_made_again(
    store: Store, stored: Stored, raw: bytes
) -> None:
    made = stored(store, "hi")
    store.tag(name("good"), made)
    store.tag(name("bad"), made)
    (store.root / "manifests/registry.ollama.ai/library/bad/latest").write_bytes(raw)
    models, broken = store.tags.models()
    assert [model.name.model for model in models] == ["good"]
    assert [error.identity for error in broken] == ["bad:latest"]
    with pytest.raises(InvalidManifestError, match="bad:latest"):
        store.find(name("bad"))
    store.tag(name("bad"), made)
    assert store.find(name("bad")).manifest == made
    (store.root / "manifests/registry.ollama.ai/library/bad/latest").write_bytes(raw)
    store.remove(name("bad"))
    assert store.find(name("good")).manifest == made
    store.check_complete(made)


def test_files_that_are_no_manifests_are_passed_over(store: Store, stored: Stored) -> None:
    store.tag(name("m"), stored(store, "hi"))
    library = store.root / "manifests/registry.ollama.ai/library"
    (library / "m" / ".DS_Store").write_bytes(b"x")
    (library / "m" / "no name").write_bytes(b"x")
    (library / "stray").write_bytes(b"x")
    (library / "m" / "deep").mkdir()
    (library / "m" / "deep" / "er").write_bytes(b"x")
    models, broken = store.tags.models()
    assert ([model.name for model in models], broken) == ([name("m")], [])


def test_error_for_a_tag_whose_place_is_taken_is_ours(store: Store, stored: Stored) -> None:
    made = stored(store, "hi")
    (store.root / "manifests/registry.ollama.ai/library/m/latest").mkdir(parents=True)
    with pytest.raises(StoreError, match="library/m/latest: cannot "):
        store.tag(name("m"), made)
    with pytest.raises(CorralError):
        store.find(name("m"))
    assert list(store.blobs.ingest_folder.iterdir()) == []
