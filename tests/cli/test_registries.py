"""The user's config.toml: what is said of registries, and mistakes with their line."""

from __future__ import annotations

from pathlib import Path

import pytest
from corral.cli.registries import read_registries
from corral.cli.settings import Settings
from corral.registry.remote import Remote
from corral.store.errors import InputError

from tests.conftest import Cli, DockerRegistry


def settings(tmp_path: Path, text: str, **variables: str) -> Settings:
    (tmp_path / "config.toml").write_text(text)
    return Settings({"CORRAL_CONFIG": str(tmp_path / "config.toml"), **variables})


WHOLE = """\
default_registry = "Registry.corp:5000"

[registry."Registry.corp:5000"]
http = false
insecure = true
ca_file = "ca.pem"
client_cert = "/etc/me.pem"
client_key = "~/me.key"
realm = "login.corp"

[registry.other]
http = true
"""


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
    )
    assert found.remote("OTHER") == Remote(http=True)
    assert found.remote("registry.corp") == Remote()


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
    assert found.remote("plain") == Remote(http=True, ca_file=Path("/x.pem"))
    assert found.remote("any") == Remote(ca_file=Path("/x.pem"))


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
