"""A registry that behaves as Ollama's own does: what is pushed comes back, and its storage never sees a login."""

from __future__ import annotations

import random
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path

import pytest
from corral.registry.patience import Patience
from corral.registry.pull import pull
from corral.registry.push import push
from corral.registry.quirks import UploadPolicy
from corral.store.errors import CorralError
from corral.store.local import Store
from corral.store.manifest import MODEL
from corral.store.name import Name

from tests.registry.exchange import Request, served
from tests.registry.faults import Strikes
from tests.registry.faulty import digest_of
from tests.registry.gatekeeper import known
from tests.registry.ollamas import OllamasRegistry, Storage
from tests.registry.push_faults import PUSHES
from tests.registry.random_models import random_model
from tests.store.promises import whole_models

PATIENCE = Patience(retries=4, first_wait=0.005, stall=2.0, longest_request=2.0)


@pytest.fixture
def ollamas() -> Generator[OllamasRegistry]:
    """The registry, with a storage at another host."""
    storage = Storage()
    registry = OllamasRegistry(storage=storage)
    with served(registry), served(storage, "localhost"):
        yield registry
    assert not any("authorization" in request.headers for request in storage.seen)


def stored(folder: Path, registry: OllamasRegistry, *sizes: int) -> tuple[Store, Name]:
    """A store with a model for that registry."""
    manifest, contents = random_model(random.Random(5), *sizes)
    store = Store(folder)
    for data in contents.values():
        store.blobs.put(bytes(data), MODEL)
    return store, store.tag(Name.parse(f"{registry.host}/crew/x:v1"), manifest)


@pytest.mark.parametrize("redirects_parts", [True, False])
@pytest.mark.parametrize("sizes", [(1,), (0, 17), (3_000_000, 70_000, 12)])
def test_what_is_pushed_comes_back(
    tmp_path: Path, ollamas: OllamasRegistry, sizes: tuple[int, ...], *, redirects_parts: bool
) -> None:
    ollamas.redirects_parts = redirects_parts
    store, name = stored(tmp_path / "a", ollamas, *sizes)
    sent = push(name, store, access=known(patience=PATIENCE)).manifest
    assert ollamas.manifests["crew/x", "v1"][1] == sent.raw
    other = Store(tmp_path / "b")
    assert pull(name, other, access=known(patience=PATIENCE)).manifest == sent
    whole_models(other, {"x": [sent]})
    assert bool(ollamas.storage.asked("PUT", "/upload/")) == redirects_parts
    assert ollamas.storage.asked("GET", "/blob/")


def one_mebibyte(_: int) -> int:
    return 1 << 20


def is_part(request: Request) -> bool:
    return request.method in ("PUT", "PATCH") and request.length > 0


@pytest.fixture
def in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small ones; Ollama's have 100 MB."""
    monkeypatch.setattr("corral.registry.upload.part_size", one_mebibyte)
    monkeypatch.setattr("corral.registry.quirks._USUAL", UploadPolicy(0, 1 << 20, is_ollamas=True))


@pytest.mark.usefixtures("in_parts")
@pytest.mark.parametrize("redirects_parts", [True, False])
def test_a_blob_goes_in_parts(tmp_path: Path, ollamas: OllamasRegistry, *, redirects_parts: bool) -> None:
    ollamas.redirects_parts = redirects_parts
    store, name = stored(tmp_path / "a", ollamas, 3_500_000)
    manifest = push(name, store, access=known(patience=PATIENCE)).manifest
    assert len(ollamas.asked("PATCH", "/uploads/")) == 4 + 1  # and the config
    other = Store(tmp_path / "b")
    pull(name, other, access=known(patience=PATIENCE))
    whole_models(other, {"x": [manifest]})


@pytest.mark.usefixtures("in_parts")
@pytest.mark.parametrize("redirects_parts", [True, False])
@pytest.mark.parametrize("kind", ["cut", "silent", "unanswered", "busy", "failing", "forgotten"])
def test_a_part_that_fails_is_sent_again(
    tmp_path: Path, ollamas: OllamasRegistry, kind: str, *, redirects_parts: bool
) -> None:
    ollamas.redirects_parts = redirects_parts
    store, name = stored(tmp_path / "a", ollamas, 3_500_000)
    mishap = Strikes(replace(PUSHES[kind], where=is_part), 1, 1)
    (ollamas.storage if redirects_parts else ollamas).faults = [mishap]
    manifest = push(name, store, access=known(patience=PATIENCE)).manifest
    assert mishap.struck == 1
    assert all(digest_of(ollamas.blobs[str(blob.digest)]) == str(blob.digest) for blob in manifest.blobs)


def test_a_second_push_sends_nothing(tmp_path: Path, ollamas: OllamasRegistry) -> None:
    store, name = stored(tmp_path / "a", ollamas, 1000, 5)
    push(name, store, access=known(patience=PATIENCE))
    before = len(ollamas.asked("POST", "/uploads/"))
    push(name, store, access=known(patience=PATIENCE))
    assert len(ollamas.asked("POST", "/uploads/")) == before


def test_an_address_that_has_had_its_time_is_asked_for_again(
    tmp_path: Path, ollamas: OllamasRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("corral.registry.ranges._LEAST_PIECE", 256 << 10)
    ollamas.storage.uses = 1
    manifest, contents = random_model(random.Random(6), 2_000_000, 100)
    ollamas.hold("crew/x", "v1", manifest, contents.values())
    ollamas.storage.contents.update(contents)
    store = Store(tmp_path)
    assert pull(Name.parse(f"{ollamas.host}/crew/x:v1"), store, access=known(patience=PATIENCE)).manifest == manifest
    whole_models(store, {"x": [manifest]})


def test_error_a_storage_that_forgets(tmp_path: Path, ollamas: OllamasRegistry) -> None:
    ollamas.storage.uses = 0
    manifest, contents = random_model(random.Random(6), 1000)
    ollamas.hold("crew/x", "v1", manifest, contents.values())
    ollamas.storage.contents.update(contents)
    with pytest.raises(CorralError, match="403"):
        pull(Name.parse(f"{ollamas.host}/crew/x:v1"), Store(tmp_path), access=known(patience=PATIENCE))
