"""How long `corral list` takes from cold, as a ratio to the interpreter's own start (`python -c pass`) in the same run.

Prints one JSON line. Aim: 6 or less.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROUNDS = 15


def seconds(command: list[str], environment: dict[str, str]) -> float:
    """One run of a command, which must succeed."""
    started = time.perf_counter()
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> None:
    """Measure by turns, so that both meet the same machine."""
    script = str(Path(sys.executable).parent / "corral")
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder, "manifests", "registry.ollama.ai", "library", "demo")
        model.mkdir(parents=True)
        digest = f"sha256:{'0' * 64}"
        part = {"mediaType": "x", "digest": digest, "size": 1}
        (model / "latest").write_text(json.dumps({"schemaVersion": 2, "config": part, "layers": [part]}))
        environment = {**os.environ, "HOME": folder, "OLLAMA_MODELS": folder, "PYTHONDONTWRITEBYTECODE": ""}
        commands = {"list": [script, "list"], "python": [sys.executable, "-c", "pass"]}
        for command in commands.values():
            seconds(command, environment)  # compiles, and warms the page cache
        times: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(ROUNDS):
            for name, command in commands.items():
                times[name].append(seconds(command, environment))
    medians = {name: statistics.median(values) for name, values in times.items()}
    ratio = medians["list"] / medians["python"]
    print(
        json.dumps(
            {"bench": "cold_start", "ratio": round(ratio, 2), "aim": 6, **{k: round(v, 4) for k, v in medians.items()}}
        )
    )


if __name__ == "__main__":
    main()
