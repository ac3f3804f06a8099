"""Whatever a registry does, a pull ends with the right bytes or with one clear error; and no login gets to another host.

For each fault of faults.py and a number of seeds, which say how large the blobs are and where and how often it strikes.
"""

from __future__ import annotations

import base64
import math
import os
import random
from pathlib import Path

import pytest
from corral.registry.patience import Patience
from corral.registry.pull import pull
from corral.registry.push import push
from corral.registry.quirks import UploadPolicy
from corral.store.errors import CorralError
from corral.store.local import Store
from corral.store.manifest import MODEL, Manifest
from corral.store.name import Name

from tests.conftest import PASSWORD, Cli
from tests.registry.exchange import Fault, served
from tests.registry.faults import AFAR, PULLS, Kind, Strikes
from tests.registry.faulty import Elsewhere, FaultyRegistry, digest_of
from tests.registry.gatekeeper import known
from tests.registry.push_faults import PUSHES
from tests.registry.random_models import random_model
from tests.store.promises import whole_models

SEEDS = range(50 if os.environ.get("CORRAL_SOAK") else 5)
PATIENCE = Patience(retries=4, first_wait=0.005, stall=0.25, longest_request=2.0)
POLICIES = (
    UploadPolicy(1 << 30, 1 << 30),
    UploadPolicy(100_000, 150_000),
    UploadPolicy(0, 1 << 20),
    UploadPolicy(1, 6 << 20),
)
"""A blob in one request, or in chunks of these sizes."""
SECRETS = (PASSWORD.encode(), base64.b64encode(f":{PASSWORD}".encode())[4:-4])


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    """So that blobs of a few MiB come in several ranges."""
    monkeypatch.setattr("corral.registry.ranges._LEAST_PIECE", 256 << 10)
    monkeypatch.setattr("corral.registry.ranges._WORTH_TAKING", 64 << 10)


def nothing_wrong(store: Store, name: Name, manifest: Manifest) -> bool:
    """Whether the model is in the store, where it is whole or not at all, and no blob is anything but its digest's."""
    for blob in store.root.glob("blobs/*"):
        assert digest_of(blob.read_bytes()) == blob.name.replace("-", ":")
    return bool(whole_models(store, {name.model: [None, manifest]}))


def nothing_told(elsewhere: Elsewhere) -> None:
    """That the other host was told no secret."""
    for request in elsewhere.seen:
        said = f"{request.url} {request.headers}".encode() + request.body
        assert not any(secret in said for secret in SECRETS)
        assert not request.headers.keys() & {"authorization", "cookie"}


def well_said(error: CorralError, *names: str) -> None:
    """That an error is one line, names what it is about, and keeps secrets."""
    assert str(error).isprintable()
    assert any(name in str(error) for name in names)
    assert PASSWORD not in f"{error} {error.hint}"


def pulled(seed: str, tmp_path: Path, *kinds: Kind, afar: Kind | None = None) -> None:
    """Pull a random model while these faults strike, see what comes of it, and pull again when they are over."""
    chance = random.Random(seed)
    manifest, contents = random_model(chance)
    registry = FaultyRegistry()
    registry.hold("crew/x", "v1", manifest, contents.values())
    elsewhere = Elsewhere(contents=contents)
    struck = [kind.at(chance, elsewhere) for kind in kinds]
    registry.faults = list[Fault](struck)
    if afar:
        struck.append(afar.at(chance, elsewhere))
        elsewhere.faults = [struck[-1]]
    store = Store(tmp_path / "models")
    with served(registry), served(elsewhere, "localhost"):
        name = Name.parse(f"{registry.host}/crew/x:v1")
        failure = None
        try:
            assert pull(name, store, access=known(patience=PATIENCE)).manifest == manifest
        except CorralError as error:
            failure = error
            well_said(error, registry.host)
        assert nothing_wrong(store, name, manifest) == (failure is None)
        if all(strikes.must_pass for strikes in struck) or any(strikes.must_fail for strikes in struck):
            assert any(strikes.must_fail for strikes in struck) == (failure is not None), failure
        nothing_told(elsewhere)
        registry.faults = elsewhere.faults = []
        assert pull(name, store, access=known(patience=PATIENCE)).manifest == manifest
    assert nothing_wrong(store, name, manifest)
    nothing_told(elsewhere)


