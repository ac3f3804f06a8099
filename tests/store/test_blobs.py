"""Blobs: one write path, on which nothing unverified gets a final name."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from corral.store.blobs import BlobStore
from corral.store.digest import Digest
from corral.store.errors import BlobNotFoundError, FileError, InputError, IntegrityError, MismatchError, StoreError
from corral.store.local import Store
from corral.store.manifest import Descriptor


def files(store: Store) -> set[str]:
    return {str(path.relative_to(store.root)) for path in store.root.rglob("*") if path.is_file()}


def test_opening_and_reading_a_store_creates_nothing(store: Store) -> None:
    digest = Digest.of(b"x")
    assert store.blobs.size(digest) is None
    assert not store.blobs.has(Descriptor("m", digest, 1))
    assert list(store.blobs) == []
    assert store.tags.models() == ([], [])
    with pytest.raises(BlobNotFoundError):
        store.blobs.open(digest)
    assert not store.root.exists()


def test_put_stores_the_bytes_under_their_digest(store: Store) -> None:
    written = store.blobs.put(b"hello", "text/plain")
    assert written == (Descriptor("text/plain", Digest.of(b"hello"), 5), True)
    assert store.blobs.path(written.blob.digest).read_bytes() == b"hello"
    assert store.blobs.read(written.blob, 5) == b"hello"
    assert list(store.blobs) == [written.blob.digest]
    assert list(store.blobs.ingest_folder.iterdir()) == []


def test_put_leaves_a_blob_that_is_there_alone_but_renews_its_time(store: Store) -> None:
    first = store.blobs.put(b"hello", "m")
    path = store.blobs.path(first.blob.digest)
    os.utime(path, (1, 1))
    inode = path.stat().st_ino
    assert store.blobs.put(b"hello", "m") == (first.blob, False)
    assert path.stat().st_ino == inode
    assert path.stat().st_mtime > 1


def test_a_blob_in_pieces_is_the_same_blob(store: Store) -> None:
    with store.blobs.ingest() as ingest:
        for piece in (b"he", b"", memoryview(b"llo")):
            ingest.write(piece)
        assert ingest.size == 5
        assert list(store.blobs) == []
        written = ingest.commit("m", expected=Digest.of(b"hello"), size=5)
    assert written == (Descriptor("m", Digest.of(b"hello"), 5), True)


@pytest.mark.parametrize(
    ("expected", "size"), [(Digest.of(b"hellO"), 5), (Digest.of(b"hello"), 4), (Digest.of(b"hello"), 6), (None, 4)]
)
def test_error_for_a_mismatch_leaves_no_file(store: Store, expected: Digest | None, size: int) -> None:
    store.blobs.prepare()
    with store.blobs.ingest() as ingest:
        ingest.write(b"hello")
        with pytest.raises(IntegrityError, match=r"expected .*, got "):
            ingest.commit("m", expected=expected, size=size)
    assert files(store) <= {".corral/lock"}


def test_error_while_writing_leaves_no_file(store: Store) -> None:
    def interrupted() -> None:
        with store.blobs.ingest() as ingest:
            ingest.write(b"hello")
            raise KeyboardInterrupt

    store.blobs.prepare()
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert files(store) <= {".corral/lock"}


def test_adopt_copies_a_file_and_tells_how_far_it_is(store: Store, tmp_path: Path) -> None:
    data = os.urandom(3 << 20)
    source = tmp_path / "weights"
    source.write_bytes(data)
    heard: list[int] = []
    written = store.blobs.adopt(source, "m", heard.append)
    assert written == (Descriptor("m", Digest.of(data), len(data)), True)
    assert heard == sorted(heard)
    assert heard[-1] == len(data)
    assert source.read_bytes() == data
    assert store.blobs.adopt(source, "m").is_new is False


def test_adopt_of_a_blob_of_this_store_copies_nothing(store: Store) -> None:
    written = store.blobs.put(b"hello", "m")
    path = store.blobs.path(written.blob.digest)
    inode = path.stat().st_ino
    assert store.blobs.adopt(path, "n") == (Descriptor("n", written.blob.digest, 5), False)
    assert path.stat().st_ino == inode
    path.write_bytes(b"hellO")
    with pytest.raises(MismatchError):
        store.blobs.adopt(path, "n")


def test_error_adopting_what_is_no_file(store: Store, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for source in (pipe, Path("/dev/zero")):
        with pytest.raises(InputError, match="not a regular file"):
            store.blobs.adopt(source, "m")
    for source in (tmp_path, tmp_path / "missing"):
        with pytest.raises(FileError):
            store.blobs.adopt(source, "m")
    assert files(store) <= {".corral/lock"}


def test_error_reading_a_blob_that_was_changed(store: Store) -> None:
    blob = store.blobs.put(b"hello", "m").blob
    store.blobs.path(blob.digest).write_bytes(b"hellO")
    with pytest.raises(MismatchError):
        store.blobs.read(blob, 100)
    store.blobs.path(blob.digest).write_bytes(b"hello, world")
    with pytest.raises(MismatchError):
        store.blobs.read(blob, 100)
    assert not store.blobs.has(blob)


def test_a_changed_small_blob_is_mended_by_putting_it_again(store: Store) -> None:
    blob = store.blobs.put(b"hello", "m").blob
    store.blobs.path(blob.digest).write_bytes(b"hellO")
    assert store.blobs.put(b"hello", "m").is_new
    assert store.blobs.read(blob, 100) == b"hello"


def test_error_for_a_damaged_blob_says_what_helps_and_it_does(store: Store) -> None:
    data = os.urandom(9 << 20)
    blob = store.blobs.put(data, "m").blob
    path = store.blobs.path(blob.digest)
    assert b"".join(store.blobs.verified(blob)) == data
    path.write_bytes(bytes(len(data)))
    seen: list[bytes] = []
    with pytest.raises(MismatchError) as caught:
        seen.extend(store.blobs.verified(blob))
    assert (caught.value.expected, caught.value.got) == (str(blob.digest), str(Digest.of(bytes(len(data)))))
    assert b"".join(seen) == bytes(8 << 20)  # the last piece was held back
    # A large blob of the right size is trusted, so the hint does not promise that writing it again would mend it.
    assert store.blobs.is_sound(blob)
    assert f"delete blobs/{path.name} in the store, and pull or create the model again" in (caught.value.hint or "")
    path.unlink()
    assert store.blobs.put(data, "m").is_new
    assert b"".join(store.blobs.verified(blob)) == data


def test_a_damaged_small_file_is_mended_by_adopting_it_again(store: Store, tmp_path: Path) -> None:
    source = tmp_path / "small"
    source.write_bytes(b"hello")
    blob = store.blobs.adopt(source, "m").blob
    store.blobs.path(blob.digest).write_bytes(b"hellO")
    assert not store.blobs.is_sound(blob)
    assert store.blobs.adopt(source, "m").is_new
    assert b"".join(store.blobs.verified(blob)) == b"hello"


def test_error_for_a_blob_cut_short_is_not_that_it_is_missing(store: Store) -> None:
    blob = store.blobs.put(b"hello", "m").blob
    os.truncate(store.blobs.path(blob.digest), 3)
    with pytest.raises(MismatchError, match="expected 5 bytes, got 3 bytes") as caught:
        store.blobs.check(blob)
    assert caught.value.hint == "pull or create the model again"
    store.blobs.path(blob.digest).unlink()
    with pytest.raises(BlobNotFoundError, match="not in the store"):
        store.blobs.check(blob)


def test_error_reading_a_blob_larger_than_wanted(store: Store) -> None:
    blob = store.blobs.put(b"hello", "m").blob
    with pytest.raises(MismatchError, match="at most 4 bytes"):
        store.blobs.read(blob, 4)


def test_a_folder_or_a_loop_of_links_in_a_blobs_place_is_an_error_of_ours(store: Store) -> None:
    store.blobs.prepare()
    folder, loop = Digest.of(b"folder"), Digest.of(b"loop")
    store.blobs.path(folder).mkdir()
    store.blobs.path(loop).symlink_to(store.blobs.path(loop).name)
    for digest in (folder, loop):
        with pytest.raises(StoreError):
            store.blobs.open(digest)
    with pytest.raises(StoreError):
        store.blobs.size(loop)


WRITER = """
import sys
from pathlib import Path
from corral.store.blobs import BlobStore
blobs = BlobStore(Path(sys.argv[1]))
sys.stdin.readline()
for number in range(60):
    blobs.put(f"{number}".encode() * 5000, "m")
