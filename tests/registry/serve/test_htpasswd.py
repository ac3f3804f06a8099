"""Htpasswd files, and patterns of repositories."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import bcrypt
import pytest
from corral.registry.serve.htpasswd import REMEMBERED, Htpasswd
from corral.registry.serve.scopes import Caller, Grants, Pattern, users_grants
from corral.store.errors import FileError, InputError
from corral.store.repository import Repository

from tests.conftest import BCRYPT, PASSWORD

SHA = "{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g="
MD5 = "$apr1$salt$G/HkB5aqoVvhf5rEHJqmk0"


def of(text: str, path: Path, **options: Callable[[], float]) -> Htpasswd:
    path.write_text(text)
    return Htpasswd(path, **options)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "htpasswd"


def test_a_user_is_let_in_by_his_password_alone(file: Path) -> None:
    known = of(f"# the crew\n\nalice:{BCRYPT}\r\n", file)
    assert known.check("alice", PASSWORD)
    for user, password in (("alice", ""), ("alice", "S3cret"), ("bob", PASSWORD), ("", PASSWORD), ("alice", "\ud800")):
        assert not known.check(user, password)


@pytest.mark.parametrize("kind", ["$2a$", "$2b$", "$2y$"])
def test_bcrypt_by_any_of_its_names(file: Path, kind: str) -> None:
    assert of(f"alice:{kind}{BCRYPT[4:]}", file).check("alice", PASSWORD)


def test_of_a_long_password_bcrypt_heeds_the_beginning(file: Path) -> None:
    hashed = bcrypt.hashpw(b"x" * 72, bcrypt.gensalt(4)).decode()
    known = of(f"alice:{hashed}", file)
    assert known.check("alice", "x" * 72)
    assert known.check("alice", "x" * 5000)
    assert not known.check("alice", "x" * 71)


@pytest.mark.parametrize(
    ("text", "line", "words", "cure"),
    [
        (f"alice:{SHA}", 1, '"alice" is not hashed by bcrypt', "htpasswd -B"),
        (f"bob:{BCRYPT}\n#\nalice:{MD5}", 3, '"alice" is not hashed by bcrypt', "htpasswd -B"),
        ("alice:plain", 1, '"alice" is not hashed by bcrypt', "htpasswd -B"),
        (f"alice:$2x${BCRYPT[4:]}", 1, '"alice" is not hashed by bcrypt', "htpasswd -B"),
        (f"alice:{BCRYPT}x", 1, '"alice" is not hashed by bcrypt', "htpasswd -B"),
        (f"alice:{BCRYPT[:28]}/{BCRYPT[29:]}", 1, '"alice" is not hashed by bcrypt', "htpasswd -B"),
        (f"alice:$2b$31${BCRYPT[7:]}", 1, "takes too long: its cost is 31", "at most 15"),
        (f"alice:{BCRYPT}\nalice:{BCRYPT}", 2, '"alice" is here a second time', "remove one"),
        ("alice", 1, "no user and hash", "USER:HASH"),
        (f":{BCRYPT}", 1, "no user and hash", "USER:HASH"),
    ],
)
def test_error_a_line_that_is_none(file: Path, text: str, line: int, words: str, cure: str) -> None:
    with pytest.raises(InputError) as caught:
        of(text, file).users()
    assert str(caught.value).startswith(f"{file}:{line}: ")
    assert words in str(caught.value)
    assert cure in (caught.value.hint or "")
    assert "$2" not in str(caught.value)


def test_error_a_file_that_is_none(tmp_path: Path, file: Path) -> None:
    with pytest.raises(FileError, match="cannot read"):
        Htpasswd(file).users()
    with pytest.raises((FileError, InputError), match=str(tmp_path)):
        Htpasswd(tmp_path).users()
    file.write_bytes(b"alice:\xff\xfe")
    with pytest.raises(InputError, match="not UTF-8"):
        Htpasswd(file).users()
    file.write_bytes(b"#" * (1 << 20) + b"\n")
    with pytest.raises(InputError, match="more than"):
        Htpasswd(file).users()


def test_a_file_without_users_lets_nobody_in(file: Path) -> None:
    assert not of("", file).check("alice", PASSWORD)


def test_a_right_password_is_remembered_for_a_while(file: Path) -> None:
    now = 1000.0
    known = of(f"alice:{BCRYPT}", file, clock=lambda: now)
    assert not known.remembers("alice", PASSWORD)
    assert known.check("alice", PASSWORD)
    assert known.remembers("alice", PASSWORD)
    for user, password in (("alice", "other"), ("bob", PASSWORD), ("alices3", "cret")):
        assert not known.remembers(user, password)
    assert not known.check("alice", "wrong")
    assert known.remembers("alice", PASSWORD)
    now += REMEMBERED
    assert not known.remembers("alice", PASSWORD)


def test_a_changed_file_counts_at_once(file: Path) -> None:
    known = of(f"alice:{BCRYPT}\nbob:{BCRYPT}", file)
    assert known.check("alice", PASSWORD)
    assert known.check("bob", PASSWORD)
    other = bcrypt.hashpw(b"other", bcrypt.gensalt(4)).decode()
    file.write_text(f"alice:{other}\n")
    assert not known.remembers("alice", PASSWORD)
    assert not known.remembers("bob", PASSWORD)
    assert not known.check("alice", PASSWORD)
    assert not known.check("bob", PASSWORD)
    assert known.check("alice", "other")
    file.unlink()
    with pytest.raises(FileError):
        known.remembers("alice", "other")


def test_nobody_can_tell_by_the_time_who_is_a_user(file: Path) -> None:
    hashed = bcrypt.hashpw(b"x", bcrypt.gensalt(8)).decode()
    known = of(f"alice:{hashed}", file)

    def took(user: str) -> float:
        times: list[float] = []
        for _ in range(5):
            started = time.thread_time()
            known.check(user, "wrong")
            times.append(time.thread_time() - started)
        return min(times)

    assert took("mallory") > took("alice") / 2


def test_passwords_are_not_kept(file: Path) -> None:
    known = of(f"alice:{BCRYPT}", file)
    assert known.check("alice", PASSWORD)
    assert PASSWORD not in repr(vars(known))


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        ("*", ["a/b", "library/x", "host.example/a/b/c"], []),
        ("crew/*", ["crew/brief", "crew/a/b"], ["crew", "crewe/brief", "my/crew/brief"]),
        ("crew/brief", ["crew/brief"], ["crew/brief2", "crew/brie", "a/crew/brief"]),
        ("brief", ["library/brief"], ["crew/brief"]),
        ("*/brief", ["crew/brief", "a/b/brief"], ["crew/briefs"]),
        ("crew/b*f", ["crew/bf", "crew/brief", "crew/b/f"], ["crew/b", "crew/f"]),
        ("a/b*b", ["a/bb", "a/bab"], ["a/b"]),
        ("*a*b*", ["x/ab", "a/b", "a/xxbxx"], ["b/a"]),
        ("a.b__5000/*", ["a.b__5000/x"], ["a-b__5000/x", "axb__5000/x"]),
        ("**", ["a/b"], []),
    ],
)
def test_a_pattern_is_some_repositories(pattern: str, matching: list[str], others: list[str]) -> None:
    found = Pattern.parse(pattern)
    paths = [*matching, *others]
    assert [path for path in paths if found.matches(Repository(path))] == matching


def test_many_stars_take_no_time() -> None:
    pattern = Pattern.parse("a*" * 127 + "c")
    started = time.thread_time()
    for _ in range(100):
        assert not pattern.matches(Repository("a" * 120 + "/" + "a" * 120 + "b"))
    assert time.thread_time() - started < 1


@pytest.mark.parametrize(
    "text", ["", "Crew/*", "crew/[ab]", "crew/?", "a b", "crew/", "../*x y", "*" * 256, "crew:v1", "é*"]
)
def test_error_a_pattern_that_is_none(text: str) -> None:
    with pytest.raises(InputError, match="no pattern of repositories"):
        Pattern.parse(text)


@pytest.mark.parametrize(
    "text", ["", "alice", "alice:read", "alice:admin:*", ":read:*", "alice:read:Crew", "read:*", "a:b"]
)
def test_error_a_grant_that_is_none(text: str) -> None:
    with pytest.raises(InputError):
        users_grants([text])


def test_to_write_includes_to_read_and_nothing_else_does() -> None:
    crew, other = Repository("crew/brief"), Repository("other/thing")
    reads, writes = Caller(Grants.parse(["crew/*"])), Caller(Grants.parse([], ["crew/*"]))
    assert [reads.may("read", crew), reads.may("write", crew), reads.may("read", other)] == [True, False, False]
    assert [writes.may("read", crew), writes.may("write", crew), writes.may("write", other)] == [True, True, False]
    both = users_grants(["a:read:*", "a:write:crew/*", "b:read:x"])
    assert both["a"] == Grants.parse(["*"], ["crew/*"])
    assert both["b"] == Grants.parse(["library/x"])


def test_the_stamp_of_the_file_is_its_own(file: Path) -> None:
    known = of(f"alice:{BCRYPT}", file)
    assert list(known.users()) == ["alice"]
    before = file.stat()
    file.write_text(f"carol:{BCRYPT}")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert list(known.users()) == ["carol"]
