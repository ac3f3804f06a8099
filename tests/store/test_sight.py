"""Sight: whatever happens to a file, what was concluded from it before does not hold any more."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from corral.store.sight import Evidence, Sight

SETTLED = 0.12
"""Seconds after which stamps are relied on."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """In it, old enough: `file`, the folder `full` with a file, and the links `link` to `file` and `broken` to `absent`."""
    (tmp_path / "file").write_bytes(b"before")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/one").touch()
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "broken").symlink_to("absent")
    time.sleep(SETTLED)
    return tmp_path


def evidence(*paths: Path) -> Evidence | None:
    return Sight().evidence(map(str, paths))


def reliable(*paths: Path) -> Evidence:
    found = evidence(*paths)
    assert found is not None
    return found


def in_place(path: Path) -> None:
    """The same size, by the same inode, with the same mtime."""
    status = path.stat()
    with path.open("r+b") as file:
        file.write(b"after!")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def by_rename(path: Path) -> None:
    """The same size and the same mtime."""
    status = path.stat()
    other = path.with_name("other")
    other.write_bytes(b"after!")
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.rename(path)


def with_the_same_inode(path: Path) -> None:
    """File systems give the number of a file that is gone to the next one."""
    status = path.stat()
    path.unlink()
    path.write_bytes(b"after!")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


CHANGES: dict[str, tuple[str, Callable[[Path], object]]] = {
    "grown": ("file", lambda path: path.write_bytes(b"before and after")),
    "written in place": ("file", in_place),
    "replaced": ("file", by_rename),
    "made anew": ("file", with_the_same_inode),
    "gone": ("file", Path.unlink),
    "locked": ("file", lambda path: path.chmod(0)),
    "the target of a link": ("link", lambda path: in_place(path.resolve())),
    "there at last": ("absent", Path.touch),
    "there at last, for a link": ("broken", lambda path: path.with_name("absent").touch()),
    "a new file in a folder": ("full", lambda path: (path / "two").touch()),
    "no file in a folder": ("full", lambda path: (path / "one").unlink()),
    "another name in a folder": ("full", lambda path: (path / "one").rename(path / "two")),
    "another file in a folder": ("full", lambda path: by_rename(path / "one")),
    "a file where a folder was": ("full", lambda path: (path.rename(path.with_name("away")), path.touch())),
    "out of reach": ("full/one", lambda path: path.parent.rename(path.parent.with_name("away"))),
}


@pytest.mark.parametrize(("name", "change"), CHANGES.values(), ids=CHANGES)
def test_a_change_is_seen(folder: Path, name: str, change: Callable[[Path], object]) -> None:
    before = reliable(folder / name)
    assert Sight().shows(before)
    change(folder / name)
    assert not Sight().shows(before)


def test_one_changed_file_of_many_is_enough(folder: Path) -> None:
    before = reliable(folder / "file", folder / "full/one", folder / "absent")
    (folder / "full/one").write_bytes(b"1")
    assert not Sight().shows(before)
    assert Sight().shows(reliable(folder / "file", folder / "absent"))


def test_a_file_is_looked_at_once(folder: Path) -> None:
    before = reliable(folder / "file")
    sight = Sight()
    assert sight.shows(before)
    (folder / "file").unlink()
    assert sight.shows(before)
    assert not Sight().shows(before)


def test_a_file_that_has_just_changed_is_not_relied_on(folder: Path) -> None:
    in_place(folder / "file")
    assert evidence(folder / "file") is None
    assert evidence(folder / "absent", folder / "file") is None
    time.sleep(SETTLED)
    assert Sight().shows(reliable(folder / "file"))


def test_a_file_that_changed_when_the_look_began_is_not_relied_on_however_late_it_is_asked_for(folder: Path) -> None:
    sight = Sight()
    in_place(folder / "file")
    assert sight[str(folder / "file")]
    time.sleep(SETTLED)
    assert sight.evidence([str(folder / "file")]) is None


def test_whatever_is_read_while_it_is_written_is_read_again(folder: Path) -> None:
    file, known, reads = folder / "file", dict[Evidence, bytes](), 0
    for number in range(3000):
        if number % 3 == 0:
            file.write_bytes(b"%06d" % number)
        if number % 500 == 0:
            time.sleep(SETTLED)
        sight = Sight()
        held = next((data for found, data in known.items() if sight.shows(found)), None)
        reads += held is None
        data = file.read_bytes()
        found = sight.evidence([str(file)])
        assert held in (None, data)
        if found:
            known = {found: data}
    assert reads < 3000


def test_where_stamps_cannot_be_trusted_nothing_is_relied_on() -> None:
    assert evidence(Path("/proc/version")) is None


def test_what_cannot_be_looked_at_is_not_relied_on(folder: Path) -> None:
    (folder / "round").symlink_to("round")
    time.sleep(SETTLED)
    assert evidence(folder / "round") is None
    assert evidence(folder / "absent") is not None
