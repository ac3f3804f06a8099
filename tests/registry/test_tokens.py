"""Bearer tokens, by a token service in front of a real registry: who asks for which, how often, and with what."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from corral.registry.credentials import Credential
from corral.registry.errors import RegistryError
from corral.registry.pull import pull
from corral.registry.push import push
from corral.registry.remote import Access, Remote
from corral.registry.transport import Registry
from corral.store.local import Store
from corral.store.name import Name

from tests.conftest import PASSWORD, USER, Cli
from tests.registry.gatekeeper import BASIC, REFRESH, Gatekeeper, Holds, known


@pytest.fixture
def store(cli: Cli, tiny_gguf: Path) -> Store:
    """A store with the model `small`: a config and five layers."""
    text = f"FROM {tiny_gguf}\nSYSTEM Be kind.\nPARAMETER seed 1\nLICENSE MIT\nMESSAGE user hi\n"
    cli.ok("create", "small", "-f", "-", stdin=text)
    return Store(cli.models)


def named(store: Store, keeper: Gatekeeper, repository: str) -> Name:
    """The model under a name in the keeper's registry."""
    name = Name.parse(f"{keeper.host}/{repository}:v1")
    store.tag(name, store.find(Name.parse("small")).manifest)
    return name


def elsewhere(store: Store) -> Store:
    return Store(store.root.parent / "elsewhere")


def scopes(path: str) -> list[str]:
    return parse_qs(urlsplit(path).query).get("scope", [])


def test_one_token_serves_a_push_and_one_a_pull(store: Store, keeper: Gatekeeper) -> None:
    name = named(store, keeper, "crew/once")
    pushed = push(name, store, access=known())
    (granted,) = keeper.asked("/token")
    assert granted.authorization == BASIC
    assert parse_qs(urlsplit(granted.path).query)["service"] == ["gate"]
    assert scopes(granted.path) == ["repository:crew/once:pull,push"]
    keeper.seen.clear()
    assert pull(name, elsewhere(store), access=known()).manifest == pushed.manifest
    (granted,) = keeper.asked("/token")
    assert scopes(granted.path) == ["repository:crew/once:pull"]
    assert all(seen.authorization.startswith("Bearer ") for seen in keeper.asked("/v2/")[1:])


def test_tokens_are_shared_by_what_uses_the_same_access(store: Store, keeper: Gatekeeper) -> None:
    access = known()
    for _ in range(3):
        push(named(store, keeper, "crew/again"), store, access=access)
    assert len(keeper.asked("/token")) == 1
    push(named(store, keeper, "crew/another"), store, access=access)
    # One for the repository, and one that also lets the blobs be taken from the other.
    assert len(keeper.asked("/token")) == 3


def test_without_a_login_a_public_model_is_pulled(store: Store, keeper: Gatekeeper) -> None:
    name = named(store, keeper, "crew/public")
    push(name, store, access=known())
    keeper.seen.clear()
    pull(name, elsewhere(store))
    assert [seen.authorization for seen in keeper.asked("/token")] == [""]


def test_error_without_a_login_a_private_one_is_not(store: Store, keeper: Gatekeeper) -> None:
    name = named(store, keeper, "crew/private")
    push(name, store, access=known())
    keeper.seen.clear()
    with pytest.raises(RegistryError) as caught:
        pull(name, elsewhere(store))
    assert caught.value.status == 401
    assert caught.value.hint == f"log in first: corral login {keeper.host}"
    assert len(keeper.asked("/token")) == 1


def test_error_a_wrong_password(store: Store, keeper: Gatekeeper) -> None:
    with pytest.raises(RegistryError, match=r"the token service 127\.0\.0\.1 refuses: 401") as caught:
        push(named(store, keeper, "crew/wrong"), store, access=known("wrong"))
    assert caught.value.hint
    assert "the login in the test was refused" in caught.value.hint
    assert "wrong" not in str(caught.value).replace("crew/wrong", "")


@pytest.mark.parametrize("uses", [1, 2, 3])
def test_a_token_that_dies_in_mid_push_is_renewed(store: Store, keeper: Gatekeeper, uses: int) -> None:
    """Every request, the upload of a blob among them, gets a 401 at some time, and is made once more."""
    keeper.uses = uses
    name = named(store, keeper, f"crew/dying{uses}")
    one_by_one = replace(known(), otherwise=Remote(connections=1))
    pushed = push(name, store, access=one_by_one)
    assert len(keeper.asked("/token")) >= 18 // uses
    assert pull(name, elsewhere(store), access=one_by_one).manifest == pushed.manifest


def test_a_token_is_renewed_before_it_expires(store: Store, keeper: Gatekeeper) -> None:
    keeper.answer = {"expires_in": 0.001}
    push(named(store, keeper, "crew/short"), store, access=replace(known(), otherwise=Remote(connections=1)))
    refused = [seen for seen in keeper.asked("/v2/") if not seen.authorization]
    assert len(refused) == 1
    assert len(keeper.asked("/token")) > 10


