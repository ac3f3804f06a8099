"""Xet transfers, by the library that does them: bytes come in chunks past huggingface_hub's client, and are checked here."""

from __future__ import annotations

import os

from tests.registry.hub.conftest import Puller
from tests.registry.hub.double import Hub, sha256

WEIGHTS = "parrot-Q4_K_M.gguf"
XET = "0"
"""HF_HUB_DISABLE_XET."""


def test_files_come_in_chunks(puller: Puller, hub: Hub) -> None:
    hub.xet = True
    hub.files[WEIGHTS] += os.urandom(300_000)
    plain = puller.ok()
    puller.cli.ok("rm", "hf.co/crew/parrot")
    hub.seen.clear()
    assert puller.ok(HF_HUB_DISABLE_XET=XET, HF_TOKEN="hf_s3cret") == plain
    content = sha256(hub.files[WEIGHTS])
    assert f"blobs/sha256-{content}" in puller.contents()
    assert f"/xorb/{content}" in {seen.path for seen in hub.seen}
    assert not [seen for seen in hub.seen if "Signature" in seen.path]
    assert "Bearer hf_s3cret" not in {seen.headers.get("authorization") for seen in hub.seen if seen.host == "cdn"}


def test_error_other_bytes_in_a_chunk(puller: Puller, hub: Hub) -> None:
    hub.xet = True
    hub.content = lambda path, data: data[:-1] + b"\xff" if path == WEIGHTS else data
    said = puller.error(3, HF_HUB_DISABLE_XET=XET)
    assert f"{WEIGHTS}: expected sha256:{sha256(hub.files[WEIGHTS])}, got sha256:" in said


def test_error_chunks_that_are_not_there(puller: Puller, hub: Hub) -> None:
    hub.xet = True
    hub.content = lambda path, data: data[:-1] if path == WEIGHTS else data
    puller.error(4, HF_HUB_DISABLE_XET=XET)
