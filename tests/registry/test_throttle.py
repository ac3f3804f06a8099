"""A limit of bytes a second holds for all transfers of a pull or a push together."""

from __future__ import annotations

import random
import time
from pathlib import Path

from corral.registry.pull import pull
from corral.registry.push import push
from corral.registry.remote import Access, Remote
from corral.store.local import Store
from corral.store.manifest import MODEL
from corral.store.name import Name

from tests.registry.exchange import served
from tests.registry.faulty import FaultyRegistry
from tests.registry.random_models import random_model
from tests.store.promises import whole_models

SIZE, RATE = 400_000, 400_000


def test_no_more_bytes_a_second_than_allowed(tmp_path: Path) -> None:
    access = Access(otherwise=Remote(bandwidth=RATE))
    manifest, contents = random_model(random.Random(2), SIZE, SIZE, SIZE)
    here, there = Store(tmp_path / "here"), Store(tmp_path / "there")
    for data in contents.values():
        here.blobs.put(bytes(data), MODEL)
    with served(FaultyRegistry(login="")) as host:
        name = here.tag(Name.parse(f"{host}/crew/x:v1"), manifest)
        for transfer in (lambda: push(name, here, access=access), lambda: pull(name, there, access=access)):
            started = time.monotonic()
            transfer()
            # Three blobs at once have no more than one alone.
            assert time.monotonic() - started > 3 * SIZE / RATE * 0.9
    whole_models(there, {"x": [manifest]})
