"""Manifests, digests and names come from strangers: whatever they are, there is a value or one of our errors, and no path."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import pytest
from corral.store.digest import Digest
from corral.store.errors import CorralError, InvalidDigestError, InvalidManifestError, InvalidNameError
from corral.store.local import Store
from corral.store.manifest import CONFIG_TYPE, MODEL, Descriptor, Manifest
from corral.store.name import Name
from hypothesis import example, given
from hypothesis import strategies as st

from tests.property.conftest import CHECKED

COUNT = 100_000 if os.environ.get("CORRAL_SOAK") else 10_000
BLOB = Descriptor(MODEL, Digest.of(b"x"), 1)
SOUND = Manifest.build(Descriptor(CONFIG_TYPE, Digest.of(b"{}"), 2), [BLOB, BLOB]).raw
PIECES = [
    *(
        b"../../etc/passwd",
        b"sha256:",
        b"sha512:",
        b"-1",
        b"1e999",
        b"9" * 400,
        b"null",
        b"[",
        b"{",
        b'"',
        b"\\ud800",
        b"\x00",
    ),
    *(b'"digest":', b'"layers":[]', b'"size":true', b'"schemaVersion":1', b"\xff", b"[" * 5000),
]


def mutated(rng: random.Random) -> bytes:
    data = bytearray(SOUND)
    for _ in range(rng.randrange(1, 5)):
        start = rng.randrange(len(data) + 1)
        end = min(len(data), start + rng.randrange(40))
        data[start:end] = rng.choice([b"", data[start:end] * 2, rng.choice(PIECES), rng.randbytes(end - start)])
    return bytes(data)


def parsed(data: bytes) -> Manifest | None:
    try:
        return Manifest.parse(data, "m")
    except InvalidManifestError:
        return None


@pytest.mark.soak
def test_any_bytes_are_a_manifest_or_refused_soon(tmp_path: Path) -> None:
    rng = random.Random(20261121)
    store = Store(tmp_path / "models")
    accepted = 0
    for _ in range(COUNT):
        data = mutated(rng)
        started = time.process_time()
        made = parsed(data)
        accepted += made is not None
        for blob in made.blobs if made else ():
            if blob.digest.algorithm == "sha256":
                assert store.blobs.path(blob.digest).parent == store.blobs.folder
        assert time.process_time() - started < 1.0, data
    assert accepted
    assert not store.root.exists()


@CHECKED
@given(st.one_of(st.text(max_size=100), st.text("sha256:-./0123456789abcdefABCDEF", max_size=80)))
@example("sha256:" + "a" * 63 + "\n")
@example("sha256-../../../etc/passwd")
@example("sha256:" + "a" * 64 + "/../x")
def test_a_digest_is_its_own_file_or_none(text: str) -> None:
    for read in (Digest.parse, Digest.from_filename):
        try:
            digest = read(text)
        except InvalidDigestError:
            continue
        assert Path(digest.filename).name == digest.filename
        assert digest.filename.isascii()


@CHECKED
@given(st.one_of(st.text(max_size=100), st.text("ab/:.@-_~\\%", max_size=40)))
@example("../../../etc/passwd")
@example("a/../b")
@example("http://../x/y")
@example("a:..")
def test_a_name_stays_below_the_manifests(text: str) -> None:
    try:
        name = Name.parse(text)
    except InvalidNameError:
        return
    for part in name.parts:
        assert Path(part).name == part
        assert part not in (".", "..")


def test_no_command_of_the_store_leaves_it(tmp_path: Path) -> None:
    store = Store(tmp_path / "models")
    (tmp_path / "outside").write_text("precious")
    for text in ("../outside", "../../outside", "/etc/passwd", "a/../../outside", "%2e%2e/outside"):
        for act in (store.find, store.remove, store.tags.read):
            with pytest.raises(CorralError):
                act(Name.parse(text))
    assert (tmp_path / "outside").read_text() == "precious"
