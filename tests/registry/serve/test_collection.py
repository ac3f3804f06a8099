"""The collector and the registry: what repositories need stays, whatever Ollama prunes; what nothing names goes with age."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from corral import Store
from tests.registry.serve.conftest import Serving
from tests.registry.serve.documents import BLOB, CONFIG, INDEX, MANIFEST, digest, image, index, pushed, put, upload
from tests.registry.serve.table import Step, held, row

D, M = digest(BLOB), digest(image())
DAY = 24 * 3600.0


def hold(own: Serving, *steps: object) -> None:
    assert held(row("crew", *steps), own.host) == ""  # pyright: ignore[reportArgumentType]


def has(own: Serving, what: str) -> bool:
    return own.wire.ask("HEAD", f"/v2/rows/crew/{what}", b"", {"Accept": f"{MANIFEST}, {INDEX}"}).status == 200


def blob_files(own: Serving) -> set[str]:
    """The blobs whose bytes are in the store, under any name."""
    folders = (own.models / "blobs", own.models / ".corral" / "oci" / "blobs")
    return {path.name.replace("-", ":") for folder in folders if folder.is_dir() for path in folder.iterdir()}


def age(own: Serving, seconds: float) -> None:
    """Let all that clients gave be so old."""
    then = time.time() - seconds
    for folder in (own.models / "blobs", own.models / ".corral" / "oci"):
        for path in folder.rglob("*"):
            if path.is_file():
                os.utime(path, (then, then))


def collect(own: Serving, **how: Any) -> None:
    Store(own.models).collect(**how)


def prune_like_ollama(own: Serving) -> None:
    """Remove the blobs that no manifest of Ollama's names."""
    for path in (own.models / "blobs").iterdir():
        path.unlink()


def test_what_a_manifest_names_stays(own: Serving) -> None:
    hold(own, pushed("v1"))
    age(own, 30 * DAY)
    collect(own, older_than=0)
    assert has(own, f"blobs/{D}")
    assert has(own, "manifests/v1")
    assert blob_files(own) == {D, digest(CONFIG)}


def test_what_a_manifest_without_a_tag_names_stays(own: Serving) -> None:
    hold(own, pushed(M))
    age(own, 30 * DAY)
    collect(own, older_than=0)
    assert has(own, f"blobs/{D}")
    assert has(own, f"manifests/{M}")


def test_what_is_named_by_sha512_stays(own: Serving) -> None:
    layer = {"mediaType": "a/b", "digest": digest(BLOB, "sha512"), "size": len(BLOB)}
    hold(own, upload(CONFIG), upload(BLOB, algorithm="sha512"), put(image(layers=[layer])))
    age(own, 30 * DAY)
    collect(own, older_than=0)
    assert has(own, f"blobs/{layer['digest']}")
    assert has(own, f"blobs/{D}")


def test_what_repositories_have_outlives_ollamas_pruning(own: Serving) -> None:
    hold(own, pushed("v1"), upload(b"not named yet"))
    prune_like_ollama(own)
    hold(own, Step("GET", f"blobs/{D}", 200, shows=BLOB))
    collect(own)
    hold(own, Step("GET", f"blobs/{D}", 200, shows=BLOB), put(image(), "v2"))
    assert has(own, f"blobs/{digest(b'not named yet')}")


def test_what_was_mounted_outlives_ollamas_pruning(own: Serving) -> None:
    hold(own, upload(BLOB, to="rows/source"), Step("POST", f"blobs/uploads/?mount={D}&from=rows/source", 201))
    hold(own, Step("DELETE", f"/v2/rows/source/blobs/{D}", 202))
    prune_like_ollama(own)
    collect(own)
    assert has(own, f"blobs/{D}")
    hold(own, Step("GET", f"blobs/{D}", 200, shows=BLOB))


@pytest.mark.parametrize(
    ("hours", "older_than", "stays"), [(0.5, 0, True), (2, 24, True), (2, 1, False), (25, 24, False)]
)
def test_what_no_manifest_names_goes_by_its_age(own: Serving, hours: float, older_than: float, *, stays: bool) -> None:
    hold(own, upload(BLOB))
    age(own, hours * 3600)
    collect(own, older_than=older_than * 3600)
    assert has(own, f"blobs/{D}") == stays
    assert blob_files(own) == ({D} if stays else set())
    marker = own.models / ".corral" / "oci" / "repositories" / "rows+crew"
    assert marker.exists() == stays


