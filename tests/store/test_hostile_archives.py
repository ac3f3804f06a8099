"""Archives that mean harm or are broken: each is refused for what it is, and nothing of it is left in the store."""

from __future__ import annotations

import base64
import gzip
import json
import os
import random
import tarfile
from collections.abc import Callable
from typing import Any

import pytest
from corral.store import layout, tar
from corral.store.errors import CorralError, IntegrityError, InvalidArchiveError, MachineError
from corral.store.local import Store
from corral.store.unpack import opened, unpack

from tests.store.archives import ALL, TARS, Bring, content, entries, entry, from_file, from_pipe, joined, rewritten

HEX = "a" * 64
BLOB = f"blobs/sha256/{HEX}"
WRONG_MEMBERS = {
    "a symbolic link": (entry(BLOB, type=tarfile.SYMTYPE, linkname="/etc/passwd"), "neither a file nor a folder"),
    "a hard link": (entry(BLOB, type=tarfile.LNKTYPE, linkname="index.json"), "neither a file nor a folder"),
    "a device": (entry(BLOB, type=tarfile.CHRTYPE, devmajor=1, devminor=5), "neither a file nor a folder"),
    "a named pipe": (entry(BLOB, type=tarfile.FIFOTYPE), "neither a file nor a folder"),
    "a sparse file": (entry(BLOB, type=tarfile.GNUTYPE_SPARSE), "neither a file nor a folder"),
    "a long name": (entry("blobs/" + "a" * 200, b""), "neither a file nor a folder"),
    "an absolute path": (entry("/etc/passwd", b"x"), '"/etc/passwd" does not belong in a layout'),
    "a path that leads out": (entry(f"blobs/sha256/../../{HEX}", b"x"), "does not belong in a layout"),
    "a path from above": (entry("../index.json", b"x"), "does not belong in a layout"),
    "another file": (entry("manifest.json", b"{}"), '"manifest.json" does not belong in a layout'),
    "a blob by sha512": (entry("blobs/sha512/" + "a" * 128, b"x"), "neither a file nor a folder"),
    "a blob of another algorithm": (entry("blobs/md5/" + "a" * 32, b"x"), "does not belong in a layout"),
    "capital digits": (entry(BLOB.replace("a", "A"), b"x"), "does not belong in a layout"),
    "a short digest": (entry(BLOB[:-1], b"x"), "does not belong in a layout"),
    "a line end in a name": (entry(BLOB + "\n", b"x"), "does not belong in a layout"),
    "another folder": (entry("etc", type=tarfile.DIRTYPE), '"etc" does not belong in a layout'),
    "a folder as a blob": (entry(BLOB, type=tarfile.DIRTYPE), "does not belong in a layout"),
    "a name twice": (entry("oci-layout", layout.MARK), '"oci-layout" is in it twice'),
    "a blob that is another": (entry(BLOB, b"x"), "expected sha256:aaaa"),
}


def error(bring: Bring, data: bytes, store: Store, words: str, kind: type[CorralError] = IntegrityError) -> None:
    """It fails for this reason and leaves nothing."""
    with pytest.raises(kind) as caught:
        bring(data, store, "")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert content(store) == {}


@TARS
@pytest.mark.parametrize("case", WRONG_MEMBERS)
@pytest.mark.parametrize("place", ["first", "last"])
def test_error_a_member_that_does_not_belong(store: Store, archive: bytes, bring: Bring, case: str, place: str) -> None:
    wrong, words = WRONG_MEMBERS[case]
    members = entries(archive)
    members.insert(0 if place == "first" else len(members), wrong)
    if case == "a blob that is another" and bring is from_file:
        # Where one can go back, what the model does not need is not looked at.
        bring(joined(members), store, "")
        assert [str(name) for name in store.tags.names()] == ["small:latest"]
        return
    error(bring, joined(members), store, words)


def resized(size: int) -> bytes:
    info = tarfile.TarInfo(BLOB)
    info.size = size
    return info.tobuf(tarfile.GNU_FORMAT)


