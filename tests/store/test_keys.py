"""The file of API keys."""

from __future__ import annotations

import json
import os
import stat
import threading
from pathlib import Path

import pytest
from corral.store.errors import FileError, InputError
from corral.store.keys import Keys, Scope


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(tmp_path / "config" / "keys.json")


def test_a_key_is_found_by_itself_alone(keys: Keys) -> None:
    secret = keys.add("laptop", ["infer"])
    other = keys.add("ci", ["manage"])
    found = keys.find(secret)
    assert found is not None
    assert (found.name, found.scopes, found.ending) == ("laptop", ("infer",), secret[-4:])
    for wrong in ("", secret[:-1], secret + "x", secret.upper(), secret * 100, found.sha256, "ck_\xff", "\ud800"):
        assert keys.find(wrong) is None
    assert secret.startswith("ck_")
    assert len(secret) >= 35
    assert secret != other


@pytest.mark.parametrize(
    ("scopes", "allowed"),
    [(["infer"], {"infer"}), (["manage"], {"infer", "manage"}), (["infer", "manage"], {"infer", "manage"})],
)
def test_managing_is_more_than_inferring(keys: Keys, scopes: list[Scope], allowed: set[str]) -> None:
    keys.add("x", scopes)
    (key,) = keys.all()
    both: tuple[Scope, ...] = ("infer", "manage")
    assert {scope for scope in both if key.allows(scope)} == allowed


def test_a_key_keeps_its_repositories_and_a_file_from_before_there_were_any_is_read(keys: Keys) -> None:
    secret = keys.add("old", ["infer"])
    fields = {"name", "scopes", "created", "ending", "sha256"}
    assert [set(kept) for kept in json.loads(keys.path.read_text())["keys"]] == [fields]
    other = keys.add("new", [], read=["crew/*"], write=["crew/brief", "*"])
    found = [keys.find(one) for one in (secret, other)]
    assert [(key.scopes, key.read, key.write) for key in found if key] == [
        (("infer",), (), ()),
        ((), ("crew/*",), ("crew/brief", "*")),
    ]
    assert not any(key.allows(scope) for key in found[1:] if key for scope in ("infer", "manage"))


def test_the_file_is_its_owners_alone_and_holds_no_key(keys: Keys) -> None:
    before = os.umask(0)
    try:
        secret = keys.add("laptop", ["infer"])
    finally:
        os.umask(before)
    assert stat.S_IMODE(keys.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(keys.path.parent.stat().st_mode) == 0o700
    assert secret not in keys.path.read_text()
    assert [path.name for path in keys.path.parent.iterdir()] == ["keys.json"]


def test_a_change_is_seen_by_who_has_read_the_file_before(keys: Keys) -> None:
    other = Keys(keys.path)
    assert other.all() == ()
    secret = keys.add("a", ["infer"])
    assert other.find(secret)
    keys.remove("a")
    assert other.find(secret) is None
    keys.add("b", ["infer"])
    keys.path.unlink()
    assert other.all() == ()


def test_a_link_to_the_file_stays_one(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "keys.json"
    link.symlink_to(tmp_path / "elsewhere" / "mine.json")
    Keys(link).add("a", ["infer"])
    assert link.is_symlink()
    assert [key.name for key in Keys(tmp_path / "elsewhere" / "mine.json").all()] == ["a"]


def test_keys_made_at_once_are_all_kept(keys: Keys) -> None:
    def add(number: int) -> None:
        Keys(keys.path).add(f"key{number}", ["infer"])

    threads = [threading.Thread(target=add, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {key.name for key in keys.all()} == {f"key{number}" for number in range(16)}


def test_a_hash_that_is_none_keeps_nobody_else_out(keys: Keys) -> None:
    secret = keys.add("laptop", ["infer"])
    (key,) = keys.all()
    for wrong in ("é", "", "x" * 1000, key.sha256.upper()):
        other = {"name": "other", "scopes": ["manage"], "created": "", "ending": "", "sha256": wrong}
        document = json.loads(keys.path.read_text())
        keys.path.write_text(json.dumps({"keys": [other, document["keys"][-1]]}))
        found = keys.find(secret)
        assert found is not None
        assert found.name == "laptop"
        assert keys.find("é") is None


@pytest.mark.parametrize("name", ["", "a b", "../x", "-x", "x" * 65, "é", "a\n"])
def test_error_a_name_that_is_none(keys: Keys, name: str) -> None:
    with pytest.raises(InputError, match="not a name") as caught:
        keys.add(name, ["infer"])
    assert caught.value.hint
    assert not keys.path.exists()


def test_error_a_name_twice_or_unknown(keys: Keys) -> None:
    keys.add("a", ["infer"])
    with pytest.raises(InputError, match="there is a key of this name"):
        keys.add("a", ["manage"])
    with pytest.raises(InputError, match="no such key"):
        keys.remove("b")
    assert [key.scopes for key in keys.all()] == [("infer",)]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        "not json",
        '{"keys": [{"name": "a"}]}',
        '{"keys": [], "more": 1}',
        "[" * 100_000,
        json.dumps({"keys": [{"name": "a", "scopes": ["root"], "created": "", "ending": "", "sha256": ""}]}),
    ],
    ids=["empty", "nothing", "list", "text", "parts", "more", "deep", "scope"],
)
def test_error_a_file_that_is_none_lets_nobody_in(keys: Keys, text: str) -> None:
    secret = keys.add("a", ["manage"])
    keys.path.write_text(text)
    for _ in range(2):
        with pytest.raises(InputError, match="no file of API keys") as caught:
            keys.find(secret)
        assert str(keys.path) in str(caught.value)
        assert caught.value.hint


def test_error_a_file_that_cannot_be_read(keys: Keys) -> None:
    keys.path.parent.mkdir()
    keys.path.symlink_to(keys.path)
    with pytest.raises(FileError, match="cannot read"):
        keys.all()
    keys.path.unlink()
    keys.path.mkdir()
    with pytest.raises((FileError, InputError), match=str(keys.path)):
        keys.all()
