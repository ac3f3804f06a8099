"""How local files are taken in: hashed once, shared or linked rather than copied, and remembered while they do not change."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import time
import warnings
from collections.abc import Generator
from pathlib import Path

import pytest
from corral.store.digest import Digest
from corral.store.errors import FileError, InputError, MachineError, MismatchError
from corral.store.local import Store

DATA = os.urandom(5 << 20)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A file that has stood for a while."""
    path = tmp_path / "weights"
    path.write_bytes(DATA)
    age(path)
    return path


def age(path: Path) -> None:
    """Let the clock go on, so that what is done to the file from now on shows in its times."""
    time.sleep(max(0.0, path.stat().st_ctime + 0.15 - time.time()))


@pytest.fixture
def mounted(tmp_path: Path) -> Generator[Path]:
    """A file system that can share blocks: XFS in a file."""
    image, folder = tmp_path / "image", tmp_path / "xfs"
    folder.mkdir()
    with image.open("wb") as file:
        file.truncate(320 << 20)
    try:
        subprocess.run(["mkfs.xfs", "-q", "-m", "reflink=1", image], check=True, capture_output=True)
        subprocess.run(["mount", "-o", "loop", image, folder], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as cause:
        why = getattr(cause, "stderr", b"") or str(cause)
        warnings.warn(f"REFLINKS WERE NOT TESTED: an XFS image cannot be mounted here: {why!r}", stacklevel=1)
        pytest.skip("an XFS image cannot be mounted here")
    yield folder
    subprocess.run(["umount", folder], check=True)


def used(folder: Path) -> int:
    """Bytes in use on a file system."""
    os.sync()
    return shutil.disk_usage(folder).used


def test_blocks_are_shared_where_the_file_system_can(mounted: Path) -> None:
    source = mounted / "weights"
    source.write_bytes(DATA * 8)
    Store(mounted / "models").blobs.prepare()
    before = used(mounted)
    written = Store(mounted / "models").blobs.adopt(source, "m")
    assert used(mounted) - before < 1 << 20
    assert written.blob.digest == Digest.of(DATA * 8)
    path = Store(mounted / "models").blobs.path(written.blob.digest)
    assert path.stat().st_ino != source.stat().st_ino
    # What happens to the file is nothing to the blob.
    with source.open("r+b") as file:
        file.write(b"edited")
    assert Digest.of(path.read_bytes()) == written.blob.digest


def test_a_link_is_the_very_file(store: Store, source: Path) -> None:
    source.chmod(0o640)
    before = source.stat()
    written = store.blobs.adopt(source, "m", links=True)
    assert written.is_new
    assert written.blob.digest == Digest.of(DATA)
    after = source.stat()
    assert store.blobs.path(written.blob.digest).stat().st_ino == after.st_ino
    assert (after.st_mode, after.st_mtime_ns, after.st_uid) == (before.st_mode, before.st_mtime_ns, before.st_uid)
    store.blobs.check(written.blob)
    assert not store.blobs.adopt(source, "m", links=True).is_new
    assert source.stat().st_mtime_ns == before.st_mtime_ns


def test_a_linked_file_that_was_edited_is_reported_and_not_relied_on(store: Store, source: Path) -> None:
    blob = store.blobs.adopt(source, "m", links=True).blob
    age(source)
    with source.open("r+b") as file:
        file.write(b"edited in place")
    with pytest.raises(MismatchError) as caught:
        store.blobs.check(blob)
    assert "edited" in (caught.value.hint or "")
    assert not store.blobs.is_sound(blob)
    # The right content again, from elsewhere, replaces the link.
    other = source.with_name("other")
    other.write_bytes(DATA)
    assert store.blobs.adopt(other, "m").is_new
    store.blobs.check(blob)
    assert store.blobs.path(blob.digest).stat().st_ino != source.stat().st_ino


def test_a_link_that_was_only_touched_is_still_good(store: Store, source: Path) -> None:
    blob = store.blobs.adopt(source, "m", links=True).blob
    os.link(source, source.with_name("third"))
    store.blobs.check(blob)
    source.unlink()
    store.blobs.check(blob)
    assert store.blobs.is_sound(blob)
    assert store.blobs.links.has(blob.digest)


def test_a_link_that_another_writer_came_before_is_a_blob_like_others(store: Store, source: Path) -> None:
    """As when a process that links is killed while another writes the same blob."""
    blob = store.blobs.adopt(source, "m", links=True).blob
    path = store.blobs.path(blob.digest)
    path.unlink()
    path.write_bytes(DATA)
    store.blobs.check(blob)
    assert store.blobs.is_sound(blob)


def test_removing_a_linked_blob_leaves_the_file(store: Store, source: Path) -> None:
    blob = store.blobs.adopt(source, "m", links=True).blob
    assert store.collect().blobs == [blob.digest]
    assert source.read_bytes() == DATA
    assert not store.blobs.links.has(blob.digest)


def test_a_link_across_file_systems_is_a_copy(store: Store) -> None:
    shared = Path("/dev/shm")
    if not shared.is_dir() or shared.stat().st_dev == store.root.parent.stat().st_dev:
        pytest.skip("there is no second file system here")
    source = shared / f"corral-test-{os.getpid()}"
    source.write_bytes(b"far away")
    try:
        written = store.blobs.adopt(source, "m", links=True)
        assert written.is_new
        assert store.blobs.path(written.blob.digest).stat().st_ino != source.stat().st_ino
    finally:
        source.unlink()


def test_an_unchanged_file_is_not_read_again(store: Store, source: Path) -> None:
    heard: list[int] = []
    blob = store.blobs.adopt(source, "m", heard.append).blob
    assert heard
    heard.clear()
    assert store.blobs.adopt(source, "m", heard.append) == (blob, False)
    assert heard == []
    assert store.blobs.adopt(source, "m", heard.append, is_cached=False) == (blob, False)
    assert heard
    # Another process knows it too, and a removed blob is written again.
    store.collect()
    assert Store(store.root).blobs.adopt(source, "m").is_new


@pytest.mark.parametrize("keeps_times", [False, True])
def test_a_changed_file_is_hashed_again(store: Store, source: Path, *, keeps_times: bool) -> None:
    first = store.blobs.adopt(source, "m").blob
    before = source.stat()
    age(source)
    with source.open("r+b") as file:
        file.write(b"X")
    if keeps_times:  # as some tools do; the inode's own time cannot be set back
        os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert store.blobs.adopt(source, "m").blob.digest != first.digest


def test_a_file_that_has_just_changed_is_not_remembered(store: Store, tmp_path: Path) -> None:
    source = tmp_path / "fresh"
    for i in range(20):  # within a tick of the clock nothing but the content may differ
        data = f"{i:05}".encode()
        source.write_bytes(data)
        assert store.blobs.adopt(source, "m").blob.digest == Digest.of(data)


def test_damaged_memories_are_forgotten(store: Store, source: Path) -> None:
    blob = store.blobs.adopt(source, "m").blob
    (memory,) = (store.root / ".corral" / "stamps").iterdir()
    for text in ("", "x", "1 2 3 sha256:00", memory.read_text()[:-20], "9" * 5000):
        memory.write_text(text)
        assert store.blobs.adopt(source, "m").blob == blob


def test_error_for_a_file_that_changes_while_it_is_read(store: Store, source: Path) -> None:
    def edit(_: int) -> None:
        with source.open("ab") as file:
            file.write(b"more")

    with pytest.raises(InputError, match="changed while it was read"):
        store.blobs.adopt(source, "m", edit)
    assert store.tags.models() == ([], [])


RACER = """
import sys
from pathlib import Path
from corral.store.local import Store
store = Store(sys.argv[1])
sys.stdin.readline()
with store.writing():
    print(store.blobs.adopt(Path(sys.argv[2]), "m").is_new)
"""


def test_processes_that_want_one_file_hash_it_once(store: Store, source: Path) -> None:
    store.blobs.prepare()
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, store.root, source], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    said = [racer.communicate("go\n", timeout=60)[0].strip() for racer in racers]
    assert sorted(said) == ["False", "False", "False", "True"]
    assert list(store.blobs) == [Digest.of(DATA)]
    assert list((store.root / ".corral" / "busy").iterdir()) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Generator[Path]:
    folder = tmp_path / "small"
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder], check=False, capture_output=True)
    if done.returncode:
        warnings.warn(f"A FULL DISK WAS NOT TESTED: tmpfs cannot be mounted here: {done.stderr!r}", stacklevel=1)
        pytest.skip("tmpfs cannot be mounted here")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk_is_one_error_and_no_debris(small_disk: Path, source: Path) -> None:
    store = Store(small_disk / "models")
    with pytest.raises(MachineError, match=r"bytes to write, \d+ free") as caught:
        store.blobs.adopt(source, "m")
    assert caught.value.hint
    with store.blobs.ingest() as ingest, pytest.raises(FileError) as full:
        ingest.write(DATA)
    assert full.value.errno == errno.ENOSPC
    assert list(store.blobs.ingest_folder.iterdir()) == []
    assert list(store.blobs) == []
    assert store.blobs.put(b"small", "m").is_new


