"""Partial: what has come of a blob outlives the process that fetched it, and counts only as far as it can be relied on."""

from __future__ import annotations

import hashlib
import itertools
import os
import random
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
from corral.store import partial
from corral.store.digest import Digest
from corral.store.errors import MachineError, MismatchError
from corral.store.local import Store
from corral.store.manifest import MODEL, Descriptor
from corral.store.partial import Partial, received

DATA = random.Random(3).randbytes(300_000)
BLOB = Descriptor(MODEL, Digest("sha256", hashlib.sha256(DATA).hexdigest()), len(DATA))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "models")


@contextmanager
def begun(store: Store, blob: Descriptor = BLOB) -> Generator[Partial]:
    """A process at work on it, until it is killed at the end of the block."""
    store.blobs.prepare()
    one = Partial(store.blobs, blob)
    try:
        one.reserve()
        yield one
    finally:
        one.close()


def bring(one: Partial, start: int, stop: int) -> None:
    one.write(DATA[start:stop], start)
    one.done.add(start, stop)
    one.record(start, stop)


def journal(store: Store) -> Path:
    return store.blobs.partial_folder / f"{BLOB.digest.filename}.journal"


def test_pieces_in_any_order_make_the_blob(store: Store) -> None:
    with begun(store) as one:
        cuts = [0, 100_000, 100_001, 250_000, len(DATA)]
        for start, stop in reversed(list(itertools.pairwise(cuts))):
            bring(one, start, stop)
        one.follow(one.done.frontier)
        one.commit()
    assert store.blobs.path(BLOB.digest).read_bytes() == DATA
    assert list(store.blobs.partial_folder.iterdir()) == []
    assert store.blobs.is_ours(BLOB.digest)


def test_what_has_come_is_there_for_the_next(store: Store) -> None:
    with begun(store) as one:
        bring(one, 0, 1000)
        bring(one, 5000, 9000)
    assert received(store.blobs, BLOB) == 5000
    with begun(store) as one:
        assert list(one.done) == [(0, 1000), (5000, 9000)]
        bring(one, 1000, 5000)
    with begun(store) as one:
        assert list(one.done) == [(0, 9000)]
        bring(one, 9000, len(DATA))
        one.follow(one.done.frontier)
        one.commit()
    assert store.blobs.path(BLOB.digest).read_bytes() == DATA


def test_error_other_bytes_get_no_name(store: Store) -> None:
    with begun(store) as one:
        bring(one, 0, len(DATA))
        one.write(b"!", 7)
        one.follow(len(DATA))
        with pytest.raises(MismatchError, match=f"expected {BLOB.digest}, got sha256:"):
            one.commit()
        assert not store.blobs.path(BLOB.digest).exists()
        one.begin_again()
        assert list(one.done) == []
        bring(one, 0, len(DATA))
        one.follow(len(DATA))
        one.commit()
    assert store.blobs.path(BLOB.digest).read_bytes() == DATA


def test_error_too_few_bytes_get_no_name(store: Store) -> None:
    with begun(store) as one:
        bring(one, 0, 1000)
        one.follow(1000)
        with pytest.raises(MismatchError):
            one.commit()


def test_a_torn_line_and_nonsense_in_the_journal_count_for_nothing(store: Store) -> None:
    with begun(store) as one:
        bring(one, 0, 1000)
    boot = journal(store).read_bytes().split(b"\n")[0]
    lines = [
        boot,
        b"0 1000",
        b"-5 9",
        b"7 3",
        b"x y",
        b"1 2 3",
        b"",
        b"0 999999999999",
        b"2000 " + b"9" * 30,
        b"2000 30",
    ]
    journal(store).write_bytes(b"\n".join(lines))
    with begun(store) as one:
        assert list(one.done) == [(0, 1000)]


def test_after_a_crash_of_the_machine_only_what_was_synced_counts(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partial, "_SYNC_EVERY", 0.0)
    with begun(store) as one:
        bring(one, 0, 1000)
        one.follow(1000)  # and syncs
        bring(one, 1000, 2000)
    text = journal(store).read_text()
    boot = text.splitlines()[0]
    journal(store).write_text(text.replace(boot, f"boot {boot[:4:-1]}"))
    with begun(store) as one:
        assert list(one.done) == [(0, 1000)]
    with begun(store) as one:  # which holds for whoever comes next, too
        assert list(one.done) == [(0, 1000)]


def test_a_file_of_another_size_counts_for_nothing(store: Store) -> None:
    with begun(store) as one:
        bring(one, 0, 1000)
    os.truncate(store.blobs.partial_folder / BLOB.digest.filename, 500)
    with begun(store) as one:
        assert list(one.done) == []


def test_error_more_than_the_disk_has(store: Store) -> None:
    huge = Descriptor(MODEL, BLOB.digest, 1 << 60)
    store.blobs.prepare()
    one = Partial(store.blobs, huge)
    with pytest.raises(MachineError, match=f"{1 << 60} bytes to write"):
        one.reserve()
    one.close()
    assert (store.blobs.partial_folder / BLOB.digest.filename).stat().st_blocks == 0


def test_gc_leaves_what_is_being_fetched_and_takes_what_was_given_up(store: Store) -> None:
    with begun(store) as one:
        bring(one, 0, 1000)
        with store.blobs.once(BLOB.digest):
            store.collect(older_than=0)
            assert received(store.blobs, BLOB) == 1000
    store.collect()
    assert received(store.blobs, BLOB) == 1000
    old = time.time() - 100_000
    for path in store.blobs.partial_folder.iterdir():
        os.utime(path, (old, old))
    store.collect()
    assert list(store.blobs.partial_folder.iterdir()) == []
