"""Mirrors: asked first, never with the registry's login, never believed, and passed over when they fail."""

from __future__ import annotations

import random
from collections.abc import Generator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from corral.registry.credentials import Credential
from corral.registry.errors import RegistryError
from corral.registry.patience import Patience
from corral.registry.pull import pull
from corral.registry.remote import Access, Remote
from corral.store.errors import MismatchError
from corral.store.local import Store
from corral.store.manifest import Manifest
from corral.store.name import Name

from tests.conftest import PASSWORD, USER
from tests.registry.exchange import served
from tests.registry.faulty import FaultyRegistry, digest_of, refusal
from tests.registry.random_models import random_model
from tests.store.promises import whole_models

HASTE = Patience(retries=1, first_wait=0.01, stall=2)


@pytest.fixture
def pair() -> Generator[tuple[FaultyRegistry, FaultyRegistry, Manifest]]:
    """A registry that wants a login, its mirror that wants none, and the model that both have."""
    manifest, contents = random_model(random.Random(5), 70_000, 300_000, 5)
    with ExitStack() as stack:
        origin, mirror = FaultyRegistry(), FaultyRegistry(login="")
        for one in (origin, mirror):
            stack.enter_context(served(one))
            one.hold("crew/x", "v1", manifest, contents.values())
        yield origin, mirror, manifest


@dataclass(frozen=True)
class OneLogin:
    """As a file has it: for one registry, by host and port."""

    host: str

    def find(self, host: str, repository: str = "") -> Credential | None:  # noqa: ARG002 - the protocol's
        return Credential(USER, PASSWORD) if host == self.host else None


def access(origin: FaultyRegistry, *mirrors: str) -> Access:
    return Access({origin.host: Remote(mirrors=mirrors)}, logins=OneLogin(origin.host), patience=HASTE)


def pulled(store: Store, origin: FaultyRegistry, *mirrors: str) -> Manifest:
    return pull(Name.parse(f"{origin.host}/crew/x:v1"), store, access=access(origin, *mirrors)).manifest


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "models")


Pair = tuple[FaultyRegistry, FaultyRegistry, Manifest]


def test_a_mirror_saves_the_registry_all_requests(pair: Pair, store: Store) -> None:
    origin, mirror, manifest = pair
    assert pulled(store, origin, mirror.host) == manifest
    assert origin.seen == []
    assert all(request.query["ns"] == origin.host for request in mirror.seen)
    whole_models(store, {"x": [manifest]})


def test_a_mirror_never_sees_the_registrys_login(pair: Pair, store: Store) -> None:
    origin, mirror, _ = pair
    assert mirror.host.partition(":")[0] == origin.host.partition(":")[0]
    mirror.login = "Basic somebody-else"
    pulled(store, origin, mirror.host)
    assert {request.headers.get("authorization") for request in mirror.seen} == {None}
    assert origin.seen


@pytest.mark.parametrize("status", [401, 403, 404, 500, 503])
def test_a_mirror_that_has_nothing_is_passed_over(pair: Pair, store: Store, status: int) -> None:
    origin, mirror, manifest = pair
    mirror.faults = [lambda _request, _sound: refusal(status, "UNKNOWN")]
    assert pulled(store, origin, mirror.host) == manifest
    whole_models(store, {"x": [manifest]})


def test_a_mirror_that_is_not_there_is_passed_over(pair: Pair, store: Store) -> None:
    origin, mirror, manifest = pair
    assert pulled(store, origin, "127.0.0.1:1", mirror.host) == manifest
    assert origin.seen == []


def test_what_a_mirror_has_wrong_comes_from_the_registry(pair: Pair, store: Store) -> None:
    origin, mirror, manifest = pair
    spoilt = str(manifest.layers[1].digest)
    mirror.blobs[spoilt] = bytes(manifest.layers[1].size)
    assert pulled(store, origin, mirror.host) == manifest
    whole_models(store, {"x": [manifest]})
    fetched = {request.path.rpartition("/")[2] for request in origin.seen if "/blobs/" in request.path}
    assert fetched == {spoilt}


def test_what_a_mirror_lacks_comes_from_the_registry(pair: Pair, store: Store) -> None:
    origin, mirror, manifest = pair
    missing = str(manifest.layers[0].digest)
    mirror.linked.discard(("crew/x", missing))
    assert pulled(store, origin, mirror.host) == manifest
    whole_models(store, {"x": [manifest]})


def test_error_where_nobody_has_it_the_registrys_word_is_the_one(pair: Pair, store: Store) -> None:
    origin, mirror, manifest = pair
    for one in (origin, mirror):
        one.linked.discard(("crew/x", str(manifest.layers[0].digest)))
    with pytest.raises(RegistryError) as caught:
        pulled(store, origin, mirror.host)
    assert caught.value.status == 404
    assert store.tags.models() == ([], [])


def test_error_where_both_have_it_wrong_nothing_is_kept(pair: Pair, store: Store) -> None:
    origin, mirror, manifest = pair
    for one in (origin, mirror):
        one.blobs[str(manifest.layers[1].digest)] = bytes(manifest.layers[1].size)
    with pytest.raises(MismatchError) as caught:
        pulled(store, origin, mirror.host)
    assert digest_of(bytes(manifest.layers[1].size)) in str(caught.value)
    assert origin.host in str(caught.value)
    assert store.tags.models() == ([], [])
    assert list(store.blobs) == []


def test_a_mirror_may_not_name_another_manifest_for_a_digest(pair: Pair, store: Store) -> None:
    origin, mirror, manifest = pair
    other, contents = random_model(random.Random(6), 1000)
    mirror.hold("crew/x", "v1", other, contents.values())
    mirror.manifests["crew/x", str(manifest.digest)] = mirror.manifests["crew/x", "v1"]
    name = Name.parse(f"{origin.host}/crew/x@{manifest.digest}")
    assert pull(name, store, access=access(origin, mirror.host)).manifest == manifest
