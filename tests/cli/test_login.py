"""`corral login` and `corral logout`, with a real registry that has an htpasswd file."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import stat
import sys
from pathlib import Path
from typing import Any, cast

import oras.client
import pexpect
import pytest
from corral.store.manifest import MANIFEST_TYPE

from tests.conftest import CORRAL, PASSWORD, USER, Cli, DockerRegistry, free_port

SECRET = "tr0ub4dor-secret"


@pytest.fixture
def docker(tmp_path: Path) -> Path:
    """A folder for docker's config.json, which is not there yet."""
    return tmp_path / "docker"


@pytest.fixture
def named(cli: Cli, tiny_gguf: Path, locked_registry: DockerRegistry, request: pytest.FixtureRequest) -> str:
    """A model in the store, named for the locked registry."""
    name = f"{locked_registry.host}/crew/{request.node.name.partition('[')[0].lower()[:60]}:v1"
    cli.ok("create", name, "-f", "-", stdin=f"FROM {tiny_gguf}\nSYSTEM {name}\n")
    return name


def log_in(cli: Cli, host: str, docker: Path, **variables: str) -> str:
    return cli.ok(
        "login", host, "-u", USER, "--password-stdin", stdin=f"{PASSWORD}\n", DOCKER_CONFIG=str(docker), **variables
    )


def test_one_logs_in_pushes_pulls_and_logs_out(cli: Cli, named: str, docker: Path) -> None:
    host = named.partition("/")[0]
    variables = {"DOCKER_CONFIG": str(docker)}
    said = cli.error(4, "push", named, **variables)
    assert "401 Unauthorized" in said
    assert f"  hint: log in first: corral login {host}\n" in said
    assert log_in(cli, host, docker) == f"logged in to {host} as {USER}; kept in {docker / 'config.json'}\n"
    pushed = cli.ok("push", named, **variables)
    cli.ok("rm", named)
    assert cli.ok("pull", named, **variables) == pushed
    assert cli.ok("logout", host, **variables) == f"logged out of {host}\n"
    assert json.loads((docker / "config.json").read_text()) == {"auths": {}}
    assert "corral login" in cli.error(4, "pull", named, **variables)
    assert f"not logged in by {docker / 'config.json'}" in cli.error(1, "logout", host, **variables)


def test_the_file_is_dockers_and_for_its_owners_eyes(cli: Cli, locked_registry: DockerRegistry, docker: Path) -> None:
    docker.mkdir()
    file = docker / "config.json"
    file.write_text('{"HttpHeaders": {"A": "é"}, "auths": {"other.example": {"auth": "eDp5"}}}')
    file.chmod(0o644)
    log_in(cli, locked_registry.host, docker)
    auth = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    wanted = {"other.example": {"auth": "eDp5"}, locked_registry.host: {"auth": auth}}
    assert json.loads(file.read_text()) == {"HttpHeaders": {"A": "é"}, "auths": wanted}
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(docker.iterdir()) == [file]


def test_a_config_that_is_a_link_stays_one(cli: Cli, locked_registry: DockerRegistry, docker: Path) -> None:
    docker.mkdir()
    (docker / "kept.json").write_text("{}")
    (docker / "config.json").symlink_to("kept.json")
    log_in(cli, locked_registry.host, docker)
    assert (docker / "config.json").is_symlink()
    assert "auths" in json.loads((docker / "kept.json").read_text())


def test_podmans_file_is_written_where_it_is_named(cli: Cli, locked_registry: DockerRegistry, tmp_path: Path) -> None:
    file = tmp_path / "auth.json"
    arguments = ("login", locked_registry.host, "-u", USER, "--password-stdin")
    assert str(file) in cli.ok(*arguments, stdin=PASSWORD, REGISTRY_AUTH_FILE=str(file))
    assert locked_registry.host in json.loads(file.read_text())["auths"]


def test_error_a_wrong_password_is_not_kept(cli: Cli, locked_registry: DockerRegistry, docker: Path) -> None:
    host = locked_registry.host
    variables = {"DOCKER_CONFIG": str(docker)}
    said = cli.error(4, "login", host, "-u", USER, "--password-stdin", stdin=SECRET, **variables)
    assert said == f"Error: {host}: wrong user or password\n  hint: nothing was stored; try again\n"
    assert not docker.exists()


def test_error_a_login_that_no_longer_holds(cli: Cli, named: str, docker: Path) -> None:
    docker.mkdir()
    auth = base64.b64encode(f"{USER}:{SECRET}".encode()).decode()
    host = named.partition("/")[0]
    (docker / "config.json").write_text(json.dumps({"auths": {host: {"auth": auth}}}))
    said = cli.error(4, "push", named, DOCKER_CONFIG=str(docker), OLLAMA_DEBUG="1")
    assert f"the login in {docker / 'config.json'} was refused" in said
    assert SECRET not in said
    assert auth not in said


def test_error_a_password_on_the_command_line(cli: Cli, locked_registry: DockerRegistry, docker: Path) -> None:
    for form in (["-p", SECRET], [f"--password={SECRET}"]):
        said = cli.error(1, "login", locked_registry.host, "-u", USER, *form, DOCKER_CONFIG=str(docker))
        assert "use --password-stdin" in said
        assert SECRET not in said
    assert "--password " not in cli.ok("login", "--help")
    assert not docker.exists()


