"""Uploads: who may write to one, at the moments when it becomes a blob or goes."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from corral.registry.serve.errors import ServingError
from corral.registry.serve.uploads import Uploads
from corral.store.digest import Digest
from corral.store.locks import BusyError
from corral.store.repository import Repository

from corral import Store

REPOSITORY = Repository("crew/x")
BLOB = b"some bytes"


@pytest.fixture
def uploads(tmp_path: Path) -> Uploads:
    return Uploads(Store(tmp_path))


def begun(uploads: Uploads) -> str:
    """The name of an upload that has all its bytes."""
    with uploads.begin(REPOSITORY) as upload:
        upload.write(BLOB)
        return upload.id


def commit(uploads: Uploads, name: str) -> None:
    with uploads.open(REPOSITORY, name) as upload:
        upload.commit(REPOSITORY, Digest.of(BLOB))


def cancel(uploads: Uploads, name: str) -> None:
    with uploads.open(REPOSITORY, name) as upload:
        upload.cancel()


@pytest.mark.parametrize("end", [commit, cancel])
def test_error_an_upload_that_ends_while_it_is_opened(
    uploads: Uploads, monkeypatch: pytest.MonkeyPatch, end: Callable[[Uploads, str], None]
) -> None:
    name, lock = begun(uploads), fcntl.flock

    def late(descriptor: int, operation: int) -> None:
        monkeypatch.undo()
        end(uploads, name)
        lock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    with pytest.raises(ServingError, match="no such upload"):
        uploads.open(REPOSITORY, name)


def test_error_an_upload_is_written_to_by_one_at_a_time(uploads: Uploads) -> None:
    with uploads.begin(REPOSITORY) as upload, pytest.raises(BusyError):
        uploads.open(REPOSITORY, upload.id)


def test_an_upload_that_is_being_written_to_does_not_expire(uploads: Uploads) -> None:
    with uploads.begin(REPOSITORY) as upload:
        os.utime(uploads.folder / upload.id, (0, 0))
        uploads.expire()
        upload.write(BLOB)
        assert upload.commit(REPOSITORY, Digest.of(BLOB)) == Digest.of(BLOB)


def test_an_upload_expires_by_its_last_byte_or_its_beginning(uploads: Uploads) -> None:
    with uploads.begin(REPOSITORY) as upload:
        empty = upload.id
    names = [begun(uploads), begun(uploads), empty]
    now = (uploads.folder / names[0]).stat().st_mtime
    for name, age in zip(names, (23 * 3600, 25 * 3600, 2 * 3600), strict=True):
        os.utime(uploads.folder / name, (now - age, now - age))
    uploads.expire()
    assert [path.name for path in uploads.folder.iterdir()] == names[:1]


def test_what_expired_is_gone_before_anybody_looks_for_room(tmp_path: Path) -> None:
    uploads = Uploads(Store(tmp_path), expiry=60)
    names = [begun(uploads), begun(uploads)]
    then = time.time() - 61
    os.utime(uploads.folder / names[0], (then, then))
    with pytest.raises(ServingError, match="no such upload"):
        uploads.open(REPOSITORY, names[0])
    os.utime(uploads.folder / names[1], (then, then))
    with Uploads(Store(tmp_path), expiry=60).begin(REPOSITORY) as upload:
        assert [path.name for path in uploads.folder.iterdir()] == [upload.id]


def test_an_upload_is_hashed_again_by_a_later_server(uploads: Uploads, tmp_path: Path) -> None:
    name = begun(uploads)
    commit(Uploads(Store(tmp_path)), name)
    assert list(uploads.folder.iterdir()) == []
