"""The user's config.toml: what is said of registries, and mistakes with their line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from corral.cli.registries import read_registries
from corral.cli.settings import Settings
from corral.registry.formats.writing import FORMS
from corral.registry.remote import FORMATS, Remote
from corral.store.errors import InputError

from tests.conftest import Cli, DockerRegistry


def settings(tmp_path: Path, text: str, **variables: str) -> Settings:
    (tmp_path / "config.toml").write_text(text)
    return Settings({"CORRAL_CONFIG": str(tmp_path / "config.toml"), **variables})


WHOLE = """\
default_registry = "Registry.corp:5000"
connections = 3
bandwidth = "10MB"

[registry."Registry.corp:5000"]
http = false
insecure = true
ca_file = "ca.pem"
client_cert = "/etc/me.pem"
client_key = "~/me.key"
realm = "login.corp"
ollama_key = true
mirrors = ["mirror.corp", "mirror.corp:5000"]
format = "oci"
connections = 8
bandwidth = 4096

[registry.other]
http = true
"""
FOR_ALL = Remote(connections=3, bandwidth=10_000_000)


def test_all_that_can_be_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    found = read_registries(settings(tmp_path, WHOLE))
    assert found.host("registry.ollama.ai") == "Registry.corp:5000"
    assert found.host("ghcr.io") == "ghcr.io"
    assert found.remote("registry.corp:5000") == Remote(
        http=False,
        insecure=True,
        ca_file=tmp_path / "ca.pem",
        client_cert=Path("/etc/me.pem"),
        client_key=Path("/home/me/me.key"),
        realm="login.corp",
        ollama_key=True,
        mirrors=("mirror.corp", "mirror.corp:5000"),
        format="oci",
        connections=8,
        bandwidth=4096,
    )
    assert found.remote("OTHER") == replace(FOR_ALL, http=True)
    assert found.remote("registry.corp") == FOR_ALL


def test_a_variable_wins(tmp_path: Path) -> None:
    variables = {
        "CORRAL_CA_FILE": "/x.pem",
        "CORRAL_HTTP": "plain, Registry.corp:5000",
        "CORRAL_DEFAULT_REGISTRY": "mine",
    }
    found = read_registries(settings(tmp_path, WHOLE, **variables))
    assert found.default_registry == "mine"
    remote = found.remote("registry.corp:5000")
    assert (remote.http, remote.ca_file, remote.client_cert) == (True, Path("/x.pem"), Path("/etc/me.pem"))
    assert found.remote("plain") == replace(FOR_ALL, http=True, ca_file=Path("/x.pem"))
    assert found.remote("any") == replace(FOR_ALL, ca_file=Path("/x.pem"))


def test_a_variable_wins_for_transfers_too(tmp_path: Path) -> None:
    variables = {
        "CORRAL_CONNECTIONS": "64",
        "OLLAMA_BANDWIDTH": "1.5 MiB/s",
        "CORRAL_FORMAT": "modelpack",
        "CORRAL_MIRRORS": "registry.CORP:5000=one,registry.corp:5000=two:5001, named=three, other=",
        "CORRAL_OLLAMA_KEY": "named",
        "CORRAL_REALM": "named=login.corp,registry.corp:5000=",
        "CORRAL_INSECURE": "named,alone",
    }
    found = read_registries(settings(tmp_path, WHOLE, **variables))
    remote = found.remote("registry.corp:5000")
    assert (remote.connections, remote.bandwidth, remote.format) == (64, 3 << 19, "modelpack")
    assert (remote.mirrors, remote.realm) == (("one", "two:5001"), None)
    said = Remote(connections=64, bandwidth=3 << 19, format="modelpack")
    assert found.remote("named") == replace(
        said, mirrors=("three",), realm="login.corp", ollama_key=True, insecure=True
    )
    assert found.remote("alone") == replace(said, insecure=True)
    assert found.remote("other") == replace(said, http=True)


def test_a_variable_can_say_that_there_is_no_mirror(tmp_path: Path) -> None:
    found = read_registries(settings(tmp_path, WHOLE, CORRAL_MIRRORS="registry.corp:5000="))
    assert found.remote("registry.corp:5000").mirrors == ()


def test_an_option_wins_over_both(tmp_path: Path) -> None:
    said = settings(tmp_path, WHOLE, CORRAL_CONNECTIONS="2", CORRAL_CA_FILE="/env.pem")
    found = read_registries(said.with_options(connections=5, ca_file="/mine.pem", bandwidth=None))
    remote = found.remote("registry.corp:5000")
    assert (remote.connections, remote.ca_file, remote.bandwidth) == (5, Path("/mine.pem"), 4096)


def test_what_can_be_said_of_the_format_is_what_can_be_written() -> None:
    assert FORMATS == FORMS


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("CORRAL_CONNECTIONS", "0", "expected a number from 1 to 64"),
        ("CORRAL_CONNECTIONS", "65", "expected a number from 1 to 64"),
        ("CORRAL_CONNECTIONS", "many", "expected a number from 1 to 64"),
        ("CORRAL_CONNECTIONS", "9" * 30, "expected a number from 1 to 64"),
        ("OLLAMA_BANDWIDTH", "fast", "expected bytes, as in"),
        ("CORRAL_BANDWIDTH", "0", "expected at least a byte a second"),
        ("CORRAL_BANDWIDTH", "-1", "expected bytes, as in"),
        ("CORRAL_BANDWIDTH", "9" * 12 + "TB", "expected at least a byte a second"),
        ("CORRAL_FORMAT", "zip", "expected one of ollama, oci, modelpack"),
        ("CORRAL_MIRRORS", "mirror", "expected REGISTRY=HOST"),
        ("CORRAL_REALM", "login.corp", "expected REGISTRY=HOST"),
        ("CORRAL_MIRRORS", "=mirror", "expected REGISTRY=HOST"),
        ("CORRAL_MIRRORS", "a=http://b", "expected REGISTRY=HOST"),
    ],
)
def test_error_what_a_variable_cannot_say(tmp_path: Path, variable: str, value: str, words: str) -> None:
    with pytest.raises(InputError) as caught:
        read_registries(settings(tmp_path, "", **{variable: value}))
    assert str(caught.value).startswith(f"{variable}: ")
    assert words in str(caught.value)


def test_error_an_option_is_named_as_it_was_typed(cli: Cli) -> None:
    said = cli.error(1, "pull", "localhost:1/a/b", "--bandwidth", "fast")
    assert said.startswith('Error: --bandwidth: "fast": expected bytes, as in "10MB", "512KiB" or 4096')
    assert '--format: "zip": expected one of' in cli.error(1, "push", "x", "--format", "zip")
    assert cli.run("pull", "localhost:1/a/b", "--connections", "65").returncode == 2


@pytest.mark.parametrize("text", ["", "# nothing\n", "[registry]\n", "[registry.x]\n"])
def test_little_may_be_said(tmp_path: Path, text: str) -> None:
    assert read_registries(settings(tmp_path, text)).remote("x") == Remote()


def test_the_file_is_found_where_such_files_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Settings({}).config_file == tmp_path / ".config/corral/config.toml"
    assert Settings({"XDG_CONFIG_HOME": "/x"}).config_file == Path("/x/corral/config.toml")
    assert Settings({"CORRAL_CONFIG": "/y", "XDG_CONFIG_HOME": "/x"}).config_file == Path("/y")
    assert read_registries(Settings({})).remote("x") == Remote()


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("\n\ncolour = 1\n", 3, '"colour": unknown key'),
        ("[colour]\n", 1, '"colour": unknown key'),
        ("[registry.a]\nhttp = true\n\n[registry.b]\nhttp = true\nhtpp = true\n", 6, '"htpp": unknown key'),
        ('[registry."a:1"]\n"x y" = 1\n', 2, '"x y": unknown key'),
        ('[registry.a]\nhttp = "yes"\n', 2, '"http": expected true or false'),
        ("[registry.a]\nca_file = 5\n", 2, '"ca_file": expected text in quotes'),
        ("default_registry = 5\n", 1, '"default_registry": expected text in quotes'),
        ("\nregistry = 5\n", 2, '"registry": expected a table'),
        ("[registry]\na = 5\n", 2, '"a": expected a table'),
        ("[registry.a.b]\n", 1, '"b": unknown key'),
        ("[registry]\na.b = 1\n", 1, '"b": unknown key'),
        ("connections = 0\n", 1, '"connections": expected a number from 1 to 64'),
        ("connections = true\n", 1, '"connections": expected a number from 1 to 64'),
        ("[registry.a]\nconnections = 1.5\n", 2, '"connections": expected a number from 1 to 64'),
        ('bandwidth = "10 apples"\n', 1, '"bandwidth": expected bytes, as in'),
        ("bandwidth = 0\n", 1, '"bandwidth": expected at least a byte a second'),
        ("bandwidth = []\n", 1, '"bandwidth": expected bytes a second'),
        ('format = "oci"\n', 1, '"format": unknown key'),
        ('[registry.a]\nformat = "OCI"\n', 2, '"format": expected one of ollama, oci, modelpack'),
        ('[registry.a]\nformat = ["oci"]\n', 2, '"format": expected one of ollama, oci, modelpack'),
        ('[registry.a]\nmirrors = "b"\n', 2, '"mirrors": expected a list in [ ]'),
        ("[registry.a]\nmirrors = [5]\n", 2, '"mirrors": "5": expected a registry'),
        ('[registry.a]\nmirrors = [\n"b",\n"b/c"]\n', 2, '"mirrors": "b/c": expected a registry'),
        ('[registry.a]\nollama_key = "yes"\n', 2, '"ollama_key": expected true or false'),
        ("\nx = = 1", None, "(at line 2, column 5)"),
    ],
)
def test_error_what_cannot_be_said(tmp_path: Path, text: str, line: int | None, words: str) -> None:
    with pytest.raises(InputError) as caught:
        read_registries(settings(tmp_path, text))
    where = f":{line}" if line else ""
    assert str(caught.value).startswith(f"{tmp_path / 'config.toml'}{where}: ")
    assert words in str(caught.value)
    assert caught.value.hint


def test_error_a_file_that_is_named_and_not_there(cli: Cli) -> None:
    said = cli.error(5, "pull", "localhost:1/a/b", CORRAL_CONFIG="/nowhere/config.toml")
    assert "Error: /nowhere/config.toml: cannot read: No such file or directory" in said


def test_a_name_without_a_host_leads_to_the_default_registry(
    cli: Cli, tiny_gguf: Path, docker_registry: DockerRegistry, tmp_path: Path
) -> None:
    cli.ok("create", "crew/byname", "-f", "-", stdin=f"FROM {tiny_gguf}\n")
    variables = {"CORRAL_DEFAULT_REGISTRY": docker_registry.host}
    pushed = cli.ok("push", "crew/byname", **variables)
    cli.ok("rm", "crew/byname")
    assert cli.ok("pull", "crew/byname", **variables) == pushed
    assert pushed.startswith("crew/byname:latest ")
    other = Cli(tmp_path / "other", cli.folder)
    assert other.ok("pull", f"{docker_registry.host}/crew/byname").split()[1] == pushed.split()[1]
    said = cli.error(4, "pull", "crew/absent", **variables)
    assert f"crew/absent:latest: not found in the registry {docker_registry.host}" in said