@pytest.mark.parametrize(
    ("arguments", "stdin", "words"),
    [
        (["localhost:1", "-u", USER], None, "no terminal"),
        (["localhost:1", "--password-stdin"], "x", "no user name"),
        (["localhost:1", "-u", "a:b", "--password-stdin"], "x", "no user name"),
        (["localhost:1", "-u", USER, "--password-stdin"], "\n", "the password is empty"),
        (["localhost:1", "-u", USER, "--password-stdin"], "a\nb", "control characters"),
        (["localhost:1/crew", "-u", USER, "--password-stdin"], "x", "not a registry"),
        (["ftp://localhost:1", "-u", USER, "--password-stdin"], "x", "not a registry"),
        (["", "-u", USER, "--password-stdin"], "x", "not a registry"),
        (["a b", "-u", USER, "--password-stdin"], "x", "not a registry"),
        (["localhost:port", "-u", USER, "--password-stdin"], "x", "no registry"),
    ],
)
def test_error_input(cli: Cli, docker: Path, arguments: list[str], stdin: str | None, words: str) -> None:
    assert words in cli.error(1, "login", *arguments, stdin=stdin, DOCKER_CONFIG=str(docker))
    assert not docker.exists()


def test_error_no_registry_there(cli: Cli, served_url: str, docker: Path) -> None:
    variables = {"DOCKER_CONFIG": str(docker)}
    arguments = ("-u", USER, "--password-stdin")
    said = cli.error(4, "login", served_url, *arguments, stdin="x", **variables)
    assert "GET /v2/: 4" in said or "GET /v2/: 5" in said
    said = cli.error(4, "login", f"127.0.0.1:{free_port()}", *arguments, stdin="x", **variables)
    assert "Connection refused" in said
    assert not docker.exists()


def test_error_a_config_that_is_broken(cli: Cli, locked_registry: DockerRegistry, docker: Path) -> None:
    docker.mkdir()
    (docker / "config.json").write_text("{")
    arguments = ("login", locked_registry.host, "-u", USER, "--password-stdin")
    said = cli.error(1, *arguments, stdin=PASSWORD, DOCKER_CONFIG=str(docker))
    assert f"Error: {docker / 'config.json'}: no file of logins: " in said
    assert (docker / "config.json").read_text() == "{"


HELPER = f"""#!{sys.executable}
import json, pathlib, sys
file = pathlib.Path(__file__).with_name("kept.json")
kept = json.loads(file.read_text()) if file.exists() else {{}}
text = sys.stdin.read()
if sys.argv[1] == "store":
    entry = json.loads(text)
    kept[entry["ServerURL"]] = entry
elif text.strip() not in kept:
    print("credentials not found in native keychain")
    sys.exit(1)
elif sys.argv[1] == "get":
    print(json.dumps(kept[text.strip()]))
elif sys.argv[1] == "erase":
    del kept[text.strip()]
file.write_text(json.dumps(kept))
"""


@pytest.mark.parametrize("form", ["credsStore", "credHelpers"])
def test_a_program_keeps_the_login_where_docker_has_one(cli: Cli, named: str, docker: Path, form: str) -> None:
    host = named.partition("/")[0]
    docker.mkdir()
    program = docker / "docker-credential-shelf"
    program.write_text(HELPER)
    program.chmod(0o755)
    config = {"credsStore": "shelf"} if form == "credsStore" else {"credHelpers": {host: "shelf"}}
    (docker / "config.json").write_text(json.dumps(config))
    variables = {"DOCKER_CONFIG": str(docker), "PATH": f"{docker}:{os.environ['PATH']}"}
    printed = cli.ok("login", host, "-u", USER, "--password-stdin", stdin=PASSWORD, **variables)
    assert printed == f"logged in to {host} as {USER}; kept in docker-credential-shelf\n"
    assert json.loads((docker / "config.json").read_text()) == config | {"auths": {host: {}}}
    cli.ok("push", named, **variables)
    cli.ok("logout", host, **variables)
    assert json.loads((docker / "kept.json").read_text()) == {}
    assert json.loads((docker / "config.json").read_text()) == config | {"auths": {}}


def test_a_terminal_is_asked_and_does_not_show_the_password(
    cli: Cli, locked_registry: DockerRegistry, docker: Path
) -> None:
    child = cast("Any", pexpect).spawn(
        str(CORRAL),
        ["login", locked_registry.host],
        env=cli.environment | {"DOCKER_CONFIG": str(docker)},
        encoding="utf-8",
        timeout=30,
    )
    child.expect("Username: ")
    child.sendline(USER)
    child.expect("Password: ")
    child.sendline(PASSWORD)
    child.expect(pexpect.EOF)
    assert "logged in to" in str(child.before)
    assert PASSWORD not in str(child.before)
    child.close()
    assert child.exitstatus == 0


def test_oras_reads_what_was_written(cli: Cli, named: str, docker: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another client gets what Corral pushed, with the login that Corral left."""
    host, _, rest = named.partition("/")
    log_in(cli, host, docker)
    pushed = cli.ok("push", named, DOCKER_CONFIG=str(docker))
    client = oras.client.OrasClient(insecure=True, auth_backend="basic")
    monkeypatch.setenv("ORAS_USER", "")
    client.auth.load_configs(client.get_container(named), configs=[str(docker / "config.json")])
    url = f"http://{host}/v2/{rest.replace(':v1', '/manifests/v1')}"
    reply = client.do_request(url, headers={"Accept": MANIFEST_TYPE})
    assert f"sha256:{hashlib.sha256(reply.content).hexdigest()}" == pushed.split()[1]


def test_a_login_elsewhere_is_mentioned(
    cli: Cli, locked_registry: DockerRegistry, docker: Path, tmp_path: Path
) -> None:
    log_in(cli, locked_registry.host, docker)
    other = tmp_path / "auth.json"
    other.write_text((docker / "config.json").read_text())
    variables = {"DOCKER_CONFIG": str(docker), "REGISTRY_AUTH_FILE": str(other)}
    done = cli.run("logout", locked_registry.host, **variables)
    assert done.returncode == 0
    assert f"another login to {locked_registry.host} is in {other}" in done.stderr
