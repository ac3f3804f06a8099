"""Kept: a converted model's original comes back to the byte or not at all, and goes when the model does."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from corral.store.digest import Digest
from corral.store.errors import InvalidManifestError
from corral.store.gc import Collected
from corral.store.kept import MAX_BLOBS, MAX_BYTES, Original
from corral.store.local import Store
from corral.store.manifest import MAX_MANIFEST_BYTES, Manifest
from corral.store.name import Name
from corral.store.usage import Space, usage
from corral.store.verify import verify

Stored = Callable[[Store, str], Manifest]

M = Name.parse("m")
NESTED = Name.parse("ghcr.io/a/b/m")
CONFIG = b'{"config":"foreign"}'
SHA512 = Digest("sha512", hashlib.sha512(b"x").hexdigest())
ORIGINAL = Original(
    "application/vnd.oci.image.manifest.v1+json", b'{"foreign": 1}\n', {Digest.of(CONFIG): CONFIG, SHA512: b"x"}
)
OTHER = Original("application/x", b"{}", {})


@pytest.fixture
def made(store: Store, stored: Stored) -> Manifest:
    """A model that was converted and tagged."""
    with store.writing():
        made = stored(store, "hi")
        store.kept.put(made.digest, ORIGINAL)
        store.tag(M, made)
    return made


def file(store: Store, model: Manifest) -> Path:
    return store.root / ".corral/oci/kept" / model.digest.filename


def test_it_comes_back_to_the_byte(store: Store, made: Manifest) -> None:
    assert store.kept.find(made.digest) == ORIGINAL
    assert Store(store.root).kept.find(made.digest) == ORIGINAL
    assert store.kept.find(Digest.of(b"other")) is None
    assert store.kept.find(SHA512) is None
    assert ORIGINAL.digest == Digest.of(ORIGINAL.raw)


def test_an_older_one_gives_way(store: Store, made: Manifest) -> None:
    store.kept.put(made.digest, OTHER)
    assert store.kept.find(made.digest) == OTHER
    assert list(store.blobs.ingest_folder.iterdir()) == []
    store.kept.forget(made.digest)
    store.kept.forget(made.digest)
    assert store.kept.find(made.digest) is None
    assert list(store.kept) == []


def test_looking_makes_nothing(store: Store) -> None:
    assert store.kept.find(Digest.of(b"x")) is None
    assert list(store.kept) == []
    assert not store.root.exists()


def test_the_largest_that_is_kept(store: Store, made: Manifest) -> None:
    blobs = {Digest.of(data): data for data in (bytes([i]) * 10 for i in range(MAX_BLOBS - 1))}
    large = b"x" * MAX_BYTES
    original = Original("t" * 255, b" " * MAX_MANIFEST_BYTES, {**blobs, Digest.of(large): large})
    store.kept.put(made.digest, original)
    assert store.kept.find(made.digest) == original


@pytest.mark.parametrize(
    "original",
    [
        Original("t" * 256, b"{}", {}),
        Original("t", b" " * (MAX_MANIFEST_BYTES + 1), {}),
        Original("t", b"{}", {Digest.of(b"x" * (MAX_BYTES + 1)): b"x" * (MAX_BYTES + 1)}),
        Original("t", b"{}", {Digest.of(bytes([i])): bytes([i]) for i in range(MAX_BLOBS + 1)}),
    ],
    ids=["type", "manifest", "blob", "blobs"],
)
def test_error_for_one_that_is_too_large(store: Store, made: Manifest, original: Original) -> None:
    with pytest.raises(InvalidManifestError, match="at most"):
        store.kept.put(made.digest, original)
    assert store.kept.find(made.digest) == ORIGINAL


def test_a_damaged_one_is_none_at_every_byte(store: Store, made: Manifest) -> None:
    path = file(store, made)
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        found = store.kept.find(made.digest)
        # The media type is not under any digest.
        assert found is None or (found.raw, found.blobs) == (ORIGINAL.raw, ORIGINAL.blobs)
        path.write_bytes(whole[:place])
        assert store.kept.find(made.digest) is None
    path.write_bytes(whole)
    assert store.kept.find(made.digest) == ORIGINAL


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        b"{}\n",
        b"[" * 100_000,
        b'{"media_type":"t","pieces":[]}\n',
        b'{"media_type":"t","pieces":[{"digest":"sha256:../../x","size":1}]}\nx',
        b'{"media_type":"t","pieces":[{"digest":"sha256:%s","size":-1}]}\n' % (b"a" * 64),
        b'{"media_type":"t","pieces":[{"digest":"sha256:%s","size":%d}]}\n' % (b"a" * 64, 1 << 62),
        b'{"media_type":"t","pieces":[{"digest":"sha256:%s","size":9e99}]}\n' % (b"a" * 64),
        b'{"media_type":"\xff","pieces":[]}\n',
    ],
)
def test_anything_else_is_none(store: Store, made: Manifest, data: bytes) -> None:
    file(store, made).write_bytes(data)
    assert store.kept.find(made.digest) is None
    file(store, made).unlink()
    file(store, made).mkdir()
    assert store.kept.find(made.digest) is None


def test_it_stays_as_long_as_a_tag_has_the_model(store: Store, made: Manifest) -> None:
    store.copy(M, NESTED)
    store.remove(M)
    assert store.collect(older_than=0) == Collected()
    assert store.kept.find(made.digest) == ORIGINAL
    assert verify(store).strays == ()
    store.remove(NESTED)
    assert store.kept.find(made.digest) is None
    assert list(file(store, made).parent.iterdir()) == []


def test_df_counts_it(store: Store, made: Manifest) -> None:
    found = usage(store)
    size = file(store, made).stat().st_size
    assert (found.originals, found.total) == (Space(1, size), size + made.size)


def test_it_goes_when_the_name_gets_another_model(store: Store, stored: Stored, made: Manifest) -> None:
    store.tag(M, stored(store, "other"))
    assert store.kept.find(made.digest) is None


def test_one_of_no_model_is_told_of_and_collected(store: Store, made: Manifest) -> None:
    size = file(store, made).stat().st_size
    store.tags.delete(M)
    assert [stray.note for stray in verify(store).strays if "kept" in stray.path] == [
        "the original of no model; gc removes it"
    ]
    dry = store.collect(is_dry=True)
    assert (dry.originals, dry.bytes) == (1, size + made.size)
    assert store.kept.find(made.digest) == ORIGINAL
    assert store.collect() == dry
    assert store.kept.find(made.digest) is None


def test_one_that_is_put_before_its_tag_is_not_collected(store: Store, stored: Stored) -> None:
    other = Store(store.root)
    with store.writing():
        made = stored(store, "hi")
        store.kept.put(made.digest, ORIGINAL)
        assert other.collect(older_than=0) == Collected()
        store.tag(M, made)
    assert other.collect(older_than=0) == Collected()
    assert other.kept.find(made.digest) == ORIGINAL


CHILD = """
import os, signal, sys
from corral.store.digest import Digest
from corral.store.kept import Original
from corral.store.local import Store

