"""How long describing a model with 262,144 tokens takes, as a ratio to 50 milliseconds; and finding its special tokens.

Prints one JSON line. Limit: 1. `reader` is the peer: how long the `gguf` package's GGUFReader takes for the same file.
"""

from __future__ import annotations

import json
import random
import struct
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from corral.store import gguf
from corral.store.vocabulary import read_vocabulary
from gguf import GGUFReader

ROUNDS = 15
ALLOWED = 50.0  # milliseconds
TOKENS = 262_144
CONTROL, NORMAL = 3, 1


def string(data: bytes) -> bytes:
    return struct.pack("<Q", len(data)) + data


def array(key: str, kind: int, count: int, items: bytes) -> bytes:
    return string(key.encode()) + struct.pack("<IIQ", 9, kind, count) + items


def header() -> bytes:
    """A header as Gemma 3's: tokens of 9 bytes on average, scores and types, every fortieth token a special one."""
    chooser = random.Random(1)
    tokens = b"".join(string(chooser.randbytes(chooser.randrange(1, 17))) for _ in range(TOKENS))
    types = struct.pack(f"<{TOKENS}i", *(NORMAL if number % 40 else CONTROL for number in range(TOKENS)))
    pairs = [
        string(b"general.architecture") + struct.pack("<I", 8) + string(b"gemma3"),
        string(b"gemma3.block_count") + struct.pack("<II", 4, 18),
        array("tokenizer.ggml.tokens", 8, TOKENS, tokens),
        array("tokenizer.ggml.scores", 6, TOKENS, bytes(4 * TOKENS)),
        array("tokenizer.ggml.token_type", 5, TOKENS, types),
    ]
    tensors = [string(b"blk.%d.weight" % n) + struct.pack("<IQIQ", 1, 8, 0, 32 * n) for n in range(236)]
    counts = struct.pack("<IQQ", 3, len(tensors), len(pairs))
    return b"".join([b"GGUF", counts, *pairs, *tensors])


def milliseconds(action: Callable[[], object], rounds: int = ROUNDS) -> float:
    """The best of some runs; the machine may be busy."""
    best = float("inf")
    for _ in range(rounds):
        started = time.perf_counter()
        action()
        best = min(best, time.perf_counter() - started)
    return best * 1000


def main() -> None:
    """Measure all three on one file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.gguf")
        path.write_bytes(header() + bytes(237 * 32))
        size = path.stat().st_size

        def describe() -> gguf.GGUF:
            with path.open("rb") as file:
                return gguf.parse(file, size, "model")

        known = describe()
        times = {
            "describe": milliseconds(describe),
            "vocabulary": milliseconds(lambda: read_vocabulary(path, known)),
            "reader": milliseconds(lambda: GGUFReader(path), 1),
        }
    ratio = max(times["describe"], times["vocabulary"]) / ALLOWED
    shown = {name: round(value, 1) for name, value in times.items()}
    print(json.dumps({"bench": "gguf_header", "ratio": round(ratio, 2), "limit": 1, "milliseconds": shown}))


if __name__ == "__main__":
    main()