def extended(records: bytes, *, kind: bytes = tarfile.XHDTYPE, size: int | None = None) -> bytes:
    info = tarfile.TarInfo("pax")
    info.type, info.size = kind, len(records) if size is None else size
    return info.tobuf(tarfile.GNU_FORMAT) + records + bytes(-len(records) % 512)


NOT_TARS = {
    "nothing": (b"", "truncated: it ends at byte 0"),
    "text": (b"FROM x\n" * 200, "it is no tar archive at byte 0"),
    "zeros": (bytes(4096), "oci-layout is not in it"),
    "a gzip": (gzip.compress(b"x" * 2000 + os.urandom(2000)), "it is compressed with gzip"),
    "half a header": (resized(0)[:300], "truncated: it ends at byte 300"),
    "a wrong checksum": (b"x" + resized(0)[1:] + bytes(1024), "it is no tar archive at byte 0"),
    "a size below zero": (resized(-5) + bytes(1024), "has -5 bytes"),
    "a huge extended header": (extended(b"", size=1 << 40), "an extended header of 1099511627776 bytes"),
    "an endless extended header": (extended(b"x" * 512), "an extended header that cannot be read"),
    "another name in one": (extended(b"13 path=/etc\n") + resized(0), 'an extended header with "path"'),
    "a sparse file in one": (extended(b"22 GNU.sparse.major=1\n") + resized(0), "an extended header with"),
    "records that overlap": (extended(b"99 size=1\n") + resized(0), "an extended header that cannot be read"),
    "many entries": (extended(b"") * (tar.MAX_MEMBERS + 1), f"more than {tar.MAX_MEMBERS} entries"),
}


@TARS
@pytest.mark.parametrize("case", NOT_TARS)
def test_error_no_archive(store: Store, bring: Bring, case: str) -> None:
    data, words = NOT_TARS[case]
    error(bring, data, store, words, InvalidArchiveError)


def test_error_a_file_that_claims_more_than_there_is(store: Store) -> None:
    error(from_file, resized(1 << 50) + bytes(1024), store, f'truncated: "{BLOB[:79]}')
    error(from_pipe, resized(1 << 50) + bytes(1024), store, f"{1 << 50} bytes to write", MachineError)


@TARS
def test_error_an_archive_cut_short_anywhere(store: Store, archive: bytes, bring: Bring) -> None:
    end = len(archive) - 1024
    for length in sorted({*range(0, end, 512), *random.Random(3).sample(range(end), 12)}):
        with pytest.raises(IntegrityError) as caught:
            bring(archive[:length], store, "")
        assert "truncated" in str(caught.value)
        assert content(store) == {}


