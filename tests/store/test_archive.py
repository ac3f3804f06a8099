"""Archives: a model goes out and comes back to the byte, whatever packed or carried it."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from corral.store import layout, tar
from corral.store.archive import export
from corral.store.errors import InputError, MachineError, MismatchError
from corral.store.local import Store
from corral.store.manifest import SYSTEM, Manifest
from corral.store.name import Name
from corral.store.tags import TaggedModel
from corral.store.unpack import opened, unpack

from tests.store.archives import (
    ALL,
    TARS,
    Bring,
    content,
    document,
    entries,
    entry,
    from_file,
    from_folder,
    from_pipe,
    joined,
    packed,
    rewritten,
    unpacked,
)

Stored = Callable[[Store, str], Manifest]


@ALL
def test_a_model_comes_back_to_the_byte(source: Store, store: Store, archive: bytes, bring: Bring) -> None:
    model = source.find(Name.parse("small"))
    got = bring(archive, store, "")
    assert (got.name, got.manifest.raw) == (model.name, model.manifest.raw)
    assert content(store) == content(source)


@ALL
def test_it_may_get_another_name(store: Store, archive: bytes, bring: Bring) -> None:
    assert str(bring(archive, store, "host:5000/crew/other:v1").name) == "host:5000/crew/other:v1"
    assert [str(name) for name in store.tags.names()] == ["host:5000/crew/other:v1"]


def test_equal_models_make_equal_archives(store: Store, archive: bytes) -> None:
    from_file(archive, store)
    os.utime(store.blobs.path(next(iter(store.blobs))), (1, 1))
    assert packed(store) == archive
    for member in entries(archive):
        assert (member.info.mtime, member.info.uid, member.info.gid, member.info.uname) == (0, 0, 0, "")
    names = [member.name for member in entries(archive)]
    assert names[:2] == ["oci-layout", "index.json"]
    assert names[3:] == sorted(names[3:])


@TARS
def test_members_may_come_in_any_order(source: Store, store: Store, archive: bytes, bring: Bring) -> None:
    for seed in range(6):
        members = entries(archive)
        random.Random(seed).shuffle(members)
        got = bring(joined(members), store, f"m{seed}")
        assert got.manifest == source.find(Name.parse("small")).manifest
    assert set(store.blobs) == set(source.blobs)


@pytest.mark.parametrize("format", ["gnu", "pax", "ustar", "v7"])
@TARS
def test_what_tar_packs_is_read(
    source: Store,
    store: Store,
    tmp_path: Path,
    bring: Bring,
    archive: bytes,
    format: str,  # noqa: A002
) -> None:
    folder = unpacked(archive, tmp_path / "unpacked")
    packed = subprocess.run(
        ["tar", f"--format={format}", "-cf", "-", "-C", folder, "."], capture_output=True, check=True
    )
    assert bring(packed.stdout, store, "").manifest == source.find(Name.parse("small")).manifest


@pytest.mark.parametrize("is_pax", [False, True])
def test_files_of_more_than_eight_gigabytes(tmp_path: Path, is_pax: bool) -> None:  # noqa: FBT001
    size = 9 << 30
    path = tmp_path / "large.tar"
    info = tarfile.TarInfo("blobs/sha256/" + "0" * 64)
    info.size = size
    head = info.tobuf(tarfile.PAX_FORMAT if is_pax else tarfile.GNU_FORMAT)
    with path.open("wb") as file:
        file.write(head)
        file.truncate(len(head) + size + 1024)
    with path.open("rb") as file:
        (member,) = tar.Reader(file, "large", path.stat().st_size)
    assert (member.size, member.start) == (size, len(head))
    assert tarfile.TarInfo.frombuf(tar.header("x", size), "utf-8", "strict").size == size


@ALL
def test_what_is_here_is_not_written_again(source: Store, archive: bytes, bring: Bring) -> None:
    inodes = {digest: source.blobs.path(digest).stat().st_ino for digest in source.blobs}
    bring(archive, source, "again")
    assert {digest: source.blobs.path(digest).stat().st_ino for digest in source.blobs} == inodes


@ALL
def test_a_small_blob_that_is_damaged_here_is_mended(source: Store, archive: bytes, bring: Bring) -> None:
    before = content(source)
    for digest in source.blobs:
        source.blobs.path(digest).write_bytes(b"x" * (source.blobs.size(digest) or 0))
    bring(archive, source, "small")
    assert content(source) == before


@ALL
def test_a_model_replaces_one_of_its_name(store: Store, stored: Stored, archive: bytes, bring: Bring) -> None:
    old = stored(store, "old")
    store.tag(Name.parse("small"), old)
    bring(archive, store, "")
    assert not store.blobs.has(old.of_type(SYSTEM)[0])


def test_other_images_of_a_layout_are_left(source: Store, store: Store, stored: Stored, archive: bytes) -> None:
    source.tag(Name.parse("second"), stored(source, "Be brief."))
    second = packed(source, "second")
    members = {member.name: member for member in (*entries(second), *entries(archive))}
    both = document(archive, "index.json")
    both["manifests"] += document(second, "index.json")["manifests"]
    members["index.json"] = entry("index.json", json.dumps(both).encode())
    data = joined(members.values())
    for bring in (from_file, from_pipe, from_folder):
        with pytest.raises(InputError, match='holds several images: "second:latest", "small:latest"') as caught:
            bring(data, store, "third")
        assert caught.value.hint == "give the name of one of them"
        assert content(store) == {}
        assert bring(data, store, "second").manifest == source.find(Name.parse("second")).manifest
        assert len(set(store.blobs)) == 3
        store.remove(Name.parse("second"))


def test_the_name_may_have_to_be_said(store: Store, archive: bytes) -> None:
    def unnamed(index: dict[str, Any]) -> None:
        del index["manifests"][0]["annotations"]

    data = rewritten(archive, unnamed, parts=0)
    with pytest.raises(InputError, match="does not say what it is called"):
        from_file(data, store)
    assert str(from_file(data, store, "x").name) == "x:latest"


def test_a_pinned_name_takes_that_model_only(source: Store, store: Store, archive: bytes) -> None:
    digest = source.find(Name.parse("small")).manifest.digest
    assert from_file(archive, store, f"x@{digest}").name.tag == digest.filename
    with pytest.raises(MismatchError, match=f"expected sha256:{'0' * 64}, got {digest}"):
        from_file(archive, store, f"x@sha256:{'0' * 64}")


@pytest.mark.parametrize("media_type", ["application/vnd.docker.distribution.manifest.v2+json", None])
@ALL
def test_a_plain_layout_of_somebody_elses(
    source: Store, store: Store, archive: bytes, bring: Bring, media_type: str | None
) -> None:
    def plain(image: dict[str, Any]) -> None:
        del image["annotations"]
        image["mediaType"] = media_type or image["mediaType"]

    data = rewritten(archive, plain)
    if media_type:
        index = document(data, "index.json")
        index["manifests"][0]["mediaType"] = media_type
        data = joined([entry("index.json", json.dumps(index).encode()), *entries(data)[1:]])
    got = bring(data, store, "")
    raw = next(m.data for m in entries(data) if m.name == layout.file_of(got.manifest.digest))
    assert got.manifest.raw == raw
    assert got.manifest.layers == source.find(Name.parse("small")).manifest.layers


def test_a_remote_model_without_layers(source: Store, store: Store) -> None:
    config = source.find(Name.parse("small")).manifest.config
    raw = json.dumps({"schemaVersion": 2, "config": config.to_json(), "layers": None}).encode()
    source.tag(Name.parse("far"), Manifest.parse(raw))
    assert from_file(packed(source, "far"), store).manifest.raw == raw


@pytest.mark.parametrize("target", ["out.tar", "out/"])
def test_error_a_damaged_blob_is_not_exported(source: Store, tmp_path: Path, target: str) -> None:
    model = source.find(Name.parse("small"))
    source.blobs.path(model.manifest.layers[0].digest).write_bytes(b"WEIGHTS")
    folder = tmp_path / "target"
    folder.mkdir()
    with pytest.raises(MismatchError):
        export(source, model, f"{folder}/{target}")
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("target", ["out.tar", "out/", "out"])
def test_an_archive_is_replaced_only_when_that_is_wanted(
    source: Store, store: Store, tmp_path: Path, stored: Stored, target: str
) -> None:
    place = f"{tmp_path}/{target}"
    if target == "out":
        Path(place).mkdir()
    export(source, source.find(Name.parse("small")), place)
    source.tag(Name.parse("small"), stored(source, "Be brief."))
    model = source.find(Name.parse("small"))
    with pytest.raises(InputError, match="it is there already") as caught:
        export(source, model, place)
    assert caught.value.hint == "--force replaces it"
    export(source, model, place, replaces=True)
    with opened(place) as archive:
        assert unpack(archive, store).manifest == model.manifest
    assert {path.name for path in tmp_path.iterdir()} <= {"source", "models", target.strip("/")}


def test_error_targets_that_are_not_written(source: Store, tmp_path: Path) -> None:
    model = source.find(Name.parse("small"))
    others = tmp_path / "others"
    others.mkdir()
    (others / "thesis.txt").write_text("precious")
    (tmp_path / "file").write_text("precious")
    (tmp_path / "device.tar").symlink_to("/dev/null")
    for target, words in (
        ("others", "other files in it than an archive's"),
        ("others/", "other files in it than an archive's"),
        ("file/", "it is a file"),
        ("file", "neither a folder nor an archive"),
        ("device.tar", "not a regular file"),
        ("nowhere/out.tar", "no such folder"),
        ("out", "neither a folder nor an archive"),
    ):
        with pytest.raises(InputError, match=words):
            export(source, model, f"{tmp_path}/{target}", replaces=True)
    (others / "oci-layout").write_bytes(layout.MARK)
    with pytest.raises(InputError, match="other files in it than an archive's"):
        export(source, model, str(others), replaces=True)
    assert (others / "thesis.txt").read_text() == (tmp_path / "file").read_text() == "precious"
    assert Path("/dev/null").is_char_device()


def test_error_no_room(source: Store, tmp_path: Path) -> None:
    model = source.find(Name.parse("small"))
    config = model.manifest.config
    weights = model.manifest.layers[0]
    free = shutil.disk_usage(tmp_path).free
    with source.blobs.path(weights.digest).open("r+b") as file:
        file.truncate(free * 2)
    large = Manifest.build(config, [replace(weights, size=free * 2)])
    with pytest.raises(MachineError, match=r"\d+ bytes to write, \d+ free"):
        export(source, TaggedModel(model.name, large, 0), f"{tmp_path}/out.tar")
    assert not (tmp_path / "out.tar").exists()