"""


def test_two_processes_writing_the_same_blobs_both_succeed(store: Store) -> None:
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, store.root], stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write(b"\n")
        writer.stdin.flush()
    for writer in writers:
        assert writer.communicate(timeout=60)[1] == b""
        assert writer.returncode == 0
    blobs = BlobStore(store.root)
    assert {blob.hex for blob in blobs} == {Digest.of(f"{number}".encode() * 5000).hex for number in range(60)}
    for digest in blobs:
        assert Digest.of(blobs.path(digest).read_bytes()) == digest
    assert list(blobs.ingest_folder.iterdir()) == []


@pytest.mark.parametrize("root", ["/dev/null", "file", "file/models", "folder-as-file"])
def test_error_opening_a_store_that_is_no_folder(tmp_path: Path, root: str) -> None:
    (tmp_path / "file").write_text("not a folder")
    (tmp_path / "folder-as-file").mkdir()
    (tmp_path / "folder-as-file" / ".corral").write_text("not a folder")
    with pytest.raises(StoreError) as caught:
        Store(tmp_path / root)
    assert str(caught.value) == f"{tmp_path / root}: cannot open the store: Not a directory"
    assert caught.value.hint == "OLLAMA_MODELS must name a folder"


def test_error_for_a_store_that_cannot_be_written(store: Store) -> None:
    store.root.mkdir()
    (store.root / "blobs").write_text("not a folder")
    with pytest.raises(StoreError, match="cannot write to the store"):
        store.blobs.put(b"x", "m")
    with pytest.raises(StoreError), store.writing():
        pass
    assert store.tags.models() == ([], [])
    assert list(store.blobs) == []


def test_error_for_a_store_of_a_later_format(store: Store) -> None:
    from corral.store.errors import MachineError

    store.blobs.prepare()
    for text in (b"2\n", b"\xff\xfe"):
        (store.root / ".corral" / "format").write_bytes(text)
        with pytest.raises(MachineError, match="store format"):
            Store(store.root)
