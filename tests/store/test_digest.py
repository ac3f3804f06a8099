"""Digest: only well-formed text becomes one, and so only well-formed text becomes a path."""

from __future__ import annotations

import hashlib

import pytest
from corral.store.digest import Digest
from corral.store.errors import InvalidDigestError
from corral.store.local import Store

HEX = hashlib.sha256(b"hello").hexdigest()

HOSTILE = [
    "",
    "sha256",
    "sha256:",
    HEX,
    f"sha256:{HEX[:-1]}",
    f"sha256:{HEX}0",
    f"sha256:{HEX.upper()}",
    f"SHA256:{HEX}",
    f"sha256:{HEX}\n",
    f" sha256:{HEX}",
    f"sha256-{HEX}",
    f"sha256::{HEX}",
    f"sha512:{HEX}",
    f"md5:{HEX[:32]}",
    "sha256:../../../../../../../etc/passwd",
    "sha256:" + "../" * 21 + "a",
    "sha256:" + "٣" * 64,
    f"sha256:{HEX[:-1]}\0",
    "sha256:" + "g" * 64,
    ":" + HEX,
]


def test_text_of_bytes_and_filename_agree() -> None:
    digest = Digest.of(b"hello")
    assert str(digest) == f"sha256:{HEX}"
    assert digest.filename == f"sha256-{HEX}"
    assert digest.short == HEX[:12]
    assert Digest.parse(str(digest)) == Digest.from_filename(digest.filename) == digest


def test_sha512_is_a_digest_but_has_no_place_in_ollamas_layout(store: Store) -> None:
    digest = Digest.parse("sha512:" + hashlib.sha512(b"hello").hexdigest())
    with pytest.raises(InvalidDigestError):
        store.blobs.path(digest)


@pytest.mark.parametrize("text", HOSTILE)
def test_error_for_what_is_no_digest(text: str) -> None:
    with pytest.raises(InvalidDigestError) as caught:
        Digest.parse(text)
    assert caught.value.hint
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("text", [f"sha256:{HEX}", f"sha256-{HEX}-partial", f"sha256-{HEX}-partial-0", "sha256-123"])
def test_error_for_a_filename_that_is_no_blobs(text: str) -> None:
    with pytest.raises(InvalidDigestError):
        Digest.from_filename(text)


def test_error_for_a_digest_put_together_by_hand() -> None:
    with pytest.raises(InvalidDigestError):
        Digest("sha256", "../x")


def test_a_blobs_path_is_in_the_blobs_folder(store: Store) -> None:
    assert store.blobs.path(Digest.of(b"hello")).parent == store.blobs.folder