def test_the_age_of_a_token_is_told_by_its_services_clock(store: Store, keeper: Gatekeeper) -> None:
    now = datetime.now(UTC)
    keeper.answer = {"issued_at": (now - timedelta(seconds=300)).isoformat(), "expires_in": 290}
    push(named(store, keeper, "crew/aged"), store, access=known())
    assert len(keeper.asked("/token")) > 10
    keeper.seen.clear()
    keeper.answer = {"issued_at": now.isoformat().replace("+00:00", "Z"), "expires_in": 300}
    push(named(store, keeper, "crew/fresh"), store, access=known())
    # And one that also lets the blobs be taken from the other repository.
    assert len(keeper.asked("/token")) == 2


def test_error_a_token_that_is_never_good(store: Store, keeper: Gatekeeper) -> None:
    keeper.uses = 0
    with pytest.raises(RegistryError) as caught:
        push(named(store, keeper, "crew/never"), store, access=replace(known(), otherwise=Remote(connections=1)))
    assert caught.value.status == 401
    assert len(keeper.seen) == 3


def test_an_access_token_is_a_token(store: Store, keeper: Gatekeeper) -> None:
    keeper.answer = {"token": "", "access_token": "fixed"}
    keeper.grant(["repository:crew/access:pull,push"], is_known=True)
    keeper.tokens["fixed"] = keeper.tokens.popitem()[1]
    push(named(store, keeper, "crew/access"), store, access=known())
    assert {seen.authorization for seen in keeper.asked("/v2/crew/access/")} == {"", "Bearer fixed"}


def test_two_scopes_are_asked_for_together(store: Store, keeper: Gatekeeper) -> None:
    keeper.extra_scope = "repository:crew/source:pull"
    push(named(store, keeper, "crew/target"), store, access=known())
    (granted,) = keeper.asked("/token")
    assert scopes(granted.path) == ["repository:crew/source:pull", "repository:crew/target:pull,push"]


def test_an_identity_token_is_exchanged(store: Store, keeper: Gatekeeper) -> None:
    keeper.extra_scope = "repository:crew/source:pull"
    access = Access(logins=Holds(Credential("", REFRESH, is_identity_token=True)))
    push(named(store, keeper, "crew/identity"), store, access=access)
    (granted,) = keeper.asked("/token")
    assert granted.method == "POST"
    assert REFRESH not in granted.path
    assert parse_qs(granted.body) == {
        "grant_type": ["refresh_token"],
        "refresh_token": [REFRESH],
        "client_id": ["corral"],
        "service": ["gate"],
        "scope": ["repository:crew/identity:pull,push repository:crew/source:pull"],
    }


@pytest.mark.parametrize(
    "answer",
    [
        {"token": None},
        {"token": 5},
        {"token": "a b"},
        {"token": "a\r\nX-Evil: 1"},
        {"token": "é"},
        {"token": ["a"]},
    ],
)
def test_error_an_answer_without_a_token(store: Store, keeper: Gatekeeper, answer: dict[str, object]) -> None:
    keeper.answer = answer
    with pytest.raises(RegistryError, match="answered with no token"):
        push(named(store, keeper, "crew/none"), store, access=known())


@pytest.mark.parametrize("lifetime", [None, "soon", -1, 0, 10**400, float("inf"), float("nan"), True, []])
def test_an_odd_lifetime_is_survived(store: Store, keeper: Gatekeeper, lifetime: object) -> None:
    keeper.answer = {"expires_in": lifetime, "issued_at": lifetime}
    push(named(store, keeper, "crew/odd"), store, access=known())
    assert any(seen.method == "PUT" for seen in keeper.asked("/v2/crew/odd/manifests/"))


def test_no_secret_is_printed(store: Store, keeper: Gatekeeper) -> None:
    access = known()
    name = named(store, keeper, "crew/shown")
    push(name, store, access=access)
    tokens = list(keeper.tokens)
    text = repr(access) + repr(access.tokens) + repr(Registry(name, access=access))
    assert PASSWORD not in text
    assert not any(token in text for token in tokens)


def test_the_command_line_does_it_all(cli: Cli, store: Store, keeper: Gatekeeper, tmp_path: Path) -> None:
    name = str(named(store, keeper, "crew/cli"))
    variables = {"DOCKER_CONFIG": str(tmp_path)}
    arguments = ("login", keeper.host, "-u", USER, "--password-stdin")
    said = cli.error(4, *arguments, stdin="wrong", **variables)
    assert said.startswith(f"Error: {keeper.host}: wrong user or password\n")
    cli.ok(*arguments, stdin=PASSWORD, **variables)
    assert json.loads((tmp_path / "config.json").read_text())["auths"][keeper.host]
    pushed = cli.ok("push", name, **variables)
    cli.ok("rm", name)
    assert cli.ok("pull", name, **variables) == pushed
