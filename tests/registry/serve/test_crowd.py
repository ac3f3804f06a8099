"""Many clients at once, with a collection going on in the same store, and the server killed among them: nothing is lost."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TypeAlias

import pytest
from corral.registry.patience import Patience
from corral.registry.pull import pull
from corral.registry.push import push
from corral.registry.remote import Access
from corral.store.errors import RemoteError
from corral.store.local import Store
from corral.store.manifest import Manifest
from corral.store.name import Name
from corral.store.verify import verify

from tests.conftest import CORRAL, Cli, free_port
from tests.registry.random_models import random_model

SOAK = bool(os.environ.get("CORRAL_SOAK"))
CLIENTS, ROUNDS, KILLS, SECONDS = (64, 8, 10, 5) if SOAK else (8, 3, 3, 1)
"""Kills of the server, and the seconds between them."""
IMPATIENT = Access(patience=Patience(retries=0))
Attempt: TypeAlias = Callable[[Callable[[], object]], object]


def started(cli: Cli, port: int) -> subprocess.Popen[bytes]:
    """A server of the store; it answers when this returns."""
    command = [CORRAL, "registry", "serve", "--host", f"127.0.0.1:{port}"]
    server = subprocess.Popen(command, env=cli.environment, stderr=subprocess.PIPE)
    assert server.stderr is not None
    assert str(port).encode() in server.stderr.readline()
    return server


@contextmanager
def collecting(store: Store) -> Generator[list[BaseException]]:
    """A collection after the other, of all that may go."""
    failed: list[BaseException] = []
    is_over = threading.Event()

    def run() -> None:
        while not is_over.wait(0.05):
            try:
                store.collect(older_than=0)
            except BaseException as error:
                failed.append(error)
                raise

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield failed
    finally:
        is_over.set()
        thread.join()


def persistent(work: Callable[[], object]) -> None:
    """Try again where the server is gone this moment."""
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        with suppress(RemoteError):
            work()
            return
        time.sleep(0.1)
    work()


def exchange(host: str, folder: Path, number: int, attempt: Attempt) -> dict[Name, Manifest]:
    """What one client does: push a model of its own each round, pull it and another's back; what is there in the end."""
    chance = random.Random(number)
    left: dict[Name, Manifest] = {}
    for turn in range(ROUNDS):
        own = Store(folder / f"{number}-{turn}")
        manifest, contents = random_model(chance, chance.choice([1 << 16, 1 << 20, 5 << 20]), 17, 300)
        shared = b"the same for all, in this round: %d" % turn
        with own.writing():
            for blob in manifest.blobs:
                own.blobs.put(bytes(contents[str(blob.digest)]), blob.media_type)
            layer = own.blobs.put(shared, "application/vnd.ollama.image.license").blob
            manifest = Manifest.build(manifest.config, [*manifest.layers, layer])
            name = Name.parse(f"{host}/crowd/of{number}:v{turn % 2}")
            own.tag(name, manifest)
        attempt(partial(push, name, own, access=IMPATIENT, form=("ollama", "oci")[turn % 2]))
        left[name] = manifest
        back = Store(folder / f"{number}-{turn}-back")
        attempt(partial(pull, name, back, access=IMPATIENT))
        assert back.find(name).manifest == manifest
    return left


def together(host: str, folder: Path, attempt: Attempt) -> dict[Name, Manifest]:
    """All clients at once; what is there in the end."""
    with ThreadPoolExecutor(CLIENTS) as pool:
        done = [pool.submit(exchange, host, folder, number, attempt) for number in range(CLIENTS)]
        return {name: manifest for one in done for name, manifest in one.result().items()}


def check(cli: Cli, folder: Path, left: dict[Name, Manifest]) -> None:
    """All that was left is in the store, whole, and given to who asks."""
    store = Store(cli.models)
    # Random bytes are no weights; that is all there is to say of them.
    assert [found for found in verify(store, is_deep=True).problems if found.problem != "header"] == []
    for name, manifest in left.items():
        local = Name.parse(f"crowd/{name.model}:{name.tag}")
        assert store.find(local).manifest == manifest
    back = Store(folder / "end")
    for name, manifest in list(left.items())[:4]:
        assert pull(name, back).manifest == manifest


@pytest.mark.soak
def test_a_crowd_pushes_and_pulls_while_what_may_go_is_collected(cli: Cli, tmp_path: Path) -> None:
    port = free_port()
    server = started(cli, port)
    host = f"127.0.0.1:{port}"
    try:
        with collecting(Store(cli.models)) as failed:
            left = together(host, tmp_path / "clients", lambda work: work())
        assert failed == []
        assert len(left) == 2 * CLIENTS
        check(cli, tmp_path, left)
        assert list(Store(cli.models).repositories.uploads_folder.iterdir()) == []
    finally:
        server.terminate()
        server.communicate()


@pytest.mark.soak
def test_a_server_that_is_killed_among_them_loses_nothing(cli: Cli, tmp_path: Path) -> None:
    port = free_port()
    servers = [started(cli, port)]
    host = f"127.0.0.1:{port}"
    is_over = threading.Event()

    def killing() -> None:
        chance = random.Random(7)
        while len(servers) <= KILLS and not is_over.wait(chance.uniform(0.5, 1.5) * SECONDS):
            servers[-1].send_signal(signal.SIGKILL)
            servers[-1].communicate()
            servers.append(started(cli, port))

    killer = threading.Thread(target=killing)
    killer.start()
    try:
        with collecting(Store(cli.models)) as failed:
            left = together(host, tmp_path / "clients", persistent)
    finally:
        is_over.set()
        killer.join()
    try:
        assert failed == []
        assert len(servers) > 1
        check(cli, tmp_path, left)
        store = Store(cli.models)
        for upload in store.repositories.uploads_folder.iterdir():  # what clients could not go on with
            os.utime(upload, (0, 0))
        store.collect()
        assert list(store.repositories.uploads_folder.iterdir()) == []
    finally:
        servers[-1].terminate()
        servers[-1].communicate()
