"""A power cut at any step of writing a model: what was not synced is lost or half there, in any order, and no tag breaks.

The child keeps a journal of what it does to the file system, with copies of what it overwrites or removes, and ends at
the chosen step. Then the cut is played: of the changes to a folder that was not synced since, each may be undone; and a
file whose content was not synced is cut anywhere.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from corral.store.digest import Digest
from corral.store.local import Store
from corral.store.manifest import MODEL, Manifest
from corral.store.name import Name

from tests.store.promises import whole_models

Stored = Callable[[Store, str], Manifest]

CHILD = """
import json, os, shutil, sys
from pathlib import Path
from corral.store.config import Config
from corral.store.local import Store
from corral.store.manifest import CONFIG_TYPE, MODEL, SYSTEM, Manifest
from corral.store.name import Name

from tests.store.promises import whole_models

root, source, saved, fatal = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])
journal = (saved / "journal").open("w")
steps = 0
busy = False

def note(kind, *facts):
    global steps, busy
    steps += 1
    journal.write(json.dumps([kind, *map(str, facts)]) + "\\n")
    journal.flush()
    if steps == fatal:
        os._exit(9)

def keep(path):
    if not os.path.isfile(path):
        return ""
    copy = saved / str(steps)
    shutil.copyfile(path, copy)
    return copy

def watch(event, arguments):
    global busy
    if busy:
        return
    busy = True
    try:
        paths = [os.fsdecode(one) for one in arguments[:2] if isinstance(one, (str, bytes, os.PathLike))]
        if not any(path.startswith(root) for path in paths):
            return
        if event == "os.rename":
            note("rename", *paths, keep(paths[1]))
        elif event == "os.remove":
            note("remove", paths[0], keep(paths[0]))
        elif event in ("os.mkdir", "os.rmdir"):
            note(event[3:], paths[0])
        elif event == "os.link":
            note("create", paths[1])
        elif event == "open" and arguments[2] & os.O_CREAT and not os.path.exists(paths[0]):
            note("create", paths[0])
    finally:
        busy = False

real_fsync = os.fsync
def fsync(descriptor):
    status = os.fstat(descriptor)
    real_fsync(descriptor)
    note("sync", os.readlink(f"/proc/self/fd/{descriptor}"), status.st_ino)
os.fsync = fsync
sys.addaudithook(watch)

store = Store(root)
with store.writing():
    weights = store.blobs.adopt(source, MODEL, links="link" in source.name).blob
    system = store.blobs.put(b"new", SYSTEM).blob
    config = store.blobs.put(Config(model_format="gguf").encode(), CONFIG_TYPE).blob
    made = Manifest.build(config, [weights, system])
    store.tag(Name.parse("new"), made)
    store.tag(Name.parse("old"), made)
    store.tag(Name.parse("ghcr.io/a/b/nested"), made)
store.remove(Name.parse("gone"))
store.collect()
print(steps)
"""


def run(root: Path, source: Path, saved: Path, fatal: int) -> subprocess.CompletedProcess[str]:
    saved.mkdir()
    command = [sys.executable, "-c", CHILD, root, source, saved, str(fatal)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def cut(root: Path, saved: Path, chance: random.Random) -> None:
    """Lose what was not synced."""
    journal: list[list[Any]] = [json.loads(line) for line in (saved / "journal").read_text().splitlines()]
    if journal[-1][0] != "sync":
        journal.pop()  # it was noted before it would have been done
    synced = {int(entry[2]) for entry in journal if entry[0] == "sync"}
    for i, (kind, *facts) in reversed(list(enumerate(journal))):
        if kind == "sync":
            continue
        folder = str(Path(facts[1] if kind == "rename" else facts[0]).parent)
        is_durable = any(entry[:2] == ["sync", folder] for entry in journal[i:])
        if not is_durable and chance.random() < 0.5:
            restored = undo(kind, facts)
            synced |= {restored.stat().st_ino} if restored else set()
    for path in root.rglob("*"):
        if path.is_file() and path.stat().st_ino not in synced and is_new(path, journal):
            os.truncate(path, chance.choice([0, chance.randint(0, path.stat().st_size)]))


def is_new(path: Path, journal: list[list[Any]]) -> bool:
    """Whether the child made the file."""
    return any(str(path) in entry[1:3] for entry in journal if entry[0] in ("create", "rename"))


def undo(kind: str, facts: list[str]) -> Path | None:
    """Take a change back; the file that is as it was before, if there is one."""
    path = Path(facts[0])
    match kind:
        case "rename":
            target, before = Path(facts[1]), facts[2]
            if target.exists() and path.parent.exists():
                target.rename(path)
                if before:
                    shutil.copyfile(before, target)
                    return target
        case "remove":
            if facts[1] and path.parent.exists() and not path.exists():
                shutil.copyfile(facts[1], path)
                return path
        case "create":
            path.unlink(missing_ok=True)
        case "mkdir":
            if path.is_dir() and not any(path.iterdir()):
                path.rmdir()
        case _:
            path.mkdir(parents=True, exist_ok=True)
    return None


def check(root: Path, allowed: dict[str, list[Manifest | None]]) -> None:
    """Every tag is one of its allowed models, whole to the last bit; and the store can be worked with."""
    store = Store(root)
    found = whole_models(store, allowed)
    store.collect(older_than=0)
    assert whole_models(store, allowed) == found
    for model in store.models()[0]:
        files = {blob.digest: store.blobs.places(blob.digest) for blob in model.manifest.blobs}
        for digest, (shown, spare) in files.items():
            assert Digest.of((shown if model.name.is_ollamas else spare).read_bytes()) == digest
    assert not store.blobs.adopt(store.blobs.path(next(iter(found.values())).config.digest), MODEL).is_new


@pytest.mark.soak
@pytest.mark.parametrize("how", ["copied", "linked"])
def test_a_power_cut_at_any_step(tmp_path: Path, stored: Stored, how: str) -> None:
    chance = random.Random(11)
    source = tmp_path / f"{how}-weights"
    source.write_bytes(os.urandom(200_000))
    seed = Store(tmp_path / "seed")
    old, gone = stored(seed, "old"), stored(seed, "gone")
    seed.tag(Name.parse("old"), old)
    seed.tag(Name.parse("gone"), gone)
    shutil.copytree(seed.root, tmp_path / "whole")
    whole = run(tmp_path / "whole", source, tmp_path / "whole-saved", 0)
    assert whole.returncode == 0, whole.stderr
    made = Store(tmp_path / "whole").find(Name.parse("new")).manifest
    steps = range(1, int(whole.stdout) + 1)
    assert len(steps) > 40
    full = os.environ.get("CORRAL_SOAK")
    for fatal in steps if full else sorted(chance.sample(steps, 12)):
        for attempt in range(8 if full else 2):
            root, saved = tmp_path / f"{fatal}-{attempt}", tmp_path / f"{fatal}-{attempt}-saved"
            shutil.copytree(seed.root, root)
            assert run(root, source, saved, fatal).returncode == 9
            cut(root, saved, chance)
            check(root, {"old": [old, made], "new": [made, None], "gone": [gone, None], "nested": [made, None]})
            shutil.rmtree(root)
            shutil.rmtree(saved)
