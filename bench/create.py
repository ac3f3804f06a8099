"""How long `corral create` takes from a GGUF in the page cache, as ratios to what cannot be done without.

Prints one JSON line; the file's size in MB may be given. Limits: with --link 1.1 times hashlib.file_digest of the file; by a
copy 1.15 times copy_file_range, fsync and hash; again, without a change, 0.5 s of the whole process. What it adds to the
disk, and the most memory it takes above that of `python -c pass`, are printed too, in MB.
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CORRAL = Path(sys.executable).parent / "corral"


def write_gguf(path: Path, size: int) -> None:
    """A GGUF with one tensor of about `size` random bytes, and on the disk."""

    def string(text: str) -> bytes:
        return struct.pack("<Q", len(text)) + text.encode()

    pairs = string("general.architecture") + struct.pack("<I", 8) + string("llama")
    tensor = string("token_embd.weight") + struct.pack("<IQIQ", 1, size // 4, 0, 0)
    header = b"GGUF" + struct.pack("<IQQ", 3, 1, 1) + pairs + tensor
    block = os.urandom(1 << 20)
    with path.open("wb") as file:
        file.write(header + bytes(-len(header) % 32))
        for i in range(size >> 20):
            file.write(struct.pack("<Q", i) + block[8:])
        file.flush()
        os.fsync(file.fileno())


def seconds_and_memory(*command: str | Path, cwd: Path) -> tuple[float, float]:
    """Wall seconds of a process, and its most resident memory in MB."""
    started = time.perf_counter()
    process = subprocess.Popen(command, cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0, command
    return time.perf_counter() - started, usage.ru_maxrss / 1024


def on_disk(folder: Path) -> float:
    """MB that the file system has in use: shared blocks are counted once."""
    os.sync()
    status = os.statvfs(folder)
    return (status.f_blocks - status.f_bfree) * status.f_frsize / 1e6


def copy_and_hash(source: Path, target: Path) -> float:
    """Seconds of a copy by the kernel, made durable, and a hash."""
    started = time.perf_counter()
    with source.open("rb") as read, target.open("wb") as written:
        while os.copy_file_range(read.fileno(), written.fileno(), 1 << 30):
            pass
        os.fsync(written.fileno())
        hashlib.file_digest(read, "sha256")
    seconds = time.perf_counter() - started
    target.unlink()
    return seconds


def main() -> None:
    """Measure in a folder of its own, by turns."""
    size = int(sys.argv[1]) << 20 if len(sys.argv) > 1 else 1536 << 20
    with tempfile.TemporaryDirectory(dir=os.environ.get("CORRAL_BENCH_DIR")) as folder:
        work = Path(folder)
        source = work / "model.gguf"
        write_gguf(source, size)
        (work / "Modelfile").write_text("FROM ./model.gguf\n")
        time.sleep(0.5)
        os.environ["OLLAMA_MODELS"] = str(work / "models")
        _, nothing = seconds_and_memory(sys.executable, "-c", "pass", cwd=work)
        started = time.perf_counter()
        with source.open("rb") as file:
            hashlib.file_digest(file, "sha256")
        hashing = time.perf_counter() - started
        before = on_disk(work)
        linking, _ = seconds_and_memory(CORRAL, "create", "a", "--link", cwd=work)
        linked = on_disk(work) - before
        shutil.rmtree(work / "models")
        copying = copy_and_hash(source, work / "copy")
        before = on_disk(work)
        plain, memory = seconds_and_memory(CORRAL, "create", "a", cwd=work)
        copied = on_disk(work) - before
        again, _ = seconds_and_memory(CORRAL, "create", "b", cwd=work)
    print(
        json.dumps(
            {
                "bench": "create",
                "ratio": round(plain / copying, 2),
                "limit": 1.15,
                "link": round(linking / hashing, 2),
                "link_limit": 1.1,
                "again_seconds": round(again, 2),
                "again_limit": 0.5,
                "linked_mb": round(linked),
                "copied_mb": round(copied),
                "memory_mb": round(memory - nothing),
                "memory_limit": 100,
            }
        )
    )


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    main()