@pytest.mark.soak
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", PULLS)
def test_a_pull(tmp_path: Path, kind: str, seed: int) -> None:
    pulled(f"{kind} {seed}", tmp_path, PULLS[kind])


@pytest.mark.soak
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", AFAR)
def test_a_pull_that_is_sent_elsewhere(tmp_path: Path, kind: str, seed: int) -> None:
    pulled(f"{kind} {seed} afar", tmp_path, PULLS["sent elsewhere"], afar=PULLS[kind])


@pytest.mark.soak
@pytest.mark.parametrize("seed", SEEDS)
def test_a_pull_with_two_faults(tmp_path: Path, seed: int) -> None:
    chance = random.Random(f"two {seed}")
    for turn, kinds in enumerate(chance.sample(sorted(PULLS), 2) for _ in range(2)):
        folder = tmp_path / f"{turn}"
        folder.mkdir()
        pulled(f"{kinds} {seed}", folder, *(PULLS[kind] for kind in kinds))


def is_there(registry: FaultyRegistry, manifest: Manifest) -> bool:
    """Whether the registry has the model under its tag, where it is whole or not at all."""
    _, raw = registry.manifests.get(("crew/x", "v1"), ("", b""))
    assert raw in (b"", manifest.raw)
    if raw:
        for blob in manifest.blobs:
            assert ("crew/x", str(blob.digest)) in registry.linked
            assert digest_of(registry.blobs[str(blob.digest)]) == str(blob.digest)
    return raw != b""


def pushed(seed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *kinds: Kind) -> None:
    """Push a random model while these faults strike, see what the registry has then, and push again when they are over."""
    chance = random.Random(seed)
    manifest, contents = random_model(chance, *kinds[0].sizes)
    monkeypatch.setattr("corral.registry.quirks._USUAL", chance.choice(POLICIES))
    registry = FaultyRegistry(is_fickle=chance.random() < 0.7, is_strict=chance.random() < 0.5)
    elsewhere = Elsewhere(contents=registry.blobs, linked=registry.linked)
    struck = [kind.at(chance, elsewhere) for kind in kinds]
    registry.faults = list[Fault](struck)
    store = Store(tmp_path / "models")
    for data in contents.values():
        store.blobs.put(bytes(data), MODEL)
    with served(registry), served(elsewhere, "localhost"):
        name = store.tag(Name.parse(f"{registry.host}/crew/x:v1"), manifest)
        failure = None
        try:
            push(name, store, access=known(patience=PATIENCE))
        except CorralError as error:
            failure = error
            well_said(error, registry.host)
        # Where the reply to the manifest was lost, the model may be there and nobody knows.
        assert is_there(registry, manifest) or failure is not None
        if all(strikes.must_pass for strikes in struck) or any(strikes.must_fail for strikes in struck):
            assert any(strikes.must_fail for strikes in struck) == (failure is not None), failure
        nothing_told(elsewhere)
        registry.faults = []
        push(name, store, access=known(patience=PATIENCE))
    assert is_there(registry, manifest)
    nothing_told(elsewhere)


@pytest.mark.soak
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", PUSHES)
def test_a_push(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, seed: int) -> None:
    pushed(f"{kind} {seed}", tmp_path, monkeypatch, PUSHES[kind])


@pytest.mark.soak
@pytest.mark.parametrize("seed", SEEDS)
def test_a_push_with_two_faults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    chance = random.Random(f"two pushes {seed}")
    for turn, kinds in enumerate(chance.sample(sorted(PUSHES), 2) for _ in range(2)):
        folder = tmp_path / f"{turn}"
        folder.mkdir()
        pushed(f"{kinds} {seed}", folder, monkeypatch, *(PUSHES[kind] for kind in kinds))


@pytest.mark.parametrize("kind", ["refusing", "pretending", "silent", "led astray", "flipped"])
def test_error_a_push_that_fails_says_so_with_its_exit_code(cli: Cli, kind: str) -> None:
    manifest, contents = random_model(random.Random(kind), 6 << 20)
    store = Store(cli.models)
    for data in contents.values():
        store.blobs.put(bytes(data), MODEL)
    registry = FaultyRegistry(login="", faults=[Strikes(PUSHES[kind], 0, math.inf)])
    with served(registry):
        name = store.tag(Name.parse(f"{registry.host}/crew/x:v1"), manifest)
        cli.error(4, "push", str(name), CORRAL_RETRIES="0")
    assert not is_there(registry, manifest)
