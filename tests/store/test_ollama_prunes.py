"""An Ollama on the same store prunes at any moment of a create: nothing tagged is lost, and the create ends right or fails
cleanly. Its rule is played in the middle of the child's work: every blob that no manifest names goes, and so do odd names of
an hour's age.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from corral.store.local import Store
from corral.store.manifest import Manifest
from corral.store.name import Name

from tests.conftest import ROOT
from tests.store.promises import whole_models
from tests.weights import gguf

Stored = Callable[[Store, str], Manifest]

CHILD = """
import sys
from pathlib import Path
from corral.modelfile.builder import build
from corral.modelfile.parser import parse
from corral.store.errors import CorralError
from corral.store.local import Store
from corral.store.name import Name
from tests.store.pruning import prune

root, folder, fatal = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
steps = 0
busy = False

def watch(event, arguments):
    global steps, busy
    if busy or event not in ("open", "os.rename", "os.utime", "os.link", "os.remove", "fcntl.flock"):
        return
    steps += 1
    if steps == fatal:
        busy = True
        prune(root)
        busy = False

store = Store(root)
modelfile = parse("FROM ./m.gguf\\nSYSTEM be brief\\nLICENSE free\\nPARAMETER seed 1\\n")
sys.addaudithook(watch)
try:
    build(Name.parse(sys.argv[4]), modelfile, store, folder=folder, links=len(sys.argv) > 5)
except CorralError as error:
    print(f"Error: {error}", file=sys.stderr)
    sys.exit(1)
print(steps)
"""


def run(root: Path, folder: Path, fatal: int, name: str, *more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", CHILD, root, folder, str(fatal), name, *more]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.soak
@pytest.mark.parametrize(
    "how",
    [("new",), ("new", "link"), ("ghcr.io/a/b/new",), ("ghcr.io/a/b/new", "link")],
    ids=["copied", "linked", "nested", "nested linked"],
)
def test_pruned_at_any_step(tmp_path: Path, stored: Stored, how: tuple[str, ...]) -> None:
    (tmp_path / "m.gguf").write_bytes(gguf())
    whole = run(tmp_path / "whole", tmp_path, 0, *how)
    assert whole.returncode == 0, whole.stderr
    steps = range(1, int(whole.stdout) + 1)
    assert len(steps) > 30
    full = os.environ.get("CORRAL_SOAK")
    ended = {0: 0, 1: 0}
    for fatal in steps if full else sorted(random.Random(3).sample(steps, 15)):
        store = Store(tmp_path / str(fatal))
        old = stored(store, "old")
        store.tag(Name.parse("old"), old)
        done = run(store.root, tmp_path, fatal, *how)
        assert done.returncode in ended, done.stderr
        assert "Traceback" not in done.stderr
        ended[done.returncode] += 1
        made = store.manifest_or_none(Name.parse(how[0]))
        assert (made is not None) == (done.returncode == 0)
        whole_models(store, {"old": [old], "new": [made]})
        assert list(store.blobs.ingest_folder.iterdir()) == []
        assert run(store.root, tmp_path, 0, *how).returncode == 0
    assert ended[0] > len(steps) // 10 if full else ended[0]
