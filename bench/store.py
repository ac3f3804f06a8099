"""How long `list`, `gc` and `verify` take on a store of 10,000 models and 50,000 blobs, and how that grows from 100 models.

Prints one JSON line, in seconds beyond `corral --version`, which is the start alone. Aims: list 0.5, gc 3. `growth` is the
time of 10,000 models by that of 100, of which 100 is linear.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from corral.store.config import Config
from corral.store.digest import Digest
from corral.store.manifest import CONFIG_TYPE, MODEL, SYSTEM, TEMPLATE, Descriptor, Manifest
from corral.store.name import Name

CORRAL = Path(sys.executable).parent / "corral"
ROUNDS = 3


def fill(root: Path, models: int) -> None:
    """A store of models with five blobs each, written without the care that a real one takes."""
    blobs = root / "blobs"
    blobs.mkdir(parents=True)

    def put(data: bytes, media_type: str) -> Descriptor:
        digest = Digest.of(data)
        (blobs / digest.filename).write_bytes(data)
        return Descriptor(media_type, digest, len(data))

    for i in range(models):
        config = put(Config(model_format="gguf", model_type=f"{i}").encode(), CONFIG_TYPE)
        kinds = (MODEL, TEMPLATE, SYSTEM, "application/octet-stream")
        layers = [put(f"{kind} {i}".encode(), kind) for kind in kinds]
        path = root.joinpath("manifests", *Name.parse(f"ns{i % 100}/model{i}").parts)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(Manifest.build(config, layers).raw)


def seconds(*arguments: str) -> float:
    """The fastest of some runs; verify finds that no model has a real GGUF, and says so."""
    times: list[float] = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        subprocess.run([CORRAL, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        times.append(time.perf_counter() - started)
    return min(times)


def measured(models: int) -> dict[str, float]:
    """Seconds beyond the start, by command."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["OLLAMA_MODELS"] = folder
        fill(Path(folder), models)
        start = seconds("--version")
        commands = {"list": ("list",), "gc": ("gc",), "verify": ("verify",)}
        return {name: seconds(*arguments) - start for name, arguments in commands.items()}


def main() -> None:
    """Measure a small and a large store."""
    small, large = measured(100), measured(10_000)
    growth = {name: round(large[name] / max(small[name], 0.01), 1) for name in large}
    rounded = {name: round(taken, 2) for name, taken in large.items()}
    limits = {"list_limit": 0.5, "gc_limit": 3}
    print(json.dumps({"bench": "store", "models": 10_000, "blobs": 50_000, **rounded, **limits, "growth": growth}))


if __name__ == "__main__":
    main()
