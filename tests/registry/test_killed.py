"""Transfers that are killed, or have company: what has come is not asked for again, and nobody's blobs are lost.

The registry is slow, so that there is a middle of a transfer, and counts what it sends.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager

import pytest
from corral.registry.pull import pull
from corral.store.local import Store
from corral.store.manifest import MODEL, Manifest
from corral.store.name import Name

from tests.conftest import CORRAL, Cli
from tests.registry.exchange import PIECE, Dropped, Reply, served
from tests.registry.faults import Kind, Moment, Strikes
from tests.registry.faulty import FaultyRegistry, digest_of
from tests.registry.random_models import random_model
from tests.store.promises import whole_models
from tests.store.pruning import prune

SOAK = bool(os.environ.get("CORRAL_SOAK"))
SIZE = (1 << 30) if SOAK else (64 << 20)
CONNECTIONS = 4
BUFFER = 1 << 20
"""What of one stream may be asked for twice after a kill."""
ON_THE_WAY = 4 * PIECE
"""What of one stream may have been sent and not yet read."""


@contextmanager
def slow_registry(*sizes: int, seconds: float = 8.0 if SOAK else 1.2) -> Generator[tuple[FaultyRegistry, Manifest]]:
    """One with a model whose layers have these sizes; it takes so long to give them that nothing piles up on the way."""
    manifest, contents = random_model(random.Random(7), *sizes)
    registry = FaultyRegistry(login="", rate=sum(sizes) / CONNECTIONS / seconds)
    registry.hold("crew/x", "v1", manifest, contents.values())
    with served(registry):
        yield registry, manifest


def start(cli: Cli, *arguments: str) -> subprocess.Popen[str]:
    command = [CORRAL, *arguments]
    return subprocess.Popen(command, env=cli.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def until(process: subprocess.Popen[str], is_so: Callable[[], bool]) -> None:
    """Wait for it, while the process runs."""
    deadline = time.monotonic() + 60
    while not is_so():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.002)


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def ends_well(process: subprocess.Popen[str]) -> None:
    _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said


def blobs_sent(registry: FaultyRegistry) -> dict[str, int]:
    """How many bytes of each blob were sent, in all repositories."""
    sent: dict[str, int] = {}
    for path, count in registry.sent.items():
        if "/blobs/" in path:
            digest = path.rpartition("/")[2]
            sent[digest] = sent.get(digest, 0) + count
    return sent


def fetched_once(registry: FaultyRegistry, manifest: Manifest) -> None:
    """No byte was asked for twice; a range that somebody else finishes may have been on its way a little further."""
    sent = blobs_sent(registry)
    assert sent.keys() == {str(blob.digest) for blob in manifest.blobs}
    for blob in manifest.blobs:
        over = CONNECTIONS * ON_THE_WAY if blob.size > BUFFER else 0
        assert blob.size <= sent[str(blob.digest)] <= blob.size + over


@pytest.mark.soak
@pytest.mark.parametrize("kills", [1, 4] if SOAK else [3])
def test_a_pull_killed_goes_on_where_it_was(cli: Cli, kills: int) -> None:
    with slow_registry(SIZE) as (registry, manifest):
        name = f"{registry.host}/crew/x:v1"
        weights = str(manifest.layers[0].digest)
        for turn in range(kills):
            process = start(cli, "pull", name)
            until(process, lambda: blobs_sent(registry).get(weights, 0) > SIZE * (turn + 1) // (kills + 1))  # noqa: B023
            kill(process)
            assert not list(cli.models.glob(f"blobs/*{weights[7:]}"))
        cli.ok("pull", name)
        again = blobs_sent(registry)[weights] - SIZE
    assert 0 <= again <= kills * CONNECTIONS * (BUFFER + ON_THE_WAY)
    whole_models(Store(cli.models), {"x": [manifest]})
    assert not list(cli.models.glob(".corral/partial/*"))


CHUNK = SIZE // 8
IN_CHUNKS = (
    "import sys; from corral.registry import quirks; from corral.cli.main import run\n"
    f"quirks._USUAL = quirks.UploadPolicy(0, {CHUNK}); sys.exit(run(sys.argv[1:]))"
)
"""A command line that pushes in smaller chunks than it would."""


def start_push(cli: Cli, name: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", IN_CHUNKS, "push", name, "--bandwidth", f"{SIZE * 2 // 3}"]
    return subprocess.Popen(command, env=cli.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@contextmanager
def registry_for(cli: Cli, *, is_fickle: bool) -> Generator[tuple[FaultyRegistry, str, Manifest]]:
    """A registry that has nothing, and a name and a large model for it."""
    manifest, contents = random_model(random.Random(8), SIZE)
    store = Store(cli.models)
    for data in contents.values():
        store.blobs.put(bytes(data), MODEL)
    registry = FaultyRegistry(login="", is_fickle=is_fickle)
    with served(registry):
        name = str(store.tag(Name.parse(f"{registry.host}/crew/x:v1"), manifest))
        yield registry, name, manifest
        assert registry.manifests["crew/x", "v1"][1] == manifest.raw
        assert all(digest_of(registry.blobs[str(blob.digest)]) == str(blob.digest) for blob in manifest.blobs)


def came(registry: FaultyRegistry) -> int:
    """How many bytes of parts of blobs were taken."""
    return sum(request.came for request in registry.asked("PATCH", "/uploads/"))


@pytest.mark.soak
@pytest.mark.parametrize("kills", [1, 4] if SOAK else [2])
def test_a_push_killed_goes_on_at_the_last_chunk(cli: Cli, kills: int) -> None:
    """Where the registry keeps what has come, and says how much it is."""
    with registry_for(cli, is_fickle=False) as (registry, name, manifest):
        for turn in range(kills):
            process = start_push(cli, name)
            until(process, lambda: came(registry) > SIZE * (turn + 1) // (kills + 1))  # noqa: B023
            kill(process)
        ends_well(start_push(cli, name))
        assert 0 <= came(registry) - manifest.size <= kills * (CHUNK + manifest.config.size)


@pytest.mark.soak
def test_a_push_killed_between_chunks_sends_none_again(cli: Cli) -> None:
    """Where the registry loses an upload that breaks in mid-chunk, as Debian's does."""
    with registry_for(cli, is_fickle=True) as (registry, name, manifest):
        third = Strikes(
            Kind(held, where=lambda one: one.headers.get("content-range") == f"{2 * CHUNK}-{3 * CHUNK - 1}"), 0, 1
        )
        registry.faults = [third]
        process = start_push(cli, name)
        until(process, lambda: third.struck > 0)
        kill(process)
        ends_well(start_push(cli, name))
        assert 0 <= came(registry) - manifest.size <= manifest.config.size


