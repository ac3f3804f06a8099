"""A hundred thousand random and mutated files: our own errors only, none slow, and memory in proportion to the file."""

from __future__ import annotations

import contextlib
import os
import random
import time
import tracemalloc
from pathlib import Path

import pytest
from corral.modelfile.diagnostics import ModelfileError
from corral.modelfile.parser import Mode, parse
from corral.modelfile.printer import print_modelfile
from corral.modelfile.recipe import check

GOLDEN = sorted((Path(__file__).parent.parent / "golden").glob("modelfile-*.txt"))
SOUND = [
    b'# a comment\nFROM m\nPARAMETER temperature 0.7\nPARAMETER stop "x y"\nMESSAGE user hi\nMESSAGE assistant yes\n',
    b'FROM m\r\nSYSTEM """You are\r\n  terse.\r\n"""\r\n\r\nLICENSE "MIT\nand \'more\'"\n',
    'FROM m\nTEMPLATE """{{ if .System }}{{ .System }} {{ end }}é {{ .Prompt }}"""\nREQUIRES 0.14.0\n'.encode("utf-16"),
    b'from m\n\n\n  system he said "x"\nparameter num_ctx 4096\nADAPTER ./a.gguf\nDRAFT ./b.gguf\nRENDERER r\nPARSER p',
]
SEEDS = SOUND * 6 + [path.read_bytes().partition(b"-" * 40)[0] for path in GOLDEN]
WORDS = (
    b"FROM SYSTEM TEMPLATE PARAMETER MESSAGE LICENSE ADAPTER REQUIRES user assistant stop num_ctx temperature "
    b'" """ """" # \n \r\n \r \t \0 \xc2\xa0 \xe2\x80\x8d \xff \xef\xbb\xbf \xff\xfe {{ }} {{end}} -1 1e999 0.5 NAME'
).split(b" ")
COUNT = 100_000 if os.environ.get("CORRAL_SOAK") else 3_000
SLOWEST = 1.0  # seconds, on any machine that runs this


def mutated(rng: random.Random) -> bytes:
    """A random file, or a golden one with pieces cut out, doubled, swapped and put in."""
    if rng.random() < 0.2:
        return (
            b" ".join(rng.choices(WORDS, k=rng.randrange(40)))
            if rng.random() < 0.7
            else rng.randbytes(rng.randrange(300))
        )
    data = bytearray(rng.choice(SEEDS))
    for _ in range(rng.randrange(1, 8)):
        start = rng.randrange(len(data) + 1)
        end = min(len(data), start + rng.randrange(20))
        match rng.randrange(4):
            case 0:
                del data[start:end]
            case 1:
                data[start:start] = data[start:end] * rng.randrange(1, 4)
            case 2:
                data[start:start] = rng.choice(WORDS)
            case _:
                data[start:end] = rng.randbytes(end - start)
    return bytes(data)


def is_sound(data: bytes, mode: Mode) -> bool:
    """Whether it parses; if so it can be printed, and printing it twice changes nothing."""
    try:
        modelfile = parse(data, mode)
    except ModelfileError as error:
        return not error.render()
    printed = print_modelfile(modelfile)
    again = parse(printed)
    assert again == modelfile
    assert print_modelfile(again) == printed
    with contextlib.suppress(ModelfileError):
        check(modelfile)
    return True


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_any_file_parses_or_gives_our_errors_soon() -> None:
    rng = random.Random(20261121)
    accepted = 0
    for number in range(COUNT):
        data = mutated(rng)
        mode: Mode = "strict" if number % 4 == 0 else "ollama"
        started = time.process_time()
        accepted += is_sound(data, mode)
        assert time.process_time() - started < SLOWEST, data
    assert accepted > COUNT // 50


@pytest.mark.parametrize(
    "line",
    ["FOO bar\n", 'SYSTEM "x\n', 'SYSTEM """x" y\n', "PARAMETER  a\n", "#\n", "\x00\x00\n", "SYSTEM \u00a0\n", '"\n'],
)
def test_memory_is_in_proportion_to_the_file(line: str) -> None:
    text = "FROM m\n" + line * (300_000 // len(line))
    report = ""
    tracemalloc.start()
    try:
        parse(text)
    except ModelfileError as error:
        report = error.render()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 500 * len(text)
    assert len(report) < 1_000_000
