"""The GGUF reader: right about good files, and for any other a quick error of ours within bounded memory."""

from __future__ import annotations

import os
import random
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from corral.store import gguf
from corral.store.errors import FileError, InputError, InvalidGGUFError

U32, F32, BOOL, STRING, ARRAY, U64 = 4, 6, 7, 8, 9, 10


def string(text: str | bytes) -> bytes:
    data = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(data)) + data


def pair(key: str, kind: int, value: bytes) -> bytes:
    return string(key) + struct.pack("<I", kind) + value


def count(key: str, value: int) -> bytes:
    return pair(key, U32, struct.pack("<I", value))


def array(item: int, length: int, data: bytes) -> bytes:
    return struct.pack("<IQ", item, length) + data


def tensor(name: str = "t", shape: tuple[int, ...] = (32,), kind: int = 0, offset: int = 0) -> bytes:
    return string(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)


ARCHITECTURE = pair("general.architecture", STRING, string("llama"))


def file(
    pairs: list[bytes] | None = None,
    tensors: list[bytes] | None = None,
    *,
    magic: bytes = b"GGUF",
    version: int = 3,
    pair_count: int | None = None,
    tensor_count: int | None = None,
    data: int = 4096,
) -> bytes:
    pairs = [ARCHITECTURE] if pairs is None else pairs
    tensors = [tensor()] if tensors is None else tensors
    counts = (
        len(tensors) if tensor_count is None else tensor_count,
        len(pairs) if pair_count is None else pair_count,
    )
    return magic + struct.pack("<IQQ", version, *counts) + b"".join(pairs) + b"".join(tensors) + bytes(data)


@pytest.fixture
def reading(tmp_path: Path) -> Callable[[bytes], gguf.GGUF]:
    def read(data: bytes) -> gguf.GGUF:
        path = tmp_path / "x.gguf"
        path.write_bytes(data)
        return gguf.read(path, "x")

    return read


Reading = Callable[[bytes], gguf.GGUF]


def test_the_real_models_facts(smollm2: Path) -> None:
    header = gguf.read(smollm2)
    assert (header.architecture, header.kind, header.file_type) == ("llama", "model", "Q4_1")
    assert header.parameter_count == 134_515_008
    assert (header.context_length, header.embedding_length) == (8192, 576)
    assert header.chat_template is not None
    assert "<|im_start|>" in header.chat_template
    tokens = header.metadata["tokenizer.ggml.tokens"]
    assert isinstance(tokens, gguf.Array)
    assert (tokens.count, len(tokens.items), tokens.items[0]) == (49152, 64, "<|endoftext|>")
    assert {tensor.type for tensor in header.tensors} >= {"F32", "Q4_1"}
    assert gguf.is_gguf(smollm2)


def test_all_kinds_of_metadata(reading: Reading) -> None:
    pairs = [
        ARCHITECTURE,
        pair("f", F32, struct.pack("<f", 0.5)),
        pair("b", BOOL, b"\1"),
        pair("q", U64, struct.pack("<Q", 2**64 - 1)),
        pair("long", ARRAY, array(U32, 1000, struct.pack("<1000I", *range(1000)))),
        pair("texts", ARRAY, array(STRING, 2, string("a") + string("é"))),
        pair("not utf-8", STRING, string(b"\xff")),
    ]
    header = reading(file(pairs, [tensor("a", (32, 2)), tensor("q", (64,), 3, 256)]))
    assert header.metadata == {
        "general.architecture": "llama",
        "f": 0.5,
        "b": True,
        "q": 2**64 - 1,
        "long": gguf.Array(1000, tuple(range(64))),
        "texts": gguf.Array(2, ("a", "é")),
        "not utf-8": "\ufffd",
    }
    assert header.tensors == (gguf.Tensor("a", (32, 2), "F32", 0, 256), gguf.Tensor("q", (64,), "Q4_1", 256, 40))
    assert header.parameter_count == 128