def held(at: Moment) -> Reply:
    """It does not take the part until nobody is there any more."""
    at.elsewhere.stopped.wait(1)
    raise Dropped


@pytest.mark.soak
def test_a_push_killed_in_a_chunk_begins_again_where_it_must(cli: Cli) -> None:
    with registry_for(cli, is_fickle=True) as (registry, name, manifest):
        process = start_push(cli, name)
        until(process, lambda: came(registry) > CHUNK * 5 // 2)
        kill(process)
        ends_well(start_push(cli, name))
        assert came(registry) <= SIZE + 4 * CHUNK + 2 * manifest.config.size


def test_an_ollama_that_prunes_in_mid_pull_takes_nothing_of_it(cli: Cli) -> None:
    """Neither of what is under way, nor of what is complete while the rest is not; nor when the pull is killed then."""
    with slow_registry(SIZE // 2, SIZE // 8, 300_000) as (registry, manifest):
        name = f"{registry.host}/crew/x:v1"
        process = start(cli, "pull", name)
        while process.poll() is None and sum(blobs_sent(registry).values()) < SIZE * 9 // 16:
            prune(cli.models)
            time.sleep(0.02)
        kill(process)
        prune(cli.models)
        cli.ok("pull", name)
        again = sum(blobs_sent(registry).values()) - manifest.size
        assert again <= CONNECTIONS * (BUFFER + ON_THE_WAY)
    prune(cli.models)
    whole_models(Store(cli.models), {"x": [manifest]})


def test_an_ollama_that_prunes_all_the_time_spoils_no_pull(cli: Cli) -> None:
    with slow_registry(4 << 20, 2 << 20, 300_000, seconds=1) as (registry, manifest):
        process = start(cli, "pull", f"{registry.host}/crew/x:v1")
        while process.poll() is None:
            prune(cli.models)
            time.sleep(0.01)
        ends_well(process)
        fetched_once(registry, manifest)
    whole_models(Store(cli.models), {"x": [manifest]})


def test_two_processes_fetch_a_blob_once(cli: Cli) -> None:
    with slow_registry(SIZE // 4, 5 << 20, 70_000) as (registry, manifest):
        processes = [start(cli, "pull", f"{registry.host}/crew/x:v1") for _ in range(2)]
        for process in processes:
            ends_well(process)
        fetched_once(registry, manifest)
    whole_models(Store(cli.models), {"x": [manifest]})


def test_one_that_waits_goes_on_when_the_other_is_killed(cli: Cli) -> None:
    with slow_registry(SIZE // 4, 70_000) as (registry, manifest):
        first = start(cli, "pull", f"{registry.host}/crew/x:v1")
        until(first, lambda: sum(blobs_sent(registry).values()) > SIZE // 16)
        second = start(cli, "pull", f"{registry.host}/crew/x:v1")
        manifests = f"/v2/{'crew/x'}/manifests/v1"
        until(second, lambda: len(registry.asked("GET", manifests)) == 2)
        kill(first)
        ends_well(second)
        again = sum(blobs_sent(registry).values()) - manifest.size
    assert 0 <= again <= CONNECTIONS * (BUFFER + ON_THE_WAY)
    whole_models(Store(cli.models), {"x": [manifest]})


def test_two_models_share_a_download_between_threads(cli: Cli) -> None:
    with slow_registry(SIZE // 4, 70_000) as (registry, manifest):
        for name in ("a", "b"):
            registry.hold(f"crew/{name}", "v1", manifest, registry.blobs.values())
        pulled: list[Manifest] = []

        def fetch(name: str) -> None:
            pulled.append(pull(Name.parse(f"{registry.host}/crew/{name}:v1"), Store(cli.models)).manifest)

        threads = [threading.Thread(target=fetch, args=(name,)) for name in ("a", "b")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        fetched_once(registry, manifest)
    assert pulled == [manifest, manifest]
    whole_models(Store(cli.models), {"a": [manifest], "b": [manifest]})
