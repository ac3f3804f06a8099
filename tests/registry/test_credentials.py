"""Where logins are found: docker's and podman's files in all their forms, and the programs they name."""

from __future__ import annotations

import base64
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from corral.cli.settings import Settings
from corral.registry.credentials import Credential
from corral.registry.loginfile import LoginFile, Logins
from corral.store.errors import CorralError, InputError, MachineError

SECRET = "tr0ub4dor"
AUTH = base64.b64encode(f"me:{SECRET}".encode()).decode()
MINE = Credential("me", SECRET)
Config = Callable[[Any], LoginFile]


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """Writes a file of logins."""

    def write(document: Any) -> LoginFile:
        path = tmp_path / "config.json"
        path.write_text(document if isinstance(document, str) else json.dumps(document))
        return LoginFile(path)

    return write


@pytest.mark.parametrize(
    "entry",
    [
        {"auth": AUTH},
        {"auth": base64.b64encode(f"me:{SECRET}\0\0".encode()).decode()},
        {"username": "me", "password": SECRET},
        {"auth": AUTH, "email": "me@example.com"},
    ],
)
def test_a_password(config: Config, entry: dict[str, str]) -> None:
    assert config({"auths": {"r.example": entry}}).find("r.example") == MINE


def test_a_password_may_hold_colons_and_any_letters(config: Config) -> None:
    auth = base64.b64encode("me:a:b:ü".encode()).decode()
    found = config({"auths": {"r.example": {"auth": auth}}}).find("r.example")
    assert found == Credential("me", "a:b:ü")
    assert found
    assert found.basic == f"Basic {auth}"


def test_an_identity_token_wins_over_a_password(config: Config) -> None:
    found = config({"auths": {"r.example": {"auth": AUTH, "identitytoken": "tok"}}}).find("r.example")
    assert found == Credential("me", "tok", is_identity_token=True)


@pytest.mark.parametrize(
    ("key", "host"),
    [
        ("r.example", "r.example"),
        ("R.example", "r.EXAMPLE"),
        ("r.example:5000", "r.example:5000"),
        ("https://r.example", "r.example"),
        ("http://r.example/", "r.example"),
        ("https://r.example/v2/", "r.example"),
        ("r.example/v1/", "r.example"),
        ("https://index.docker.io/v1/", "docker.io"),
        ("docker.io", "registry-1.docker.io"),
        ("registry-1.docker.io", "index.docker.io"),
    ],
)
def test_a_key_is_read_in_every_spelling(config: Config, key: str, host: str) -> None:
    assert config({"auths": {key: {"auth": AUTH}}}).find(host) == MINE


@pytest.mark.parametrize("host", ["example", "r.example:5000", "xr.example", "r.example.evil", "docker.io"])
def test_a_login_is_for_its_host_alone(config: Config, host: str) -> None:
    assert config({"auths": {"r.example": {"auth": AUTH}}}).find(host, "a/b") is None


def test_the_longest_key_that_fits_wins(config: Config) -> None:
    def auth(user: str) -> dict[str, str]:
        return {"username": user, "password": "x"}

    auths = {"r.example": auth("all"), "r.example/a": auth("a"), "r.example/a/b": auth("ab"), "r.example/c": {}}
    file = config({"auths": auths})
    for repository, user in {"a/b": "ab", "a/bc": "a", "ab/b": "all", "c/d": "all", "": "all"}.items():
        found = file.find("r.example", repository)
        assert found
        assert found.user == user


@pytest.mark.parametrize("document", ["", " \n", {}, {"auths": {}}, {"auths": None}, {"auths": {"r.example": {}}}])
def test_nothing_is_found_in_nothing(config: Config, document: Any) -> None:
    assert config(document).find("r.example") is None


