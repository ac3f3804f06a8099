"""Several processes create, copy, remove, collect, export and import in one store at once, and are killed at any moment.

No tag is ever incomplete, whatever the others do, and when all is over a collection leaves just what the tags name.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from corral.store.digest import Digest
from corral.store.errors import ModelNotFoundError
from corral.store.local import Store
from corral.store.verify import verify

from tests.weights import gguf, text_pair

WORKER = """
import errno, random, sys
from pathlib import Path
from corral.modelfile.builder import build
from corral.modelfile.parser import parse
from corral.store.archive import export
from corral.store.errors import BlobNotFoundError, FileError, InputError
from corral.store.local import Store
from corral.store.name import Name
from corral.store.unpack import opened, unpack

root, folder, chance = sys.argv[1], Path(sys.argv[2]), random.Random(int(sys.argv[3]))
names = [Name.parse(f"m{i}") for i in range(4)] + [Name.parse(f"ghcr.io/a/b/m{i}") for i in range(2)]
while True:
    store = Store(root)
    name, other = chance.sample(names, 2)
    try:
        match chance.randrange(10):
            case 0 | 1 | 2:
                text = f"FROM ./{chance.randrange(4)}.gguf\\nSYSTEM {chance.randrange(5)}\\n"
                build(name, parse(text), store, folder=folder, links=chance.random() < 0.3, is_cached=chance.random() < 0.5)
            case 3:
                build(name, parse(f"FROM {other}\\nPARAMETER seed {chance.randrange(9)}\\n"), store, folder=folder)
            case 4 | 5:
                store.copy(name, other)
            case 6:
                store.remove(name)
            case 7:
                store.collect(older_than=0)
            case 8:
                export(store, store.find(name), str(folder / f"{chance.randrange(3)}.tar"), replaces=True)
            case 9:
                with opened(str(folder / f"{chance.randrange(3)}.tar")) as archive:
                    unpack(archive, store, name)
    except (InputError, BlobNotFoundError):
        continue  # there is no such model, or somebody removed it meanwhile
    except FileError as error:
        if error.errno != errno.ENOENT:
            raise
    print("done", flush=True)
"""


def check(store: Store) -> None:
    """Every tag that is there before and after is complete and intact."""
    models, broken = store.tags.models()
    assert broken == []
    for model in models:
        for blob in model.manifest.blobs:
            path = store.blobs.path(blob.digest)
            try:
                data = path.read_bytes()
            except FileNotFoundError:
                data = b""
            if Digest.of(data) != blob.digest:
                try:
                    now = store.tags.read(model.name).manifest
                except ModelNotFoundError:
                    break
                assert now != model.manifest, f"{model.name}: {blob.digest} is not what it should be"
                break


@pytest.mark.soak
def test_killed_at_random_moments(tmp_path: Path) -> None:
    chance = random.Random(23)
    for i in range(4):
        (tmp_path / f"{i}.gguf").write_bytes(gguf(text_pair("general.name", f"{i}" * 3000)))
    store = Store(tmp_path / "models")
    log = os.open(tmp_path / "stderr", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    kills = 500 if os.environ.get("CORRAL_SOAK") else 40

    def start() -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", WORKER, store.root, tmp_path, str(chance.randrange(1 << 30))]
        worker = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log)
        assert worker.stdout
        assert worker.stdout.readline() == b"done\n", (tmp_path / "stderr").read_text()
        return worker

    workers = [start() for _ in range(3)]
    try:
        for _ in range(kills):
            time.sleep(chance.random() * 0.05)
            worker = workers.pop(chance.randrange(len(workers)))
            worker.send_signal(signal.SIGKILL)
            worker.communicate()
            check(store)
            workers.append(start())
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate()
        os.close(log)
    assert "Traceback" not in (tmp_path / "stderr").read_text()
    check(store)
    # The random weights have a header and no more, but for that all is as it should be.
    assert {problem.problem for problem in verify(store, is_deep=True).problems} <= {"header"}
    store.collect(older_than=0)
    models, _ = store.tags.models()
    assert models
    assert set(store.blobs) == {blob.digest for model in models for blob in model.manifest.blobs}
    nested = {blob.digest.filename for model in models if not model.name.is_ollamas for blob in model.manifest.blobs}
    assert {path.name for path in store.blobs.spares.folder.glob("*")} == nested
    for folder in ("ingest", "leases"):
        assert list((store.root / ".corral" / folder).iterdir()) == []
    for i in range(4):  # the links' files are as they were
        assert (tmp_path / f"{i}.gguf").read_bytes() == gguf(text_pair("general.name", f"{i}" * 3000))
