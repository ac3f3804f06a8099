"""The collector and its lock: what a model needs stays, what somebody is writing stays, and the rest goes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager

import pytest
from corral.store.digest import Digest
from corral.store.errors import InvalidManifestError
from corral.store.gc import Collected
from corral.store.local import Store
from corral.store.manifest import MODEL, Manifest
from corral.store.name import Name

Stored = Callable[[Store, str], Manifest]

M = Name.parse("m")
HOLDER = """
import sys
from corral.store.local import Store
store = Store(sys.argv[1])
with store.writing():
    blob = store.blobs.put(b"fresh", "m")
    print("holding", flush=True)
    sys.stdin.readline()
"""


@contextmanager
def another_writer(store: Store) -> Generator[subprocess.Popen[bytes]]:
    """Another process in the middle of writing, its blob there and its tag not yet."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, store.root], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == b"holding\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def foreign(store: Store, data: bytes, age: float = 0) -> Digest:
    """A blob that an Ollama on the same store wrote, `age` seconds ago."""
    store.blobs.prepare()
    digest = Digest.of(data)
    store.blobs.path(digest).write_bytes(data)
    then = time.time() - age
    os.utime(store.blobs.path(digest), (then, then))
    return digest


def test_an_absent_store_has_nothing_to_collect(store: Store) -> None:
    assert store.collect() == Collected()
    assert not store.root.exists()


def test_what_a_model_names_stays_and_what_corral_wrote_otherwise_goes(store: Store, stored: Stored) -> None:
    made = stored(store, "hi")
    store.tag(M, made)
    loose = store.blobs.put(b"loose", MODEL).blob
    collected = store.collect()
    assert collected == Collected(blobs=[loose.digest], debris=0, bytes=5)
    store.check_complete(made)
    assert not store.blobs.is_ours(loose.digest)
    assert store.collect() == Collected()


def test_foreign_files_go_only_with_age(store: Store) -> None:
    young, old = foreign(store, b"young"), foreign(store, b"old", age=25 * 3600)
    assert store.collect().blobs == [old]
    assert list(store.blobs) == [young]
    assert store.collect(older_than=0).blobs == [young]


def test_ollamas_downloads_in_progress_go_only_with_age(store: Store) -> None:
    store.blobs.prepare()
    partial = [store.blobs.folder / f"sha256-{'ab' * 32}{end}" for end in ("-partial", "-partial-0", ".tmp")]
    partial += [store.blobs.folder / "sha256-1234567", store.blobs.folder / "readme.txt"]
    for path in partial:
        path.write_bytes(b"x")
    assert store.collect() == Collected()
    for path in partial:
        os.utime(path, (1, 1))
    assert store.collect() == Collected(debris=4, bytes=4)
    assert [path.name for path in store.blobs.folder.iterdir()] == ["readme.txt"]


def test_what_another_process_is_writing_stays_and_the_rest_goes(store: Store) -> None:
    fresh = Digest.of(b"fresh")
    with another_writer(store):
        loose = store.blobs.put(b"loose", "m").blob.digest
        assert store.collect(older_than=0).blobs == [loose]
        assert store.blobs.size(fresh) == 5
        with store.writing():
            store.blobs.put(b"writers do not keep each other out", "m")
    # The kernel has let go of the dead process's lease.
    assert fresh in store.collect().blobs
    assert not list((store.root / ".corral" / "leases").iterdir())


def test_what_a_process_found_to_be_here_stays_too(store: Store) -> None:
    fresh = store.blobs.put(b"fresh", "m").blob
    with another_writer(store):
        assert store.collect(older_than=0) == Collected()
        store.blobs.check(fresh)


def test_a_blob_in_the_making_survives_a_collection(store: Store) -> None:
    with store.writing(), store.blobs.ingest() as ingest:
        ingest.write(b"half")
        assert store.collect(older_than=0) == Collected()
        ingest.write(b"whole")
        written = ingest.commit("m", expected=Digest.of(b"halfwhole"))
        assert written.is_new
        assert store.collect(older_than=0) == Collected()
    assert store.collect().blobs == [written.blob.digest]


def test_a_lease_is_shared_by_threads_and_ends_with_the_last(store: Store) -> None:
    with store.writing():
        first = store.blobs.put(b"first", "m").blob
        with store.writing():
            pass
        assert store.collect() == Collected()
    assert store.collect().blobs == [first.digest]


def test_remove_beside_a_writer_frees_what_nobody_holds(store: Store, stored: Stored) -> None:
    made = stored(store, "hi")
    store.tag(M, made)
    with another_writer(store):
        shared = store.blobs.put(b"fresh", "m").blob
        held = Manifest.build(made.config, [*made.layers, shared])
        store.tag(Name.parse("n"), held)
        store.remove(Name.parse("n"))
        store.check_complete(made)
        store.blobs.check(shared)  # the other one holds it
        store.remove(M)
        assert list(store.blobs) == [shared.digest]
    assert store.collect().blobs == [shared.digest]


def test_a_dry_collection_removes_nothing(store: Store) -> None:
    loose = store.blobs.put(b"loose", "m").blob
    (store.blobs.ingest_folder / "left").write_bytes(b"xyz")
    expected = Collected(blobs=[loose.digest], debris=1, bytes=8)
    assert store.collect(is_dry=True) == expected
    assert store.collect(is_dry=True) == expected
    assert store.collect() == expected
    assert store.collect() == Collected()


def test_a_manifest_that_cannot_be_read_stops_the_collection(store: Store, stored: Stored) -> None:
    made = stored(store, "hi")
    store.tag(M, made)
    store.tag(Name.parse("n/good:x"), made)
    store.blobs.put(b"loose", MODEL)
    before = list(store.blobs)
    path = store.root / "manifests/registry.ollama.ai/library/m/latest"
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(InvalidManifestError) as caught:
        store.collect(older_than=0)
    assert caught.value.identity == "m:latest"
    assert caught.value.hint
    store.remove(Name.parse("n/good:x"))
    assert list(store.blobs) == before
    store.remove(M)
    assert store.collect().blobs == before


def test_what_a_dead_process_left_is_collected(store: Store) -> None:
    with another_writer(store) as writer:
        writer.kill()
        writer.wait()
    (store.blobs.ingest_folder / "0123456789abcdef").write_bytes(b"torn")
    (store.blobs.wrote_folder / f"sha256-{'ab' * 32}").touch()
    assert store.collect() == Collected(blobs=[Digest.of(b"fresh")], debris=1, bytes=9)
    assert list(store.blobs.ingest_folder.iterdir()) == []
    assert list(store.blobs.wrote_folder.iterdir()) == []


def test_a_link_to_weights_elsewhere_is_removed_and_its_target_is_not(store: Store) -> None:
    store.blobs.prepare()
    weights = store.root / "elsewhere"
    weights.write_bytes(b"weights")
    for digest, target in ((Digest.of(b"weights"), weights), (Digest.of(b"gone"), store.root / "gone")):
        store.blobs.path(digest).symlink_to(target)
        os.utime(store.blobs.path(digest), (1, 1), follow_symlinks=False)
    assert len(store.collect().blobs) == 2
    assert weights.read_bytes() == b"weights"
    assert list(store.blobs) == []
