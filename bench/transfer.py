"""How long a pull and a push of 1 GB take on loopback, from and to Debian's docker-registry, as ratios to other tools.

Prints one JSON line; the blob's size in MB may be given. A pull of ours is verified and on the disk. Limits: 1.15 times curl
to a file, which verifies nothing, and fsync; throughputs 3 times skopeo's and 3.5 times oras-py's; a push twice skopeo's
throughput; 100 MB of memory. All are taken by turns, three times, and the median of the ratios counts.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from create import seconds_and_memory, write_gguf

CORRAL = Path(sys.executable).parent / "corral"
TOOLS = Path(__file__).parent.parent / "build" / "tools" / "usr"
ORAS = """
import sys
import oras.provider
registry = oras.provider.Registry(insecure=True, auth_backend="basic")
registry.pull(target=sys.argv[1], outdir=sys.argv[2], overwrite=True)
"""


@contextmanager
def registry(folder: Path) -> Generator[str]:
    """A docker-registry on this folder that runs while the block does; its host."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        host = f"127.0.0.1:{listener.getsockname()[1]}"
    folder.mkdir()
    settings = folder / "registry.yml"
    storage = f"storage: {{filesystem: {{rootdirectory: {folder}}}, delete: {{enabled: true}}}}"
    settings.write_text(f"version: 0.1\nlog: {{level: error}}\n{storage}\nhttp: {{addr: {host}}}\n")
    process = subprocess.Popen(
        ["docker-registry", "serve", settings], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        for _ in range(100):
            try:
                urllib.request.urlopen(f"http://{host}/v2/").close()
                break
            except OSError:
                time.sleep(0.1)
        yield host
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(folder)


def took(work: Path, *command: str | Path) -> tuple[float, float]:
    """Seconds and MB of a process that begins with nothing waiting for the disk."""
    os.sync()
    return seconds_and_memory(*command, cwd=work)


def curl(work: Path, url: str) -> float:
    """Seconds of a download, made durable."""
    seconds, _ = took(work, "curl", "-sf", "-o", "by-curl", url)
    started = time.perf_counter()
    with (work / "by-curl").open("rb") as file:
        os.fsync(file.fileno())
    seconds += time.perf_counter() - started
    (work / "by-curl").unlink()
    return seconds


def pushed(work: Path, name: str, *command: str | Path) -> tuple[float, float]:
    """Seconds and MB of a push to a registry that has nothing; `{}` in the command is the model's name there."""
    with registry(work / "empty") as host:
        target = f"{host}/bench/model:v1"
        if command[0] == CORRAL:
            subprocess.run([CORRAL, "cp", name, target], check=True, capture_output=True)
        return took(work, *(str(word).replace("{}", target) for word in command))


def measure(work: Path, host: str, size: int) -> dict[str, float]:
    """All ratios, and memory in MB."""
    os.environ["OLLAMA_MODELS"] = str(work / "models")
    write_gguf(work / "model.gguf", size)
    (work / "Modelfile").write_text("FROM ./model.gguf\n")
    name = f"{host}/bench/model:v1"
    subprocess.run([CORRAL, "create", name, "-f", work / "Modelfile"], check=True, capture_output=True)
    subprocess.run([CORRAL, "push", name, "--format", "oci"], check=True, capture_output=True)
    with (work / "model.gguf").open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    (work / "model.gguf").unlink()
    blob = f"http://{host}/v2/bench/model/blobs/sha256:{digest}"
    skopeo = ("skopeo", "--insecure-policy", "copy", "-q")
    copied = (*skopeo, "--src-tls-verify=false", f"docker://{name}")
    subprocess.run([*copied, "oci:layout:v1"], cwd=work, check=True)
    runs: list[dict[str, float]] = []
    for _ in range(3):
        for folder in ("skopeo", "oras", "models"):
            shutil.rmtree(work / folder, ignore_errors=True)
        (work / "oras").mkdir()
        by_curl = curl(work, blob)
        pulling, memory = took(work, CORRAL, "pull", name)
        by_skopeo, _ = took(work, *copied, "oci:skopeo:v1")
        by_oras, _ = took(work, sys.executable, "-c", ORAS, name, "oras")
        pushing, more = pushed(work, name, CORRAL, "push", "{}")
        pushing_by_skopeo, _ = pushed(work, name, *skopeo, "--dest-tls-verify=false", "oci:layout:v1", "docker://{}")
        runs.append(
            {
                "ratio": pulling / by_curl,
                "times_skopeo": by_skopeo / pulling,
                "times_oras": by_oras / pulling,
                "push_times_skopeo": pushing_by_skopeo / pushing,
                "memory_mb": max(memory, more),
                "mb_per_second": size / 1e6 / pulling,
            }
        )
    return {key: round(median(run[key] for run in runs), 2) for key in runs[0]}


def main() -> None:
    """Measure in a folder of its own."""
    os.environ["PATH"] = f"{TOOLS / 'bin'}:{os.environ['PATH']}"
    os.environ["LD_LIBRARY_PATH"] = ":".join(map(str, (TOOLS / "lib").glob("*")))
    size = int(sys.argv[1]) << 20 if len(sys.argv) > 1 else 1024 << 20
    with tempfile.TemporaryDirectory(dir=os.environ.get("CORRAL_BENCH_DIR")) as folder:
        work = Path(folder)
        with registry(work / "registry") as host:
            found = measure(work, host, size)
    limits = {"limit": 1.15, "skopeo_limit": 3, "oras_limit": 3.5, "push_limit": 2, "memory_limit": 100}
    print(json.dumps({"bench": "transfer", **found, **limits}))


if __name__ == "__main__":
    main()
