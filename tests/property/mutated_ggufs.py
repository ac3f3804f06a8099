"""Reads mutated GGUF files in a process of its own, so that its memory can be measured, and prints what came of it as JSON.

`python -m tests.property.mutated_ggufs FOLDER SEED COUNT`. Whatever is no error of ours ends it with a stack trace.
"""

from __future__ import annotations

import json
import random
import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from corral.store import gguf
from corral.store.errors import CorralError
from corral.store.vocabulary import read_vocabulary

from tests import weights

NUMBERS = (
    *(0, 1, 2, 5, 8, 9, 31, 32, 33, 64, 127, 128, 255, 256, 1024, 65_535, 65_536, (1 << 31) - 1, 1 << 31),
    *((1 << 32) - 1, 1 << 32, 1 << 40, 1 << 60, 1 << 61, (1 << 63) - 1, 1 << 63, (1 << 64) - 1),
)
SCORES = weights.pair("tokenizer.ggml.scores", weights.ARRAY, struct.pack("<IQ", weights.FLOAT, 300) + bytes(1200))


def sound() -> bytes:
    """A file with all kinds of metadata and several tensors."""
    tokens = {f"<{number}>": weights.CONTROL if number % 50 else weights.NORMAL for number in range(300)}
    counts = {"block_count": 2, "embedding_length": 8, "attention.head_count": 4, "expert_count": 4}
    counts |= {"expert_used_count": 2, "vocab_size": 300, "context_length": 256}
    pairs = [
        weights.text_pair("general.architecture", "llama"),
        *(weights.pair(f"llama.{key}", weights.UINT, struct.pack("<I", n)) for key, n in counts.items()),
        weights.pair("general.alignment", weights.UINT, struct.pack("<I", 32)),
        weights.text_pair("llama.rope.scaling.type", "linear"),
        weights.pair("llama.attention.layer_norm_rms_epsilon", weights.FLOAT, struct.pack("<f", 1e-5)),
        *weights.vocabulary(tokens, bos="<1>", eos="<2>", adds_bos=True),
        SCORES,
        weights.chat_template("{{ messages }}"),
    ]
    shapes = [((32,), 0), ((256, 2), 12), ((64,), 8), ((8, 4, 2), 1)]
    sizes = [128, 288, 68, 128]
    tensors: list[bytes] = []
    offset = 0
    for number, ((shape, kind), size) in enumerate(zip(shapes, sizes, strict=True)):
        layout = f"<I{len(shape)}QIQ"
        tensors.append(weights.string(f"t{number}") + struct.pack(layout, len(shape), *shape, kind, offset))
        offset += -(-size // 32) * 32
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(pairs)) + b"".join(pairs) + b"".join(tensors)
    return head + bytes(-len(head) % 32) + bytes(offset)


def mutations(good: bytes, chooser: random.Random, count: int) -> Iterator[bytes]:
    """The file with a few bytes, numbers and pieces of its header changed, moved, doubled or cut out."""
    length = len(good) - 700
    for _ in range(count):
        data = bytearray(good)
        for _ in range(chooser.randint(1, 4)):
            at = chooser.randrange(min(length, len(data)) or 1)
            match chooser.randrange(7):
                case 0 | 1:
                    data[at : at + 1] = bytes([chooser.choice((0, 1, 0x7F, 0x80, 0xFF, chooser.randrange(256)))])
                case 2:
                    data[at : at + 4] = struct.pack("<I", chooser.choice(NUMBERS) & 0xFFFFFFFF)
                case 3:
                    data[at : at + 8] = struct.pack("<Q", chooser.choice(NUMBERS))
                case 4:
                    other = chooser.randrange(length)
                    data[at:at] = good[other : other + chooser.randrange(200)]
                case 5:
                    del data[at : at + chooser.randrange(200)]
                case _:
                    del data[max(at, 1) :]
        yield bytes(data)


def read(path: Path) -> str:
    """All that is asked of a header; what it says is one printable line."""
    try:
        header = gguf.read(path)
        vocabulary = read_vocabulary(path, header)
    except CorralError as error:
        return str(error)
    assert header.parameter_count >= 0
    assert header.context_length is None or header.context_length > 0
    return f"{header.kind} {header.file_type} {vocabulary is None} {header.chat_template is None}"


def peak() -> int:
    """The most memory this process has had, in KiB; what getrusage says begins with that of the parent."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1])


def main(folder: Path, seed: int, count: int) -> None:
    """Read them all."""
    path = folder / "mutated.gguf"
    good = sound()
    path.write_bytes(good)
    assert read(path) == "model unknown False False"
    before = peak()
    slowest, accepted = 0.0, 0
    for number, data in enumerate(mutations(good, random.Random(seed), count)):
        path.unlink()  # Some file systems wait for the disk when a file is written over.
        path.write_bytes(data)
        started = time.perf_counter()
        said = read(path)
        slowest = max(slowest, time.perf_counter() - started)
        assert said.isprintable(), number
        accepted += ": " not in said
    sys.stdout.write(json.dumps({"accepted": accepted, "slowest": slowest, "kilobytes": peak() - before}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
