"""What an Ollama on the same store does when it starts: its rule for what may go."""

from __future__ import annotations

import json
import time
from pathlib import Path


def prune(root: Path) -> None:
    """Remove every blob that no manifest names, and odd names of an hour's age."""
    named: set[str] = set()
    for path in (root / "manifests").glob("*/*/*/*"):
        try:
            manifest = json.loads(path.read_bytes())
        except ValueError:
            continue
        named |= {blob["digest"].replace(":", "-") for blob in [manifest["config"], *manifest["layers"]]}
    for path in root.glob("blobs/*"):
        is_odd = len(path.name) != 71
        if path.name not in named and (not is_odd or path.stat().st_mtime < time.time() - 3600):
            path.unlink(missing_ok=True)
