"""A process killed at any step of writing a model leaves a readable store, whole tags, and nothing `gc` cannot clear.

The child counts its file system events by Python's audit hook and kills itself, with SIGKILL, at the chosen one.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from corral.store.config import Config
from corral.store.digest import Digest
from corral.store.local import Store
from corral.store.manifest import CONFIG_TYPE, MODEL, SYSTEM, Manifest
from corral.store.name import Name

from tests.store.promises import whole_models

Stored = Callable[[Store, str], Manifest]

CHILD = """
import os, signal, sys
from pathlib import Path
from corral.store.config import Config
from corral.store.local import Store
from corral.store.manifest import CONFIG_TYPE, MODEL, SYSTEM, Manifest
from corral.store.name import Name

root, source, fatal = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
steps = 0
WATCHED = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.utime", "fcntl.flock", "fsync", "write")

def step(event, arguments=()):
    global steps
    if event in WATCHED:
        steps += 1
        if steps == fatal:
            os.kill(os.getpid(), signal.SIGKILL)

real_fsync = os.fsync
def fsync(descriptor):
    step("fsync")
    real_fsync(descriptor)
os.fsync = fsync
sys.addaudithook(step)

store = Store(root)
with store.writing():
    weights = store.blobs.adopt(source, MODEL, lambda _: step("write")).blob
    system = store.blobs.put(b"new", SYSTEM).blob
    config = store.blobs.put(Config(model_format="gguf").encode(), CONFIG_TYPE).blob
    made = Manifest.build(config, [weights, system])
    store.tag(Name.parse("new"), made)
    store.tag(Name.parse("old"), made)
    store.tag(Name.parse("ghcr.io/a/b/nested"), made)
store.remove(Name.parse("gone"))
store.copy(Name.parse("ghcr.io/a/b/nested"), Name.parse("ghcr.io/again"))
store.remove(Name.parse("ghcr.io/a/b/nested"))
store.collect()
fatal = 0
print(steps)
"""


FIRST = CHILD.replace('store.remove(Name.parse("gone"))\n', "")


def run(root: Path, source: Path, fatal: int, child: str = CHILD) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", child, root, source, str(fatal)], capture_output=True, text=True, timeout=60, check=False
    )


def prepared(root: Path, stored: Stored) -> tuple[Manifest, Manifest]:
    store = Store(root)
    old, gone = stored(store, "old"), stored(store, "gone")
    store.tag(Name.parse("old"), old)
    store.tag(Name.parse("gone"), gone)
    return old, gone


def built(source: bytes) -> Manifest:
    from corral.store.manifest import Descriptor

    config = Config(model_format="gguf").encode()
    layers = [Descriptor(MODEL, Digest.of(source), len(source)), Descriptor(SYSTEM, Digest.of(b"new"), 3)]
    return Manifest.build(Descriptor(CONFIG_TYPE, Digest.of(config), len(config)), layers)


def check(root: Path, allowed: dict[str, list[Manifest | None]]) -> None:
    """Every tag is one of its allowed models, whole and intact; a collection leaves nothing but what they name."""
    store = Store(root)
    found = whole_models(store, allowed)
    for digest in store.blobs:
        assert Digest.of(store.blobs.path(digest).read_bytes()) == digest
    store.collect(older_than=0)
    assert set(store.blobs) == {blob.digest for model in found.values() for blob in model.blobs}
    nested = [model.manifest for model in store.models()[0] if not model.name.is_ollamas]
    spares = {path.name for path in store.blobs.spares.folder.glob("*")}
    assert spares == {blob.digest.filename for model in nested for blob in model.blobs}
    assert list(store.blobs.ingest_folder.iterdir()) == []
    assert {path.name for path in store.blobs.wrote_folder.iterdir()} <= {
        path.name for path in store.blobs.folder.iterdir()
    }


@pytest.mark.soak
def test_killed_at_any_step(tmp_path: Path, stored: Stored) -> None:
    source = tmp_path / "weights"
    source.write_bytes(os.urandom(3 << 20))
    made = built(source.read_bytes())
    old, gone = prepared(tmp_path / "whole", stored)
    whole = run(tmp_path / "whole", source, 0)
    assert whole.returncode == 0, whole.stderr
    check(tmp_path / "whole", {"old": [made], "new": [made], "gone": [None], "nested": [None], "again": [made]})
    steps = range(1, int(whole.stdout) + 1)
    assert len(steps) > 60
    full = os.environ.get("CORRAL_SOAK")
    for fatal in steps if full else sorted(random.Random(7).sample(steps, 25)):
        root = tmp_path / str(fatal)
        prepared(root, stored)
        died = run(root, source, fatal)
        assert died.returncode == -signal.SIGKILL, died.stderr
        maybe: list[Manifest | None] = [made, None]
        check(root, {"old": [old, made], "new": maybe, "gone": [gone, None], "nested": maybe, "again": maybe})
        # What was broken off is done again without further ado.
        assert run(root, source, 0).returncode in (0, 1)
        assert Store(root).find(Name.parse("new")).manifest == made


@pytest.mark.soak
def test_killed_at_any_step_of_the_very_first_write(tmp_path: Path) -> None:
    source = tmp_path / "weights"
    source.write_bytes(b"small")
    made = built(b"small")
    total = int(run(tmp_path / "whole", source, 0, FIRST).stdout)
    full = os.environ.get("CORRAL_SOAK")
    for fatal in range(1, total + 1 if full else 24):
        root = tmp_path / str(fatal)
        assert run(root, source, fatal, FIRST).returncode == -signal.SIGKILL
        if root.exists():
            with Store(root).writing():
                pass
            check(root, {name: [made, None] for name in ("old", "new", "nested", "again")})