def test_nothing_is_found_where_no_file_is(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert Logins((tmp_path / "none.json", tmp_path / "file" / "none.json")).find("r.example") is None


@pytest.mark.parametrize(
    "document",
    [
        "{",
        "[]",
        '"x"',
        "[" * 100_000,
        "\ufeff{",
        {"auths": [1]},
        {"auths": {"r.example": "x"}},
        {"auths": {"r.example": {"auth": 5}}},
        {"auths": {"r.example": {"auth": SECRET + "!"}}},
        {"auths": {"r.example": {"auth": base64.b64encode(SECRET.encode()).decode()}}},
        {"auths": {"r.example": {"auth": base64.b64encode(b"\xff:\xff").decode()}}},
        {"credHelpers": [1]},
        {"auths": {"r.example": {"identitytoken": [SECRET]}}},
    ],
)
def test_error_a_file_of_another_form(config: Config, document: Any) -> None:
    file = config(document)
    with pytest.raises(InputError) as caught:
        file.find("r.example")
    assert str(caught.value).startswith(f"{file.path}: ")
    assert SECRET not in str(caught.value)
    assert caught.value.hint


def test_error_a_file_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(CorralError, match=str(tmp_path)):
        LoginFile(tmp_path).find("x")


def program(folder: Path, name: str, script: str) -> None:
    path = folder / f"docker-credential-{name}"
    path.write_text(f"#!/bin/sh\nread server\n{script}\n")
    path.chmod(0o755)


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in the PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


def answers(user: str, secret: str) -> str:
    return f"""echo '{json.dumps({"ServerURL": "x", "Username": user, "Secret": secret})}'"""


def test_a_program_is_asked(config: Config, programs: Path) -> None:
    program(programs, "shelf", f"""echo "$1 $server" >> {programs}/asked; {answers("me", SECRET)}""")
    file = config({"credHelpers": {"r.example": "shelf"}, "auths": {"r.example": {"username": "old", "password": "x"}}})
    assert file.find("r.example", "a/b") == MINE
    assert config({"credsStore": "shelf"}).find("docker.io") == MINE
    assert (programs / "asked").read_text() == "get r.example\nget https://index.docker.io/v1/\n"


def test_a_program_may_give_an_identity_token(config: Config, programs: Path) -> None:
    program(programs, "shelf", answers("<token>", "tok"))
    found = config({"credsStore": "shelf"}).find("r.example")
    assert found == Credential("", "tok", is_identity_token=True)


def test_a_program_that_knows_nothing_leaves_it_to_others(config: Config, programs: Path, tmp_path: Path) -> None:
    program(programs, "shelf", "echo credentials not found in native keychain; exit 1")
    first = config({"credsStore": "shelf"})
    other = tmp_path / "auth.json"
    other.write_text(json.dumps({"auths": {"r.example": {"auth": AUTH}}}))
    assert Logins((first.path, other)).find("r.example") == MINE


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo locked; exit 1", "get failed: locked"),
        ("exit 3", "get failed: exit code 3"),
        ("echo not json", "not of the form"),
        (f"echo '{SECRET}'", "not of the form"),
        ("echo '[]'", "not of the form"),
        ("""echo '{"Username": 1, "Secret": 2}'""", "not of the form"),
    ],
)
def test_error_a_program_that_fails(config: Config, programs: Path, script: str, words: str) -> None:
    program(programs, "shelf", script)
    with pytest.raises(MachineError, match=words) as caught:
        config({"credsStore": "shelf"}).find("r.example")
    assert str(caught.value).startswith("docker-credential-shelf: ")
    assert SECRET not in str(caught.value)
    assert "config.json" in (caught.value.hint or "")


@pytest.mark.parametrize("name", ["absent-shelf", "../../bin/x", "a b", 5])
def test_error_a_program_that_is_not_there(config: Config, name: object) -> None:
    with pytest.raises(MachineError, match="docker-credential-"):
        config({"credsStore": name}).find("r.example")


def test_the_files_and_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    docker, podman = tmp_path / ".docker/config.json", tmp_path / ".config/containers/auth.json"
    assert Settings({}).login_files == [docker, podman]
    assert Settings({"XDG_CONFIG_HOME": "/c", "XDG_RUNTIME_DIR": "/r"}).login_files == [
        docker,
        Path("/r/containers/auth.json"),
        Path("/c/containers/auth.json"),
    ]
    assert Settings({"REGISTRY_AUTH_FILE": "/f"}).login_files == [Path("/f"), docker, podman]
    assert Settings({"DOCKER_CONFIG": "/d", "REGISTRY_AUTH_FILE": "/f"}).login_files == [
        Path("/d/config.json"),
        Path("/f"),
        podman,
    ]


def test_the_first_file_that_has_a_login_wins(tmp_path: Path) -> None:
    paths = tuple(tmp_path / name for name in "abc")
    for path in paths[1:]:
        path.write_text(json.dumps({"auths": {"r.example": {"username": path.name, "password": "x"}}}))
    found = Logins(paths).find("r.example")
    assert found == Credential("b", "x")
    assert found
    assert found.source == str(paths[1])


def test_a_new_file_is_private_and_so_is_its_folder(tmp_path: Path) -> None:
    path = tmp_path / "new" / "config.json"
    assert LoginFile(path).add("r.example", MINE) == str(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert LoginFile(path).find("r.example") == MINE


def test_a_login_replaces_the_old_one_in_whatever_spelling(config: Config) -> None:
    file = config({"auths": {"https://r.example/v1/": {"auth": AUTH}, "r.example/a": {"auth": AUTH}}})
    file.add("r.example", Credential("new", "x"))
    assert list(json.loads(file.path.read_text())["auths"]) == ["r.example/a", "r.example"]
    assert file.remove("R.example")
    assert list(json.loads(file.path.read_text())["auths"]) == ["r.example/a"]
    assert not file.remove("r.example")


def test_no_secret_is_in_a_repr() -> None:
    assert SECRET not in repr(MINE)
    assert SECRET not in str(MINE)
