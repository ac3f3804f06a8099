"""`corral keys`, and the command line as a client of a server that asks for one."""

from __future__ import annotations

import json
import re
import stat
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import CORRAL, Cli, serving


@pytest.fixture
def keyed(cli: Cli, tmp_path: Path) -> tuple[Cli, dict[str, str]]:
    """The command line, and the variables by which its keys are in a file of the test's."""
    return cli, {"CORRAL_KEYS": str(tmp_path / "secret" / "keys.json")}


def test_a_key_is_made_shown_once_listed_and_removed(keyed: tuple[Cli, dict[str, str]]) -> None:
    cli, where = keyed
    done = cli.run("keys", "add", "laptop", **where)
    secret = done.stdout.removesuffix("\n")
    assert (done.returncode, done.stdout.count("\n")) == (0, 1)
    assert re.fullmatch(r"ck_[A-Za-z0-9_-]{32,}", secret)
    assert secret not in done.stderr
    path = Path(where["CORRAL_KEYS"])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert secret not in path.read_text()
    cli.ok("keys", "add", "ci", "--scope", "manage", "--scope", "infer", **where)
    header, *lines = cli.ok("keys", "list", **where).splitlines()
    assert header.split() == ["NAME", "SCOPES", "CREATED", "ENDS", "IN"]
    assert [line.split()[:2] for line in lines] == [["laptop", "infer"], ["ci", "infer,"]]
    assert lines[0].rstrip().endswith(f"…{secret[-4:]}")
    assert secret not in cli.ok("keys", "list", **where)
    listed = json.loads(cli.ok("keys", "list", "--json", **where))["keys"]
    assert [list(key) for key in listed] == [["name", "scopes", "created", "ending"]] * 2
    assert cli.ok("keys", "rm", "laptop", **where) == "removed 'laptop'\n"
    assert "nobody" in cli.run("keys", "rm", "ci", **where).stderr
    assert json.loads(cli.ok("keys", "list", "--json", **where)) == {"keys": []}


def test_a_key_is_given_repositories_and_then_no_scope_unless_one_is_given(keyed: tuple[Cli, dict[str, str]]) -> None:
    cli, where = keyed
    cli.ok("keys", "add", "a", "--read", "crew/*", "--read", "word", "--write", "*/mine", **where)
    cli.ok("keys", "add", "b", "--scope", "infer", "--write", "*", **where)
    listed = json.loads(cli.ok("keys", "list", "--json", **where))["keys"]
    assert [(key["scopes"], key.get("read"), key.get("write")) for key in listed] == [
        ([], ["crew/*", "library/word"], ["*/mine"]),
        (["infer"], None, ["*"]),
    ]
    table = cli.ok("keys", "list", **where)
    assert "read crew/*, read library/word, write */mine" in table
    assert "infer, write *" in table


def test_keys_are_kept_among_the_users_settings(cli: Cli, tmp_path: Path) -> None:
    cli.ok("keys", "add", "a", XDG_CONFIG_HOME=str(tmp_path / "config"))
    assert (tmp_path / "config" / "corral" / "keys.json").is_file()
    assert not cli.models.exists()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["add", "a b"], 1, "not a name for a key"),
        (["add", "taken"], 1, "there is a key of this name"),
        (["add", "x", "--scope", "root"], 1, "no such scope"),
        (["add", "x", "--read", "Crew/*"], 1, "no pattern of repositories"),
        (["add", "x", "--write", ""], 1, "no pattern of repositories"),
        (["rm", "absent"], 1, "no such key"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,  # pyright: ignore[reportUnknownArgumentType, reportUnknownLambdaType]
)
def test_error_keys_that_cannot_be(
    keyed: tuple[Cli, dict[str, str]], arguments: list[str], code: int, words: str
) -> None:
    cli, where = keyed
    cli.ok("keys", "add", "taken", **where)
    assert words in cli.error(code, "keys", *arguments, **where)


def test_error_a_file_of_keys_that_is_none(keyed: tuple[Cli, dict[str, str]]) -> None:
    cli, where = keyed
    path = Path(where["CORRAL_KEYS"])
    path.parent.mkdir()
    path.write_text("{}")
    for arguments in (["keys", "list"], ["keys", "add", "x"], ["serve"]):
        assert "no file of API keys" in cli.error(1, *arguments, **where)


@pytest.mark.parametrize("variable", ["CORRAL_API_KEY", "OLLAMA_API_KEY"])
def test_the_command_line_sends_the_key_of_its_environment(
    keyed: tuple[Cli, dict[str, str]], tiny_gguf: Path, variable: str
) -> None:
    cli, where = keyed
    cli.ok("create", "x", "-f", "-", stdin=f"FROM {tiny_gguf}\n")
    secret = cli.ok("keys", "add", "laptop", **where).strip()
    with serving(cli, **where) as url:
        assert json.loads(cli.ok("ps", "--json", OLLAMA_HOST=url, **{variable: secret})) == {"models": []}
        (cli.folder / ".netrc").write_text("machine 127.0.0.1 login someone password else\n")
        (cli.folder / ".netrc").chmod(0o600)
        variables = {variable: secret, "NETRC": str(cli.folder / ".netrc"), "OLLAMA_HOST": url}
        assert json.loads(cli.ok("ps", "--json", **variables)) == {"models": []}
        said = cli.error(4, "ps", OLLAMA_HOST=url)
        assert "this server needs an API key" in said
        assert "CORRAL_API_KEY" in said
        assert "not known" in cli.error(4, "ps", OLLAMA_HOST=url, **{variable: "wrong"})


@pytest.mark.parametrize("key", ["ké", "a\tb", "a\nX-Other: b"])
def test_error_a_key_that_no_header_holds(cli: Cli, key: str) -> None:
    said = cli.error(1, "ps", CORRAL_API_KEY=key)
    assert "CORRAL_API_KEY: no API key" in said
    assert key not in said


@contextmanager
def exposed(cli: Cli, *arguments: str, **variables: str) -> Generator[list[str]]:
    """What a server says at its start that other machines can reach."""
    process = subprocess.Popen(
        [CORRAL, "serve", *arguments],
        env=cli.environment | {"OLLAMA_HOST": "0.0.0.0:0"} | variables,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        first = process.stderr.readline()
        process.terminate()
        yield [first, process.stderr.read()]
    finally:
        assert process.wait(30) == 0
        process.stderr.close()


def test_a_server_that_others_can_reach_warns_unless_it_has_keys(keyed: tuple[Cli, dict[str, str]]) -> None:
    cli, where = keyed
    with exposed(cli, **where) as said:
        assert said[0].startswith("Listening on 0.0.0.0:")
        assert "may use its models" in said[1]
        assert "corral keys add" in said[1]
    with exposed(cli, "--allow-manage", **where) as said:
        assert "may use and change its models" in said[1]
    with exposed(cli, CORRAL_ALLOW_MANAGE="1", **where) as said:
        assert "may use and change its models" in said[1]
    with exposed(cli, CORRAL_ALLOW_MANAGE="no", **where) as said:
        assert "may use its models" in said[1]
    cli.ok("keys", "add", "a", **where)
    with exposed(cli, **where) as said:
        assert said[1] == ""
