"""What a fresh look at the transfers found: one incident that breaks several connections, and registries of other habits."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from corral.registry import quirks, ranges, upload
from corral.registry.errors import RegistryError
from corral.registry.fetch import Fetching
from corral.registry.patience import Patience
from corral.registry.pull import pull
from corral.registry.push import push
from corral.registry.quirks import UploadPolicy
from corral.registry.remote import Access, Remote
from corral.registry.throttle import Throttle
from corral.registry.transport import Registry
from corral.store.local import Store
from corral.store.locks import BusyError
from corral.store.manifest import MODEL, Manifest
from corral.store.name import Name
from corral.store.progress import Progress, silent

from tests.registry.exchange import Dropped, Fault, Reply, Request, served
from tests.registry.faults import is_blob
from tests.registry.faulty import FaultyRegistry, refusal
from tests.registry.random_models import random_model
from tests.store.promises import whole_models

MIB = 1 << 20
HASTE = Patience(retries=4, first_wait=0.05, stall=1.0, longest_request=5.0)


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    monkeypatch.setattr(ranges, "_LEAST_PIECE", MIB // 4)
    monkeypatch.setattr(upload, "_LEAST_CHUNK", 64 << 10)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "models")


def holding(size: int, rate: int = 0) -> tuple[FaultyRegistry, Manifest]:
    """A registry with a model, whose weights have that size."""
    manifest, contents = random_model(random.Random(9), size)
    registry = FaultyRegistry(login="", rate=rate)
    registry.hold("crew/x", "v1", manifest, contents.values())
    return registry, manifest


def pulled(store: Store, registry: FaultyRegistry, connections: int = 0, *mirrors: str) -> None:
    access = Access(
        {registry.host: Remote(mirrors=mirrors, connections=connections)},
        Remote(connections=connections),
        patience=HASTE,
    )
    manifest = pull(Name.parse(f"{registry.host}/crew/x:v1"), store, access=access).manifest
    whole_models(store, {"x": [manifest]})


def pushed(store: Store, registry: FaultyRegistry, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A push in chunks."""
    monkeypatch.setattr(quirks, "_USUAL", UploadPolicy(0, MIB // 4))
    manifest, contents = random_model(random.Random(4), size)
    for data in contents.values():
        store.blobs.put(bytes(data), MODEL)
    name = store.tag(Name.parse(f"{registry.host}/crew/y:v1"), manifest)
    push(name, store, access=Access(patience=HASTE))
    assert registry.manifests["crew/y", "v1"][1] == manifest.raw


def only(when: Callable[[Request], bool], change: Callable[[Request, Reply], Reply]) -> Fault:
    """A fault that changes the replies to some requests."""

    def fault(request: Request, act: Callable[[], Reply]) -> Reply:
        return change(request, act()) if when(request) else act()

    return fault


@pytest.mark.parametrize("connections", [4, 16])
def test_what_breaks_all_connections_at_once_is_one_failure(store: Store, connections: int) -> None:
    registry, manifest = holding(8 * MIB)
    together = threading.Barrier(connections)
    broken: list[Request] = []

    def all_break(request: Request, reply: Reply) -> Reply:
        if len(broken) >= connections or request.headers.get("range", "").startswith("bytes=0-"):
            return reply
        broken.append(request)
        together.wait(10)  # until every connection has something to lose
        raise Dropped(is_hard=True)

    registry.faults = [only(is_blob, all_break)]
    config = str(manifest.config.digest)
    del registry.blobs[config]  # which would take a connection
    registry.linked.discard(("crew/x", config))
    with served(registry), store.writing():
        name = Name.parse(f"{registry.host}/crew/x:v1")
        with Registry(name, access=Access(patience=replace(HASTE, retries=1, first_wait=0.3))) as source:
            fetching = Fetching(store, [source], silent, connections=connections, throttle=Throttle())
            fetching.run([manifest.layers[0]])
    assert len(broken) == connections
    assert store.blobs.path(manifest.layers[0].digest).read_bytes() == registry.blobs[str(manifest.layers[0].digest)]


def test_a_registry_that_bears_one_transfer_at_a_time(store: Store) -> None:
    registry, _ = holding(4 * MIB)
    one = threading.Semaphore(1)
    refused: list[Request] = []

    def fault(request: Request, act: Callable[[], Reply]) -> Reply:
        if not is_blob(request):
            return act()
        if not one.acquire(blocking=False):
            refused.append(request)
            return refusal(429, "TOOMANYREQUESTS", {"Retry-After": "0"})
        try:
            time.sleep(0.05)
            return act()
        finally:
            one.release()

    registry.faults = [fault]
    with served(registry):
        pulled(store, registry, 8)
    assert 0 < len(refused) < 16


def test_a_mirror_that_forgets_a_blob_in_the_middle_gives_way_once(store: Store) -> None:
    registry, _ = holding(4 * MIB)
    mirror, _ = holding(4 * MIB)
    asked: list[Request] = []

    def forgotten(request: Request, reply: Reply) -> Reply:
        asked.append(request)
        if len(asked) < 5:
            return reply
        time.sleep(0.1)
        return refusal(404, "BLOB_UNKNOWN")

    mirror.faults = [only(is_blob, forgotten)]
    with served(registry), served(mirror):
        pulled(store, registry, 4, mirror.host)
    assert [request for request in registry.seen if is_blob(request)]


def test_a_mirror_with_a_page_to_log_in_at_gives_way(store: Store) -> None:
    registry, _ = holding(MIB)
    mirror, _ = holding(MIB)
    mirror.faults = [only(is_blob, lambda _request, _reply: Reply(200, body=b"<html>please pay</html>"))]
    with served(registry), served(mirror):
        pulled(store, registry, 4, mirror.host)
    assert [request for request in mirror.seen if is_blob(request)]
    assert [request for request in registry.seen if is_blob(request)]


@pytest.mark.parametrize("said", [None, "bytes=%s", "BYTES %s", "bytes 0-0/1"])
def test_ranges_that_are_not_said_right_are_not_asked_for_again(store: Store, said: str | None) -> None:
    registry, _ = holding(2 * MIB)

    def changed(_: Request, reply: Reply) -> Reply:
        right = reply.headers.pop("Content-Range", None)
        if right and said:
            reply.headers["Content-Range"] = said.replace("%s", right.removeprefix("bytes "))
        return reply

    registry.faults = [only(is_blob, changed)]
    with served(registry):
        pulled(store, registry)
    asked = ["range" in request.headers for request in registry.seen if is_blob(request)]
    assert asked.count(True) == 1
    assert asked.count(False) == 2  # the weights then, and the config


def test_one_that_may_not_write_the_whole_while_others_bring_ranges() -> None:
    plan = ranges.Schedule(4 * MIB, ranges.Spans(), 4, has_ranges=True)
    first, second = plan.next(0.0), plan.next(0.0)
    assert first
    assert second
    plan.take_whole(first)
    assert (first.is_called_off, first.is_whole) == (True, False)
    plan.end(first, 0.0)
    assert plan.next(0.0) is None  # until the other has ended
    plan.end(second, 0.0)
    whole = plan.next(0.0)
    assert whole
    assert whole.is_whole


def test_a_worker_that_finds_nothing_to_do_tells_the_others(store: Store) -> None:
    registry, manifest = holding(70_000)
    blob = manifest.layers[0]
    with served(registry), store.writing(), store.blobs.once(blob.digest):
        fetching = Fetching(
            store,
            [Registry(Name.parse(f"{registry.host}/crew/x:v1"))],
            silent,
            connections=1,
            throttle=Throttle(),
        )
        with pytest.raises(BusyError):
            store.blobs.once(blob.digest, waits=False).__enter__()
        thread = threading.Thread(target=fetching.run, args=([blob],), daemon=True)
        thread.start()
        time.sleep(0.5)
        with store.blobs.ingest() as ingest:  # the one who has it in hand is done
            ingest.write(registry.blobs[str(blob.digest)])
            ingest.commit(MODEL, expected=blob.digest)
        thread.join(20)
    assert not thread.is_alive()


def test_a_registry_that_does_not_say_what_it_has_is_believed_until_the_digest(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry, _ = holding(10)

    def silent_of_it(_: Request, reply: Reply) -> Reply:
        reply.headers.pop("Range", None)
        return reply

    registry.faults = [only(lambda request: request.method == "PATCH", silent_of_it)]
    with served(registry):
        pushed(store, registry, MIB, monkeypatch)
    # Four of the weights' and one of the config's, and none of them twice.
    assert len([request for request in registry.seen if request.method == "PATCH"]) == 5


def test_chunks_that_are_wanted_and_refused_are_not_sent_for_ever(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry, _ = holding(10)

    def fault(request: Request, act: Callable[[], Reply]) -> Reply:
        if request.method == "PATCH" and request.length > 100_000:
            request.whole()
            return Reply(413)
        reply = act()
        if "/uploads" in request.path:
            reply.headers["OCI-Chunk-Min-Length"] = "200000"
        return reply

    registry.faults = [fault]
    with served(registry), pytest.raises(RegistryError):
        pushed(store, registry, MIB, monkeypatch)
    assert len([request for request in registry.seen if request.method == "PATCH"]) < 10


def test_cookies_are_not_brought_back(store: Store) -> None:
    registry, _ = holding(1000)

    def sweet(_: Request, reply: Reply) -> Reply:
        reply.headers["Set-Cookie"] = "sid=1; Path=/"
        return reply

    registry.faults = [only(lambda _: True, sweet)]
    with served(registry):
        pulled(store, registry)
    assert not any("cookie" in request.headers for request in registry.seen)


HEADS: dict[str, list[bytes | float]] = {
    "a header, byte by byte": [b"HTTP/1.1 200 OK\r\nX-Long: ", *[b"a", 0.2] * 100],
    "to be continued": [piece for _ in range(100) for piece in (b"HTTP/1.1 100 Continue\r\n\r\n", 0.2)],
    "a chunk's extension": [
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n5;",
        *[b"x", 0.2] * 100,
    ],
}


@pytest.mark.parametrize("head", HEADS)
def test_error_a_head_that_never_ends_does(store: Store, head: str) -> None:
    registry, _ = holding(10)
    registry.faults = [lambda _request, _act: Reply(200, head=HEADS[head])]
    started = time.monotonic()
    patience = Patience(retries=0, stall=1.0)
    with served(registry), pytest.raises(RegistryError):
        pull(Name.parse(f"{registry.host}/crew/x:v1"), store, access=Access(patience=patience))
    assert time.monotonic() - started < 15


class _StopError(Exception):
    pass


def test_a_pull_that_is_called_off_leaves_nobody_at_work(store: Store) -> None:
    registry, _ = holding(4 * MIB)
    registry.faults = [
        only(
            lambda request: is_blob(request) and not request.headers.get("range", "").startswith("bytes=0-"),
            lambda _request, _reply: Reply(200, head=[30.0]),
        )
    ]

    def stop(step: Progress) -> None:
        if step.completed:
            raise _StopError

    with served(registry):
        name = Name.parse(f"{registry.host}/crew/x:v1")
        before = set(threading.enumerate())
        started = time.monotonic()
        with pytest.raises(_StopError):
            pull(name, store, access=Access(patience=Patience(stall=20)), report=stop)
        ours = [one for one in set(threading.enumerate()) - before if "process_request" not in one.name]
        for one in ours:
            one.join(5)
        assert not any(one.is_alive() for one in ours)
        registry.faults = []
        pulled(store, registry)
        assert time.monotonic() - started < 15