@pytest.mark.parametrize("architecture", ["a", "Qwen2.5-VL_x", "gpt-oss", "a" * 64])
def test_names_of_architectures(reading: Reading, architecture: str) -> None:
    assert reading(file([pair("general.architecture", STRING, string(architecture))])).architecture == architecture


@pytest.mark.parametrize(
    ("pairs", "kind"),
    [
        ([], "model"),
        ([pair("general.type", STRING, string("adapter"))], "adapter"),
        ([pair("general.type", STRING, string("mmproj"))], "projector"),
        ([count("llama.vision.block_count", 1)], "projector"),
        ([count("llama.vision.block_count", 1), count("llama.block_count", 1)], "model"),
    ],
)
def test_kinds_of_file(reading: Reading, pairs: list[bytes], kind: str) -> None:
    assert reading(file([ARCHITECTURE, *pairs])).kind == kind


NESTED = array(ARRAY, 1, array(ARRAY, 1, array(U32, 1, struct.pack("<I", 1))))

HOSTILE = {
    "nothing": b"",
    "four bytes": b"GGUF",
    "wrong magic": file(magic=b"GGML"),
    "an old format": file(magic=b"ggjt"),
    "version 0": file(version=0),
    "version 1": file(version=1),
    "version 4": file(version=4),
    "big-endian": file(version=3 << 24),
    "2**60 metadata pairs": file(pair_count=2**60),
    "2**60 tensors": file(tensor_count=2**60),
    "one pair too many": file(pair_count=2, data=0, tensors=[]),
    "one tensor too many": file(tensor_count=2, data=0),
    "a string of 2**63": file([pair("k", STRING, struct.pack("<Q", 2**63))]),
    "a string of 2**64-1": file([pair("k", STRING, struct.pack("<Q", 2**64 - 1))]),
    "a key of 2**63": file([struct.pack("<Q", 2**63)]),
    "an array of 2**63": file([pair("k", ARRAY, array(U32, 2**63, b""))]),
    "an array of 2**61 times 8": file([pair("k", ARRAY, array(U64, 2**61, b""))]),
    "an array of 2**40 strings": file([pair("k", ARRAY, array(STRING, 2**40, b""))]),
    "a string of 2**63 in an array": file([pair("k", ARRAY, array(STRING, 1, struct.pack("<Q", 2**63)))]),
    "a skipped string of 2**63": file([pair("k", ARRAY, array(STRING, 70, string("") * 69 + struct.pack("<Q", 2**63)))]),
    "nested arrays": file([ARCHITECTURE, pair("k", ARRAY, NESTED)]),
    "arrays nested deep": file([pair("k", ARRAY, struct.pack("<IQ", ARRAY, 1) * 100_000)]),
    "an unknown type": file([pair("k", 13, bytes(8))]),
    "an unknown item type": file([pair("k", ARRAY, array(99, 1, bytes(8)))]),
    "a key twice": file([ARCHITECTURE, ARCHITECTURE]),
    "a key of nothing": file([ARCHITECTURE, count("", 1)]),
    "-1 metadata pairs": file(pair_count=2**64 - 1, tensor_count=2**64 - 1),
    "no architecture": file([]),
    "an architecture that is a number": file([count("general.architecture", 1)]),
    "an empty architecture": file([pair("general.architecture", STRING, string(""))]),
    "an architecture of 65 letters": file([pair("general.architecture", STRING, string("a" * 65))]),
    "an architecture of a megabyte": file([pair("general.architecture", STRING, string("a" * (1 << 20)))]),
    "an architecture with a space": file([pair("general.architecture", STRING, string("lla ma"))]),
    "an architecture with a slash": file([pair("general.architecture", STRING, string("../llama"))]),
    "an architecture in other letters": file([pair("general.architecture", STRING, string("lláma"))]),
    "split.count text": file([ARCHITECTURE, pair("split.count", STRING, string("3"))]),
    "split.count a long text": file([ARCHITECTURE, pair("split.count", STRING, string("3" * 100_000))]),
    "split.count an array": file([ARCHITECTURE, pair("split.count", ARRAY, array(U32, 1, bytes(4)))]),
    "split.count 2**16": file([ARCHITECTURE, count("split.count", 1 << 16)]),
    "split.no a fraction": file([ARCHITECTURE, pair("split.no", F32, struct.pack("<f", 1.0))]),
    "a first part without architecture": file([count("split.no", 0), count("split.count", 2)]),
    "alignment 0": file([ARCHITECTURE, count("general.alignment", 0)]),
    "alignment 33": file([ARCHITECTURE, count("general.alignment", 33)]),
    "alignment 2**17": file([ARCHITECTURE, count("general.alignment", 1 << 17)]),
    "alignment 2**63": file([ARCHITECTURE, pair("general.alignment", U64, struct.pack("<Q", 1 << 63))], tensors=[]),
    "alignment true": file([ARCHITECTURE, pair("general.alignment", BOOL, b"\1")]),
    "alignment text": file([ARCHITECTURE, pair("general.alignment", STRING, string("32"))]),
    "no dimensions": file(tensors=[tensor(shape=())]),
    "five dimensions": file(tensors=[tensor(shape=(1, 1, 1, 1, 1))]),
    "nine dimensions": file(tensors=[tensor(shape=(1,) * 9)]),
    "2**32-1 dimensions": file(tensors=[string("t") + struct.pack("<I", 2**32 - 1)]),
    "dimension 0": file(tensors=[tensor(shape=(0,))]),
    "a shape that overflows": file(tensors=[tensor(shape=(2**63, 2**63, 2**63, 2**63))]),
    "a shape of 2**64": file(tensors=[tensor(shape=(2**32, 2**32))]),
    "half a quantised block": file(tensors=[tensor(shape=(33,), kind=3)]),
    "an unknown tensor type": file(tensors=[tensor(kind=200)]),
    "tensor type 2**32-1": file(tensors=[tensor(kind=2**32 - 1)]),
    "a tensor twice": file(tensors=[tensor("t"), tensor("t", offset=128)]),
    "two tensors in one place": file(tensors=[tensor("t"), tensor("u")]),
    "tensors that overlap": file(tensors=[tensor("t", offset=96), tensor("u", offset=0)]),
    "an odd offset": file(tensors=[tensor(offset=1)]),
    "an offset beyond the end": file(tensors=[tensor(offset=2**63)]),
    "a tensor beyond the end": file(tensors=[tensor(shape=(2048,))]),
    "an architecture with an escape sequence": file(
        [pair("general.architecture", STRING, string("\x1b[2J\n")), count("\x1b[2J\n.block_count", 0)]
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_error_for_hostile_files(reading: Reading, case: str) -> None:
    with pytest.raises(InvalidGGUFError) as caught:
        reading(HOSTILE[case])
    assert str(caught.value).startswith("x: invalid GGUF: ")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500
    assert caught.value.hint


def test_error_at_every_cut_of_a_header(reading: Reading) -> None:
    pairs = [ARCHITECTURE, pair("a", ARRAY, array(STRING, 70, string("ab") * 70)), count("llama.block_count", 2)]
    whole = file(pairs, [tensor()], data=0)
    for length in range(len(whole)):
        with pytest.raises(InvalidGGUFError):
            reading(whole[:length])


def test_error_at_many_cuts_of_the_real_model(smollm2: Path, tmp_path: Path) -> None:
    path = tmp_path / "cut.gguf"
    with smollm2.open("rb") as model:
        path.write_bytes(model.read(8 << 20))
    for length in (8 << 20, 5 << 20, 1 << 20, 65536, 4097, 100, 24, 23, 8, 4, 3, 1, 0):
        os.truncate(path, length)
        with pytest.raises(InvalidGGUFError):
            gguf.read(path)


BOUNDED = """
import resource, sys, tracemalloc
from pathlib import Path
from corral.store import gguf
from corral.store.errors import InvalidGGUFError
resource.setrlimit(resource.RLIMIT_CPU, (20, 20))
gguf.read(Path(sys.argv[1]))
tracemalloc.start()
for path in sys.argv[2:]:
    try:
        gguf.read(Path(path))
    except InvalidGGUFError:
        print("refused")
print(tracemalloc.get_traced_memory()[1])
"""


def test_memory_and_time_are_bounded_for_large_hostile_files(tmp_path: Path, smollm2: Path) -> None:
    """Sparse files of 64 GiB: what a length claims can really be read, and must not be."""
    paths: list[Path] = []
    long_strings = pair("k", STRING, struct.pack("<Q", 16 << 20))
    four_megabytes = struct.pack("<Q", 4 << 20)
    for number, head in enumerate((
        file([long_strings], pair_count=2000, data=0, tensors=[]),
        file([pair("k", ARRAY, array(STRING, 60 << 20, b""))], data=0, tensors=[]),
        file([pair("k", ARRAY, array(STRING, 2 << 20, four_megabytes))], data=0, tensors=[]),
        file([pair("k", ARRAY, array(U64, 60 << 20, b""))], data=0, tensors=[]),
        file([], pair_count=2000, data=0, tensors=[]),
        file([ARCHITECTURE], tensor_count=1 << 20, data=0, tensors=[]),
    )):  # fmt: skip
        path = tmp_path / f"{number}.gguf"
        path.write_bytes(head)
        os.truncate(path, 64 << 30)
        paths.append(path)
    done = subprocess.run(
        [sys.executable, "-c", BOUNDED, smollm2, *paths], capture_output=True, text=True, check=True, timeout=120
    )
    *refused, most = done.stdout.split()
    assert refused == ["refused"] * len(paths)
    assert int(most) < 64 << 20


@pytest.mark.parametrize("seed", range(4))
def test_what_follows_a_skipped_array_is_read_wherever_the_blocks_end(reading: Reading, seed: int) -> None:
    chooser = random.Random(seed)
    lengths = [chooser.choice((0, 1, 7, 8, 9, 255, 256, 70_000)) for _ in range(200)]
    lengths += [(1 << 20) - 8, 1 << 20, (3 << 20) + 1, *(chooser.randrange(30) for _ in range(200_000))]
    chooser.shuffle(lengths)
    texts = b"".join(string(bytes([length % 251]) * length) for length in lengths)
    head = string("long") + struct.pack("<I", ARRAY) + array(STRING, len(lengths), b"")
    numbers = array(U64, 300_000, bytes(2_400_000))
    marks = [pair("mark", STRING, string("here")), pair("more", ARRAY, numbers), count("llama.block_count", 3)]
    header = reading(file([ARCHITECTURE, head + texts, *marks]))
    assert (header.metadata["mark"], header.count("block_count")) == ("here", 3)
    long = header.metadata["long"]
    assert isinstance(long, gguf.Array)
    assert (long.count, [len(str(item)) for item in long.items]) == (len(lengths), lengths[:64])
    start, end = header.pairs["long"]
    assert end - start == len(head) + len(texts)
    assert header.pairs["mark"][0] == end


def test_tensors_may_stand_in_any_order_with_gaps_between(reading: Reading) -> None:
    header = reading(file(tensors=[tensor("b", offset=1024), tensor("a"), tensor("c", offset=256)]))
    assert [item.name for item in header.tensors] == ["b", "a", "c"]


def test_error_for_what_is_no_regular_file(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (pipe, Path("/dev/zero"), Path("/dev/null")):
        with pytest.raises(InputError, match="not a regular file"):
            gguf.read(path)
        with pytest.raises(InputError, match="not a regular file"):
            gguf.is_gguf(path)
    for path in (tmp_path, tmp_path / "missing", tmp_path / "missing" / "x"):
        with pytest.raises(FileError):
            gguf.read(path)


def test_a_header_is_read_again_only_when_the_file_has_changed(tiny_gguf: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.gguf"
    path.write_bytes(tiny_gguf.read_bytes())
    assert gguf.read(path) is not gguf.read(path)  # just written: it may change again within the clock's grain
    time.sleep(2.1)
    first = gguf.read(path)
    assert gguf.read(path) is first
    path.write_bytes(tiny_gguf.read_bytes()[:40])
    with pytest.raises(InvalidGGUFError):
        gguf.read(path)