@ALL
def test_error_a_flipped_byte_in_any_file(store: Store, archive: bytes, bring: Bring) -> None:
    for number in range(len(entries(archive))):
        members = entries(archive)
        data = bytearray(members[number].data)
        data[len(data) // 2] ^= 1
        members[number] = entry(members[number].name, bytes(data))
        with pytest.raises(CorralError) as caught:
            bring(joined(members), store, "x")
        assert isinstance(caught.value, IntegrityError) or members[number].name == "index.json"
        assert content(store) == {}


def without(key: str) -> Callable[[dict[str, Any]], None]:
    def change(document: dict[str, Any]) -> None:
        del document[key]

    return change


def with_(**values: Any) -> Callable[[dict[str, Any]], None]:
    def change(document: dict[str, Any]) -> None:
        document.update(values)

    return change


def in_first(**values: Any) -> Callable[[dict[str, Any]], None]:
    def change(document: dict[str, Any]) -> None:
        document["manifests"][0].update(values)

    return change


def in_layer(**values: Any) -> Callable[[dict[str, Any]], None]:
    def change(document: dict[str, Any]) -> None:
        document["layers"][0].update(values)
        document["annotations"] = {}

    return change


OTHER = base64.b64encode(
    json.dumps(
        {"schemaVersion": 2, "layers": [], "config": {"mediaType": "x", "digest": f"sha256:{HEX}", "size": 1}}
    ).encode()
).decode()
WRONG_INDEXES = {
    "no list": (without("manifests"), "missing required field `manifests`"),
    "no image": (with_(manifests=[]), "its index names no image"),
    "an index in it": (in_first(mediaType="application/vnd.oci.image.index.v1+json"), "its index names no image"),
    "no digest": (in_first(digest="sha256:../../etc"), '"sha256:../../etc" is not a digest'),
    "another algorithm": (in_first(digest="sha512:" + "a" * 128), "sha512:aaaa"),
    "no size": (in_first(size="1"), "Expected `int`, got `str`"),
    "a size below zero": (in_first(size=-1), 'of "-1" bytes'),
    "an image that is not there": (in_first(digest=f"sha256:{HEX}"), f"{BLOB} is not in it"),
}
WRONG_IMAGES = {
    "no config": (without("config"), "missing required field `config`"),
    "of an old schema": (with_(schemaVersion=1), "schemaVersion is 1, expected 2"),
    "annotations that are no texts": (with_(annotations={"x": 1}), "Expected `str`, got `int`"),
    "a kept manifest that is not base64": (with_(annotations={layout.ORIGINAL: "é!"}), "is not base64"),
    "a kept manifest that is none": (with_(annotations={layout.ORIGINAL: "e30="}), "missing required field"),
    "a kept manifest of other blobs": (with_(annotations={layout.ORIGINAL: OTHER}), "name different blobs"),
    "no layer of Ollama's": (with_(annotations={}, layers=[]), "it is no model"),
    "a layer that is not there": (in_layer(digest=f"sha256:{HEX}"), f"blob sha256:{HEX} is not in it"),
    "a layer of another size": (in_layer(size=99), "expected 99 bytes, got 7 bytes"),
    "a layer by sha512": (in_layer(digest="sha512:" + "a" * 128), "holds blobs by sha256 only"),
}


@ALL
@pytest.mark.parametrize("case", WRONG_INDEXES)
def test_error_a_wrong_index(store: Store, archive: bytes, bring: Bring, case: str) -> None:
    change, words = WRONG_INDEXES[case]
    error(bring, rewritten(archive, change, parts=0), store, words)


@ALL
@pytest.mark.parametrize("case", WRONG_IMAGES)
def test_error_a_wrong_image(store: Store, archive: bytes, bring: Bring, case: str) -> None:
    change, words = WRONG_IMAGES[case]
    error(bring, rewritten(archive, change), store, words)


@ALL
@pytest.mark.parametrize(
    ("file", "data", "words"),
    [
        ("oci-layout", None, "oci-layout is not in it"),
        ("oci-layout", b"{}", "missing required field `imageLayoutVersion`"),
        ("oci-layout", b'{"imageLayoutVersion":"2.0.0"}', 'version "2.0.0", expected 1.0.0'),
        ("index.json", None, "index.json is not in it"),
        ("index.json", b"{", "index.json: "),
        ("index.json", b"[" * 100_000, "index.json: "),
        ("index.json", b" " * (layout.MAX_DOCUMENT + 1), f"at most {layout.MAX_DOCUMENT} are read"),
    ],
)
def test_error_a_wrong_document(
    store: Store, archive: bytes, bring: Bring, file: str, data: bytes | None, words: str
) -> None:
    others = [member for member in entries(archive) if member.name != file]
    error(bring, joined([*others, entry(file, data)] if data is not None else others), store, words)


def test_error_an_interruption_leaves_nothing(store: Store, archive: bytes) -> None:
    def interrupt(step: object) -> None:
        if "importing" in str(step):
            raise KeyboardInterrupt

    path = store.root.with_name("archive.tar")
    path.write_bytes(archive)
    with opened(str(path)) as source, pytest.raises(KeyboardInterrupt):
        unpack(source, store, report=interrupt)
    assert content(store) == {}
