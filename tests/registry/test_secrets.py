"""A host that is not the registry's never sees what is the registry's: not by a realm, a redirect or an upload Location."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import requests
from corral.registry.errors import RegistryError
from corral.registry.patience import Patience
from corral.registry.remote import Remote
from corral.registry.session import Session
from corral.registry.trust import Origin, Place, check_way, may_see_credentials
from corral.registry.wire import Wire

from tests.conftest import PASSWORD, USER, Cli
from tests.registry.gatekeeper import BASIC, Gatekeeper


@pytest.fixture
def variables(keeper: Gatekeeper, tmp_path: Path) -> dict[str, str]:
    """An environment with a login to the one registry alone."""
    auth = BASIC.removeprefix("Basic ")
    (tmp_path / "config.json").write_text(json.dumps({"auths": {keeper.host: {"auth": auth}}}))
    return {"DOCKER_CONFIG": str(tmp_path)}


@pytest.fixture
def name(cli: Cli, tiny_gguf: Path, keeper: Gatekeeper, request: pytest.FixtureRequest) -> str:
    repository = request.node.name.partition("[")[0].lower()[:60].strip("_")
    made = f"{keeper.host}/crew/{repository}:v1"
    cli.ok("create", made, "-f", "-", stdin=f"FROM {tiny_gguf}\nSYSTEM {made}\n")
    return made


def test_a_blobs_redirect_elsewhere_is_followed_without_the_login(
    cli: Cli, name: str, keeper: Gatekeeper, stranger: Gatekeeper, variables: dict[str, str]
) -> None:
    pushed = cli.ok("push", name, **variables)
    cli.ok("rm", name)
    stranger.is_open = True

    keeper.divert = lambda seen: (
        (307, f"http://{stranger.host}{seen.path}") if seen.method == "GET" and "/blobs/" in seen.path else None
    )
    assert cli.ok("pull", name, **variables) == pushed
    assert len(stranger.asked("/blobs/")) > 1
    assert {seen.authorization for seen in stranger.seen} == {""}


def test_error_a_401_from_elsewhere_is_not_answered(
    cli: Cli, name: str, keeper: Gatekeeper, stranger: Gatekeeper, variables: dict[str, str]
) -> None:
    cli.ok("push", name, **variables)
    cli.ok("rm", name)
    keeper.divert = lambda seen: (302, f"http://{stranger.host}{seen.path}") if "/blobs/" in seen.path else None
    keeper.seen.clear()
    assert "401" in cli.error(4, "pull", name, **variables)
    assert {seen.authorization for seen in stranger.seen} == {""}
    assert stranger.asked("/token") == []


def test_an_upload_elsewhere_gets_the_bytes_and_no_login(
    cli: Cli, name: str, keeper: Gatekeeper, stranger: Gatekeeper, variables: dict[str, str]
) -> None:
    where = f"http://{stranger.host}/put/here"
    keeper.divert = lambda seen: (202, where) if seen.method == "POST" and "/uploads/" in seen.path else None
    stranger.divert = lambda seen: (201, "") if seen.path.startswith("/put/") else None
    cli.run("push", name, **variables)
    assert len(stranger.asked("/put/here?digest=sha256:")) > 1
    assert {seen.authorization for seen in stranger.seen} == {""}


def test_error_a_realm_elsewhere_is_asked_anonymously_and_it_is_said(
    cli: Cli, name: str, keeper: Gatekeeper, stranger: Gatekeeper, variables: dict[str, str]
) -> None:
    keeper.realm = f"http://{stranger.host}/token"
    said = cli.error(4, "push", name, **variables)
    assert "no credentials were sent to its token service localhost, which is on another domain" in said
    assert {seen.authorization for seen in stranger.seen} == {""}


def test_error_a_login_through_a_realm_elsewhere(
    cli: Cli, keeper: Gatekeeper, stranger: Gatekeeper, tmp_path: Path
) -> None:
    keeper.realm = f"http://{stranger.host}/token"
    arguments = ("login", keeper.host, "-u", USER, "--password-stdin")
    said = cli.error(4, *arguments, stdin=PASSWORD, DOCKER_CONFIG=str(tmp_path / "d"))
    assert "its token service localhost is on another domain" in said
    assert {seen.authorization for seen in stranger.seen} == {""}
    assert not (tmp_path / "d").exists()


def test_a_realm_elsewhere_that_the_user_named_gets_the_login(
    cli: Cli, name: str, keeper: Gatekeeper, stranger: Gatekeeper, variables: dict[str, str], tmp_path: Path
) -> None:
    keeper.realm = f"http://{stranger.host}/token"
    keeper.tokens = stranger.tokens
    config = tmp_path / "config.toml"
    config.write_text(f'[registry."{keeper.host}"]\nrealm = "localhost"\n')
    cli.ok("push", name, CORRAL_CONFIG=str(config), **variables)
    assert [seen.authorization for seen in stranger.seen] == [BASIC]


def test_the_login_of_one_registry_is_not_shown_to_another(
    cli: Cli, name: str, keeper: Gatekeeper, stranger: Gatekeeper, variables: dict[str, str]
) -> None:
    other = name.replace(keeper.host, stranger.host)
    cli.ok("cp", name, other)
    assert "corral login localhost" in cli.error(4, "push", other, **variables)
    assert {seen.authorization for seen in stranger.asked("/token")} == {""}


@pytest.mark.parametrize(
    ("location", "why"),
    [
        ("http://169.254.169.254/latest/meta-data", "link-local address"),
        ("http://user:pw@127.0.0.1/x", "is no host"),
        ("http://127.0.0.1\\@evil.example/x", "is no host"),
        ("gopher://127.0.0.1/x", "neither http nor https"),
    ],
)
def test_error_a_redirect_that_is_not_followed(
    cli: Cli, name: str, keeper: Gatekeeper, variables: dict[str, str], location: str, why: str
) -> None:
    cli.ok("push", name, **variables)
    keeper.divert = lambda seen: (307, location) if "/manifests/" in seen.path else None
    said = cli.error(4, "pull", name, **variables)
    assert why in said
    assert "is not followed" in said


LEADS: list[tuple[str, Place, str, bool]] = [
    ("https://registry.example", "public", "https://cdn.example/x", True),
    ("https://registry.example", "public", "http://cdn.example/x", False),
    ("http://registry.example", "public", "http://cdn.example/x", True),
    ("https://registry.example", "public", "https://10.0.0.1/x", False),
    ("https://registry.example", "public", "https://[fe80::1]/x", False),
    ("https://registry.example", "public", "https://[::ffff:169.254.169.254]/x", False),
    ("https://registry.example", "public", "https://localhost/x", False),
    ("https://registry.example", "public", "https://0.0.0.0/x", False),
    ("https://registry.example", "public", "https://100.64.0.1/x", False),
    ("https://registry.corp", "private", "https://10.0.0.1/x", True),
    ("https://registry.corp", "private", "https://127.0.0.1/x", False),
    ("https://registry.corp", "private", "https://169.254.169.254/x", False),
    ("http://127.0.0.1:5000", "loopback", "http://172.17.0.2:9000/x", True),
    ("http://127.0.0.1:5000", "loopback", "http://localhost:9000/x", True),
    ("http://127.0.0.1:5000", "loopback", "http://169.254.169.254/x", False),
]


@pytest.mark.parametrize(("registry", "home", "url", "allowed"), LEADS)
def test_where_a_reply_may_lead(registry: str, home: Place, url: str, *, allowed: bool) -> None:
    try:
        check_way(Origin.parse(url), Origin.parse(registry), home)
    except ValueError:
        assert not allowed
    else:
        assert allowed


REALMS = [
    ("https://registry-1.docker.io", "https://auth.docker.io/token", True),
    ("https://ghcr.io", "https://ghcr.io/token", True),
    ("https://ghcr.io:8443", "https://ghcr.io/token", True),
    ("https://registry.gitlab.com", "https://gitlab.com/jwt/auth", True),
    ("https://registry.corp.co.uk", "https://auth.corp.co.uk/", True),
    ("https://registry.co.uk", "https://evil.co.uk/", False),
    ("https://me.github.io", "https://you.github.io/", False),
    ("https://registry.example.com", "https://example.com.evil.net/", False),
    ("https://registry.example.com", "https://evilexample.com/", False),
    ("https://registry.example.com", "http://registry.example.com/", False),
    ("http://registry.example.com", "http://auth.example.com/", True),
    ("http://127.0.0.1:5000", "http://127.0.0.1:5001/", True),
    ("http://127.0.0.1:5000", "http://localhost:5001/", False),
    ("https://10.0.0.1", "https://11.0.0.1", False),
    ("https://registry", "https://auth", False),
    ("https://ghcr.io", "https://named.example/token", True),
]


@pytest.mark.parametrize(("registry", "realm", "trusted"), REALMS)
def test_whose_token_service_sees_a_login(registry: str, realm: str, *, trusted: bool) -> None:
    assert may_see_credentials(Origin.parse(realm), Origin.parse(registry), "named.example") is trusted


def test_error_a_name_that_leads_into_a_private_network(stranger: Gatekeeper) -> None:
    """What the address does not show, the connection does: `localhost` stands for any name with such an address."""
    wire = Wire("registry.example", Remote(), identity="the test", patience=Patience())
    wire.__dict__["_home"] = "public"
    try:
        with pytest.raises(RegistryError, match="it is at a loopback address"):
            wire.send("GET", f"http://{stranger.host}/secret")
    finally:
        wire.close()
    assert stranger.seen == []


@pytest.mark.parametrize("header", [None, "Bearer x"])
def test_a_netrc_is_not_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, header: str | None) -> None:
    (tmp_path / "netrc").write_text(f"default login {USER} password {PASSWORD}\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    headers = {"Authorization": header} if header else {}
    with Session(None, None, 30.0) as session:
        prepared = session.prepare_request(requests.Request("GET", "https://registry.example/v2/", headers=headers))
    assert prepared.headers.get("Authorization") == header