def test_a_blob_that_is_sent_again_is_young_again(own: Serving) -> None:
    hold(own, upload(BLOB))
    age(own, 2 * DAY)
    hold(own, upload(BLOB))
    collect(own)
    assert has(own, f"blobs/{D}")


def test_what_only_a_deleted_manifest_named_goes(own: Serving) -> None:
    hold(own, pushed("v1"), Step("DELETE", f"manifests/{M}", 202))
    age(own, 2 * DAY)
    collect(own)
    assert blob_files(own) == set()
    assert not has(own, f"blobs/{D}")
    assert list((own.models / ".corral" / "oci" / "repositories").iterdir()) == []


def test_a_dry_run_removes_nothing(own: Serving) -> None:
    hold(own, upload(BLOB))
    age(own, 2 * DAY)
    before = own.cli.files()
    assert f"would remove {D}" in own.cli.ok("gc", "--dry-run")
    assert own.cli.files() == before


def test_manifests_without_a_tag_go_if_that_is_wanted(own: Serving) -> None:
    hold(own, pushed("v1"), put(index(image()), "all", media_type=INDEX), put(image(artifactType="a/b"), "old"))
    hold(own, Step("DELETE", "manifests/old", 202), Step("DELETE", "manifests/v1", 202))
    collect(own, takes_untagged=True)
    assert has(own, f"manifests/{digest(image(artifactType='a/b'))}")  # its tag may be to come
    age(own, 2 * DAY)
    collect(own, takes_untagged=True)
    assert has(own, f"manifests/{M}")  # a part of an index
    assert not has(own, f"manifests/{digest(image(artifactType='a/b'))}")
    hold(own, Step("DELETE", "manifests/all", 202))
    collect(own, takes_untagged=True)
    assert not has(own, f"manifests/{M}")


@pytest.mark.parametrize(("seconds", "stays"), [(3000, True), (2 * DAY, False)])
def test_uploads_that_nobody_goes_on_with_go(own: Serving, seconds: float, *, stays: bool) -> None:
    hold(own, Step("POST", "blobs/uploads/", 202), Step("PATCH", "<upload>", 202, BLOB))
    (upload_file,) = (own.models / ".corral" / "oci" / "uploads").iterdir()
    then = time.time() - seconds
    os.utime(upload_file, (then, then))
    collect(own)
    assert upload_file.exists() == stays


@pytest.mark.parametrize("damage", [b"", b"{", b'{"digest":1}\n{}'])
def test_error_with_a_damaged_manifest_nothing_is_collected(own: Serving, damage: bytes) -> None:
    hold(own, pushed("v1"))
    age(own, 2 * DAY)
    file = own.models / ".corral" / "oci" / "repositories" / "rows+crew" / "manifests" / M.replace(":", "-")
    file.write_bytes(damage)
    said = own.cli.error(3, "gc")
    assert f"rows/crew@{M}: invalid manifest: nothing was collected, because it may name any blob" in said
    assert f"hint: delete {file}" in said
    assert blob_files(own) == {D, digest(CONFIG)}
    assert not has(own, "manifests/v1")
    hold(own, put(image()))
    collect(own)
    assert has(own, "manifests/v1")


def test_error_a_file_that_cannot_be_read_is_not_taken_for_none(own: Serving) -> None:
    hold(own, pushed("v1"))
    file = own.models / ".corral" / "oci" / "repositories" / "rows+crew" / "manifests" / M.replace(":", "-")
    file.unlink()
    file.mkdir()
    reply = own.wire.ask("GET", "/v2/rows/crew/manifests/v1", b"", {"Accept": MANIFEST})
    assert reply.status == 500
    assert str(Path(own.models)) not in reply.body.decode()
    own.cli.error(5, "gc")
    assert blob_files(own) == {D, digest(CONFIG)}