def test_a_read_only_disk_is_one_error(small_disk: Path) -> None:
    Store(small_disk / "models").blobs.put(b"before", "m")
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    store = Store(small_disk / "models")
    with pytest.raises(FileError) as caught:
        store.blobs.put(b"after", "m")
    assert caught.value.errno == errno.EROFS
    assert [Digest.of(b"before")] == list(store.blobs)


def test_a_folder_that_vanishes_is_one_error(store: Store) -> None:
    with store.blobs.ingest() as ingest:
        ingest.write(b"x")
        shutil.rmtree(store.root)
        with pytest.raises(FileError):
            ingest.commit("m")


def test_a_groups_rights_are_kept(tmp_path: Path) -> None:
    root = tmp_path / "shared"
    root.mkdir()
    root.chmod(0o2775)
    before = os.umask(0o077)
    try:
        store = Store(root)
        with store.writing():
            blob = store.blobs.put(b"shared", "m").blob
    finally:
        os.umask(before)
    for path in (store.blobs.folder, store.blobs.ingest_folder, store.blobs.wrote_folder):
        assert path.stat().st_mode & 0o2770 == 0o2770, path
    for path in (store.blobs.path(blob.digest), store.blobs.lock_file):
        assert path.stat().st_mode & 0o060 == 0o060, path
    private = Store(tmp_path / "private")
    private.blobs.put(b"own", "m")
    assert private.blobs.lock_file.stat().st_mode & 0o020 == 0
