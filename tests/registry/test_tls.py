"""A registry with TLS from an authority of its own: named, unknown, not looked at; and one that wants certificates itself."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest

from tests.conftest import PASSWORD, USER, Cli, DockerRegistry, running_registry


@pytest.fixture(scope="session")
def mutual_registry(authority: Path, tmp_path_factory: pytest.TempPathFactory) -> Generator[DockerRegistry]:
    """A real registry that wants a certificate of its clients."""
    files = f"certificate: {authority}/server.pem, key: {authority}/server.key, clientcas: [{authority}/ca.pem]"
    with running_registry(tmp_path_factory.mktemp("mutual"), tls=f"tls: {{{files}}}") as running:
        yield running


@pytest.fixture
def small(cli: Cli, tiny_gguf: Path) -> Cli:
    cli.ok("create", "small", "-f", "-", stdin=f"FROM {tiny_gguf}\n")
    return cli


def comes_back(cli: Cli, typed: str, *options: str, **variables: str) -> None:
    """Push and pull the model under this name."""
    name = typed.partition("://")[2] or typed
    cli.ok("cp", "small", name)
    pushed = cli.ok("push", typed, *options, **variables)
    cli.ok("rm", name)
    assert cli.ok("pull", typed, *options, **variables) == pushed


def logged_in(cli: Cli, host: str, folder: Path, *options: str, **variables: str) -> dict[str, str]:
    """Log in; the environment to go on with."""
    variables |= {"DOCKER_CONFIG": str(folder / "docker")}
    cli.ok("login", f"https://{host}", "-u", USER, "--password-stdin", *options, stdin=PASSWORD, **variables)
    return variables


def test_an_authority_named_by_a_variable(small: Cli, tls_registry: DockerRegistry, authority: Path) -> None:
    host = tls_registry.host
    variables = logged_in(small, host, small.folder, CORRAL_CA_FILE=str(authority / "ca.pem"))
    comes_back(small, f"https://{host}/tls/variable:v1", **variables)


def test_an_authority_named_in_the_users_file(small: Cli, tls_registry: DockerRegistry, authority: Path) -> None:
    host = tls_registry.host
    config = authority / "config.toml"
    config.write_text(f'[registry."{host}"]\nhttp = false\nca_file = "ca.pem"\n')
    variables = logged_in(small, host, small.folder, CORRAL_CONFIG=str(config))
    comes_back(small, f"{host}/tls/file:v1", **variables)


def test_error_an_authority_that_is_not_known(small: Cli, tls_registry: DockerRegistry) -> None:
    name = f"{tls_registry.host}/tls/unknown:v1"
    said = small.error(4, "pull", f"https://{name}")
    assert f"Error: {name}: cannot reach {tls_registry.host}: TLS failed: " in said
    assert "certificate verify failed" in said
    assert "  hint: name its authority with CORRAL_CA_FILE or ca_file in config.toml; --insecure does not look" in said
    said = small.error(4, "login", f"https://{tls_registry.host}", "-u", USER, "--password-stdin", stdin=PASSWORD)
    assert "certificate verify failed" in said


def test_insecure_does_not_look(small: Cli, tls_registry: DockerRegistry) -> None:
    host = tls_registry.host
    variables = logged_in(small, host, small.folder, "--insecure")
    comes_back(small, f"https://{host}/tls/insecure:v1", "--insecure", **variables)
    comes_back(small, f"{host}/tls/insecure:v2", "--insecure", **variables)
    comes_back(small, f"{host}/tls/insecure:v3", CORRAL_INSECURE=f"other.example,{host}", **variables)
    assert "certificate verify failed" in small.error(
        4, "pull", f"https://{host}/tls/insecure:v1", CORRAL_INSECURE="other.example", **variables
    )


def test_insecure_finds_a_registry_without_tls(small: Cli, docker_registry: DockerRegistry) -> None:
    comes_back(small, f"{docker_registry.host}/tls/plain:v1", "--insecure")


def test_error_http_to_a_registry_with_tls(small: Cli, tls_registry: DockerRegistry) -> None:
    assert "400" in small.error(4, "pull", f"http://{tls_registry.host}/tls/x:v1")


@pytest.mark.parametrize("is_in_one_file", [True, False])
def test_a_clients_certificate_is_shown(
    small: Cli, mutual_registry: DockerRegistry, authority: Path, *, is_in_one_file: bool
) -> None:
    variables = {"CORRAL_CA_FILE": str(authority / "ca.pem"), "CORRAL_CLIENT_CERT": str(authority / "client.pem")}
    if is_in_one_file:
        both = small.folder / "both.pem"
        both.write_text((authority / "client.pem").read_text() + (authority / "client.key").read_text())
        variables["CORRAL_CLIENT_CERT"] = str(both)
    else:
        variables["CORRAL_CLIENT_KEY"] = str(authority / "client.key")
    comes_back(small, f"https://{mutual_registry.host}/tls/mutual:v{is_in_one_file:d}", **variables)


def test_error_no_certificate_of_the_clients(small: Cli, mutual_registry: DockerRegistry, authority: Path) -> None:
    name = f"https://{mutual_registry.host}/tls/none:v1"
    said = small.error(4, "pull", name, CORRAL_CA_FILE=str(authority / "ca.pem"))
    assert "certificate required" in said or "cannot reach" in said


@pytest.mark.parametrize("variable", ["CORRAL_CA_FILE", "CORRAL_CLIENT_CERT"])
@pytest.mark.parametrize("content", [None, "not pem"])
def test_error_a_file_that_cannot_be_used(small: Cli, variable: str, content: str | None) -> None:
    file = small.folder / "x.pem"
    if content is not None:
        file.write_text(content)
    said = small.error(1, "pull", "https://127.0.0.1:1/tls/x:v1", **{variable: str(file)})
    assert f"Error: {file}: cannot be used as {variable.removeprefix('CORRAL_').lower()}: " in said
    assert "  hint: it must be a PEM file" in said