store = Store(sys.argv[1])
steps = 0

def step(event, _):
    global steps
    if event in ("open", "os.rename", "os.remove", "os.mkdir", "fcntl.flock"):
        steps += 1
        if steps == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(step)
with store.writing():
    store.kept.put(Digest.parse(sys.argv[3]), Original("new", b"{}", {Digest.of(b"x"): b"x"}))
print(steps)
"""


def test_a_kill_at_any_step_leaves_the_old_or_the_new(store: Store, made: Manifest) -> None:
    def put(fatal: int) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", CHILD, store.root, str(fatal), str(made.digest)]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=os.environ)

    whole = put(0)
    new = store.kept.find(made.digest)
    assert new
    assert new.media_type == "new"
    store.kept.put(made.digest, ORIGINAL)
    found: list[Original | None] = []
    for fatal in range(1, int(whole.stdout) + 1):
        assert put(fatal).returncode == -signal.SIGKILL
        found.append(store.kept.find(made.digest))
        store.collect()
        assert list(store.blobs.ingest_folder.iterdir()) == []
    assert set(map(str, found)) == {str(ORIGINAL), str(new)}


def test_a_store_below_has_originals_too(store: Store, made: Manifest, tmp_path: Path) -> None:
    upper = Store(tmp_path / "upper", [store.root])
    assert upper.kept.find(made.digest) == ORIGINAL
    assert list(upper.kept) == []
    upper.copy(M, NESTED)
    assert upper.collect() == Collected()
    upper.remove(NESTED)
    assert store.kept.find(made.digest) == ORIGINAL
