"""Second names of the blobs of models that Ollama does not see: of one file, or a copy, and always of the right bytes."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from corral.store.errors import (
    MismatchError,
)
from corral.store.gc import Collected
from corral.store.local import Store
from corral.store.manifest import MODEL, SYSTEM, Manifest
from corral.store.usage import usage
from corral.store.verify import SMALL, verify

from tests.store.beside import BARE, NESTED, PLAIN, filenames, shown, spares
from tests.store.pruning import prune

Stored = Callable[[Store, str], Manifest]


@pytest.fixture
def without_links(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system whose files have one name each."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", refuse)


@pytest.mark.usefixtures("without_links")
def test_a_copy_where_a_file_can_have_one_name_only(store: Store, stored: Stored) -> None:
    made = stored(store, "hi")
    store.tag(NESTED, made)
    assert usage(store).used.bytes == 2 * made.size
    # What only a name that Ollama does not see needs is not needed twice.
    assert store.collect() == Collected(bytes=made.size)
    assert (shown(store), spares(store)) == (set(), filenames(made))
    assert usage(store).used.bytes == made.size
    store.copy(NESTED, PLAIN)
    assert shown(store) == spares(store) == filenames(made)
    assert store.collect() == Collected()
    prune(store.root)
    store.check_complete(made)
    store.remove(NESTED)
    assert (shown(store), spares(store)) == (filenames(made), set())


@pytest.mark.usefixtures("without_links")
def test_damage_in_either_of_two_copies_is_found_and_replaced(store: Store, stored: Stored) -> None:
    made = stored(store, "hi")
    for tag in (NESTED, PLAIN):
        store.tag(tag, made)
    for path in store.blobs.places(made.layers[1].digest):
        path.write_bytes(b"no")
        problems = [problem for problem in verify(store).problems if problem.problem == "content"]
        assert [problem.subject for problem in problems] == [made.layers[1].digest]
        with store.writing(), store.blobs.ingest() as ingest:
            ingest.write(b"hi")
            ingest.commit(SYSTEM, replaces=True)
        assert {path.read_bytes() for path in store.blobs.places(made.layers[1].digest)} == {b"hi"}


def test_a_repaired_blob_takes_the_place_of_both_names(store: Store, stored: Stored) -> None:
    made = stored(store, "hi")
    store.tag(NESTED, made)
    path, spare = store.blobs.places(made.layers[1].digest)
    path.write_bytes(b"no")
    assert spare.read_bytes() == b"no"
    assert store.blobs.put(b"hi", SYSTEM).is_new
    assert (path.read_bytes(), spare.read_bytes(), path.samefile(spare)) == (b"hi", b"hi", True)
    prune(store.root)
    spare.write_bytes(b"no")
    assert store.blobs.put(b"hi", SYSTEM).is_new
    assert (path.read_bytes(), spare.read_bytes()) == (b"hi", b"hi")


def test_what_another_wrote_in_the_place_of_a_pruned_blob_is_one_with_the_spare_again(
    store: Store, stored: Stored
) -> None:
    made = stored(store, "hi")
    store.tag(NESTED, made)
    prune(store.root)
    path, spare = store.blobs.places(made.layers[1].digest)
    path.write_bytes(b"hi")  # an Ollama pulled it
    assert usage(store).used.bytes == made.size + 2
    store.copy(NESTED, BARE)
    assert path.samefile(spare)
    assert usage(store).used.bytes == made.size


@pytest.mark.parametrize("is_pruned", [False, True])
def test_an_edit_of_a_linked_file_is_seen(store: Store, tmp_path: Path, is_pruned: bool) -> None:  # noqa: FBT001
    weights = tmp_path / "weights"
    weights.write_bytes(b"w" * SMALL)
    os.utime(weights, (1_000_000, 1_000_000))
    with store.writing():
        blob = store.blobs.adopt(weights, MODEL, links=True).blob
        config = store.blobs.put(b"{}", "c").blob
        made = Manifest.build(config, [blob])
        store.tag(NESTED, made)
    path, spare = store.blobs.places(blob.digest)
    assert weights.samefile(path)
    assert weights.samefile(spare)
    record = store.root / ".corral/linked" / blob.digest.filename
    noted = record.read_text()
    # That it got another name is no reason to read all of it.
    assert noted.split()[-1] == str(weights.stat().st_ctime_ns)
    if is_pruned:
        prune(store.root)
    store.check_complete(made)
    assert verify(store).problems[1:] == ()
    with weights.open("r+b") as file:
        file.write(b"!")
    for _ in range(2):
        with pytest.raises(MismatchError, match="other bytes"):
            store.check_complete(made)
    with pytest.raises(MismatchError):
        store.copy(NESTED, PLAIN)
    assert [problem.got for problem in verify(store).problems] == ["the file it links to was edited"]
    # The same content again, as another file: neither name is the edited one's any more.
    weights.unlink()
    again = tmp_path / "again"
    again.write_bytes(b"w" * SMALL)
    with store.writing():
        assert store.blobs.adopt(again, MODEL, links=True).is_new
    assert again.samefile(path)
    assert again.samefile(spare)
    store.check_complete(made)
    assert store.collect() == Collected()
    store.remove(NESTED)
    assert not record.exists()
    assert again.read_bytes() == b"w" * SMALL


def test_a_linked_blob_frees_no_space(store: Store, tmp_path: Path) -> None:
    weights = tmp_path / "weights"
    weights.write_bytes(b"w" * 1000)
    with store.writing():
        blob = store.blobs.adopt(weights, MODEL, links=True).blob
        store.tag(NESTED, Manifest.build(store.blobs.put(b"{}", "c").blob, [blob]))
    assert usage(store).linked.bytes == 1000
    store.tags.delete(NESTED)
    assert store.collect().bytes == 2
    assert weights.read_bytes() == b"w" * 1000


def test_a_blob_that_is_a_link_to_elsewhere_stays_one(store: Store, stored: Stored, tmp_path: Path) -> None:
    made = stored(store, "hi")
    path = store.blobs.path(made.layers[0].digest)
    elsewhere = tmp_path / "weights"
    path.rename(elsewhere)
    path.symlink_to(os.path.relpath(elsewhere, path.parent))
    store.tag(NESTED, made)
    prune(store.root)
    store.check_complete(made)
    assert store.blobs.read(made.layers[0], 100) == b"weights"
    store.remove(NESTED)
    assert elsewhere.read_bytes() == b"weights"


def test_df_counts_a_file_with_two_names_once(store: Store, stored: Stored) -> None:
    nested, plain = stored(store, "nested"), stored(store, "plain")
    store.tag(NESTED, nested)
    store.tag(PLAIN, plain)
    both = {blob.digest: blob.size for blob in (*nested.blobs, *plain.blobs)}
    found = usage(store)
    assert (found.used.count, found.used.bytes, found.total) == (len(both), sum(both.values()), sum(both.values()))
    assert {str(share.model.name): share.own for share in found.models} == {str(NESTED): 6, "plain:latest": 5}
    prune(store.root)
    assert usage(store).used.bytes == sum(both.values())
