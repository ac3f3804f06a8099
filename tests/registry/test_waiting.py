"""What makes a transfer wait, or stop in between: a registry that asks for time, and tokens that come to their end."""

from __future__ import annotations

import random
from collections.abc import Callable, Generator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from corral.registry.patience import Patience
from corral.registry.pull import pull
from corral.registry.push import push
from corral.registry.quirks import UploadPolicy
from corral.registry.remote import Remote
from corral.store.local import Store
from corral.store.manifest import MODEL
from corral.store.name import Name

from tests.registry.exchange import Reply, Request, served
from tests.registry.faults import Kind, Moment, Strikes, is_blob, is_manifest
from tests.registry.faulty import FaultyRegistry, refusal
from tests.registry.gatekeeper import Gatekeeper, gatekeeper, known
from tests.registry.push_faults import is_body, is_stored
from tests.registry.random_models import random_model
from tests.store.promises import whole_models

PATIENCE = Patience(retries=4, first_wait=0.005, stall=2.0, longest_request=5.0)


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    """So that blobs of a few MiB come in several ranges, and go in several chunks."""
    monkeypatch.setattr("corral.registry.ranges._LEAST_PIECE", 256 << 10)
    monkeypatch.setattr("corral.registry.quirks._USUAL", UploadPolicy(300_000, 256 << 10))


def comes_back(folder: Path, host: str, *sizes: int, connections: int = 0) -> None:
    """Push a model to that registry, and pull it into another store."""
    access = replace(known(patience=PATIENCE), otherwise=Remote(connections=connections))
    manifest, contents = random_model(random.Random(11), *sizes)
    store, other = Store(folder / "a"), Store(folder / "b")
    for data in contents.values():
        store.blobs.put(bytes(data), MODEL)
    name = store.tag(Name.parse(f"{host}/crew/x:v1"), manifest)
    push(name, store, access=access)
    assert pull(name, other, access=access).manifest == manifest
    whole_models(other, {"x": [manifest]})


def in_a_second(_: Moment) -> Reply:
    return refusal(429, "TOOMANYREQUESTS", {"Retry-After": "1"})


def at_a_date(_: Moment) -> Reply:
    """In a second or two: a date has no fractions."""
    date = datetime.now(UTC) + timedelta(seconds=2)
    return refusal(503, "UNAVAILABLE", {"Retry-After": format_datetime(date, usegmt=True)})


@pytest.mark.parametrize(
    ("where", "how"),
    [(is_blob, in_a_second), (is_manifest, at_a_date), (is_body, at_a_date), (is_stored, in_a_second)],
)
def test_a_registry_is_left_alone_for_as_long_as_it_asks(
    tmp_path: Path, where: Callable[[Request], bool], how: Callable[[Moment], Reply]
) -> None:
    registry = FaultyRegistry(login="")
    busy = Strikes(Kind(how, where=where), 0, 1)
    registry.faults = [busy]
    with served(registry):
        comes_back(tmp_path, registry.host, 3000)
    assert busy.struck == 1
    first, *others = [request for request in registry.seen if where(request)]
    assert all(other.when - first.when > 0.9 for other in others if other.path == first.path)


@pytest.fixture
def slow_keeper() -> Generator[Gatekeeper]:
    """A token service, and a registry that gives a MiB a second over each connection."""
    registry = FaultyRegistry(login="", rate=1 << 20)
    with served(registry), gatekeeper(registry.host) as keeper:
        yield keeper


@pytest.mark.parametrize("said", [None, 300])
def test_a_token_that_ends_in_mid_transfer_is_renewed(
    tmp_path: Path, slow_keeper: Gatekeeper, said: int | None
) -> None:
    """Whether the token service says how long its tokens live, or says too much."""
    slow_keeper.lifetime = 0.3
    slow_keeper.answer = {} if said is None else {"expires_in": said}
    comes_back(tmp_path, slow_keeper.host, 4 << 20, 3000)
    assert len(slow_keeper.asked("/token")) >= 3


@pytest.mark.parametrize("uses", [1, 3])
def test_tokens_that_are_used_up_in_mid_transfer_are_renewed(
    tmp_path: Path, slow_keeper: Gatekeeper, uses: int
) -> None:
    """Over one connection: several would use up each other's."""
    slow_keeper.uses = uses
    comes_back(tmp_path, slow_keeper.host, 1 << 20, 3000, connections=1)
    assert len(slow_keeper.asked("/token")) > 20 // uses
