"""Split GGUF files: the parts make exactly the file that llama-gguf-split --merge makes of them."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from corral.store import gguf, parts
from corral.store.errors import FileError, InvalidGGUFError

from tests.conftest import Cli
from tests.store.splitting import (
    UINT16,
    Content,
    Weights,
    decoded,
    encoded,
    merged,
    number,
    part_name,
    split,
    split_pairs,
    string,
    text,
)

U32 = 4


def synthetic(alignment: int = 32) -> Content:
    """Seven tensors of sizes that need padding and that do not, one longer than a piece of content()."""
    tensors = [Weights(f"blk.{n}.weight", (n * 3 + 1, 2), 0, bytes([n + 1]) * ((n * 3 + 1) * 8)) for n in range(5)]
    tensors.append(Weights("large", (1 << 18, 2), 0, os.urandom(2 << 20)))
    tensors.append(Weights("quantised", (64,), 3, bytes(range(40))))
    pairs = [
        text("general.architecture", "llama"),
        # What a search for the key's bytes would find first.
        text("general.description", "before " + (string("split.count") + struct.pack("<IH", 2, 9)).decode() + " after"),
        number("general.alignment", U32, alignment),
        number("llama.block_count", U32, 1),
    ]
    return Content(pairs, tensors, alignment)


def join(paths: list[Path]) -> bytes:
    pieces = list(parts.content(paths))
    assert all(len(piece) <= 1 << 20 for piece in pieces[1:])
    return b"".join(pieces)


@pytest.mark.parametrize("alignment", [32, 64, 8])
@pytest.mark.parametrize("ends", [(2, 5), (1,), (0, 7), (1, 2, 3, 4, 5, 6)])
def test_the_parts_make_what_the_merger_makes(tmp_path: Path, alignment: int, ends: tuple[int, ...]) -> None:
    whole = synthetic(alignment)
    paths = split(whole, tmp_path, ends)
    data = join(paths)
    assert data == merged(whole)
    (tmp_path / "joined.gguf").write_bytes(data)
    assert parts.joined(paths) == gguf.read(tmp_path / "joined.gguf")
    assert decoded(tmp_path / "joined.gguf").tensors == whole.tensors
    assert parts.count(gguf.read(paths[0])) == len(paths)
    assert parts.count(parts.joined(paths)) == 0


def test_the_real_model_in_two_parts_is_the_model_again_and_runs(smollm2: Path, cli: Cli) -> None:
    whole = decoded(smollm2)
    paths = split(whole, cli.folder, (130,))
    made = cli.ok("create", "smol", "-f", "-", stdin="FROM .\nPARAMETER temperature 0\nPARAMETER num_predict 1\n")
    header = parts.joined(paths)
    original = gguf.read(smollm2)
    assert header.tensors == original.tensors
    assert header.metadata == original.metadata | {"split.no": 0, "split.tensors.count": 272, "split.count": 0}
    weights = json.loads(cli.ok("show", "smol", "--json"))["layers"][0]["digest"]
    assert weights == f"sha256:{hashlib.sha256(merged(whole)).hexdigest()}", made
    assert cli.ok("run", "smol", "Say hello.").strip()


def test_split_count_may_stand_anywhere_and_be_any_whole_number(tmp_path: Path) -> None:
    whole = synthetic()
    paths = split(whole, tmp_path, (3,))
    first, second = split_pairs(0, 2, 7)[:2]
    pairs = [number("split.count", U32, 2), *whole.pairs, first, second]
    paths[0].write_bytes(encoded(Content(pairs, whole.tensors[:3])))
    assert join(paths) == merged(whole)


def test_siblings_are_found_from_each_part(tmp_path: Path) -> None:
    paths = split(synthetic(), tmp_path, (2, 5))
    for path in paths:
        assert parts.siblings(path, gguf.read(path)) == tuple(paths)


@pytest.mark.parametrize(
    "name",
    [
        "model.gguf",
        "model-1-of-3.gguf",
        "model-00001-of-00002.gguf",
        "model-00004-of-00003.gguf",
        "model-00000-of-00003.gguf",
        "model-00001-of-00003.gguf.part",
        "-00001-of-00003-gguf",
    ],
)
def test_error_for_a_part_of_another_name(tmp_path: Path, name: str) -> None:
    path = split(synthetic(), tmp_path, (2, 5))[0].rename(tmp_path / name)
    with pytest.raises(InvalidGGUFError, match=r"one of 3 parts is not called NAME-00001-of-00003\.gguf"):
        parts.siblings(path, gguf.read(path))


def rewritten(paths: list[Path], part: int, pairs: list[bytes], tensors: slice) -> list[Path]:
    """The parts, one of them with other split.* keys or tensors."""
    whole = synthetic()
    paths[part].write_bytes(encoded(Content(pairs if part else whole.pairs + pairs, whole.tensors[tensors])))
    return paths


WRONG: dict[str, tuple[Callable[[list[Path]], list[Path]], str]] = {
    "the last is missing": (lambda paths: paths[:2], "split.no 0 of 3, expected 0 of 2"),
    "the middle is missing": (lambda paths: [paths[0], paths[2]], "split.no 0 of 3, expected 0 of 2"),
    "the first is missing": (lambda paths: paths[1:], "split.no 1 of 3, expected 0 of 2"),
    "another order": (lambda paths: [paths[0], paths[2], paths[1]], "split.no 2 of 3, expected 1 of 3"),
    "one twice": (lambda paths: [paths[0], paths[1], paths[1]], "split.no 1 of 3, expected 2 of 3"),
    "a wrong number": (
        lambda paths: rewritten(paths, 1, split_pairs(2, 3, 7), slice(2, 5)),
        "split.no 2 of 3, expected 1 of 3",
    ),
    "no number": (
        lambda paths: rewritten(paths, 0, split_pairs(0, 3, 7)[1:], slice(2)),
        "split.no None of 3, expected 0 of 3",
    ),
    "a wrong count": (
        lambda paths: rewritten(paths, 1, split_pairs(1, 4, 7), slice(2, 5)),
        "split.no 1 of 4, expected 1 of 3",
    ),
    "no count": (
        lambda paths: rewritten(paths, 1, split_pairs(1, 3, 7)[:2], slice(2, 5)),
        "split.no 1 of 0, expected 1 of 3",
    ),
    "a tensor twice": (lambda paths: rewritten(paths, 1, split_pairs(1, 3, 7), slice(1, 5)), "in several parts"),
    "a tensor too few": (
        lambda paths: rewritten(paths, 1, split_pairs(1, 3, 7), slice(3, 5)),
        "split.tensors.count is 7, the parts have 6 tensors",
    ),
    "a tensor too many": (
        lambda paths: rewritten(paths, 0, split_pairs(0, 3, 6), slice(2)),
        "split.tensors.count is 7, in the first part 6",
    ),
    "another number of tensors": (
        lambda paths: rewritten(paths, 2, split_pairs(2, 3, 8), slice(5, 7)),
        "split.tensors.count is 8, in the first part 7",
    ),
    "a part of another model": (
        lambda paths: rewritten(paths, 2, [*split_pairs(2, 3, 7), text("general.architecture", "qwen2")], slice(5, 7)),
        "general.architecture is 'qwen2', in the first part 'llama'",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_error_for_parts_that_do_not_belong_together(tmp_path: Path, case: str) -> None:
    change, words = WRONG[case]
    paths = change(split(synthetic(), tmp_path, (2, 5)))
    for use in (parts.joined, join):
        with pytest.raises(InvalidGGUFError) as caught:
            use(paths)
        assert words in str(caught.value)


HOSTILE = {
    "text": text("split.count", "3"),
    "a long text": text("split.count", "3" * 10_000),
    "an array": string("split.count") + struct.pack("<IIQH", 9, UINT16, 1, 3),
    "a fraction": string("split.count") + struct.pack("<If", 6, 3.0),
    "a truth": string("split.count") + struct.pack("<I?", 7, True),  # noqa: FBT003
    "negative": string("split.count") + struct.pack("<Ih", 3, -3),
    "huge": string("split.count") + struct.pack("<IQ", 10, 1 << 40),
}


@pytest.mark.parametrize("part", [0, 1])
@pytest.mark.parametrize("kind", HOSTILE)
def test_error_for_a_count_that_is_none(tmp_path: Path, kind: str, part: int) -> None:
    ends = [0, 2, 5, 7]
    pairs = [number("split.no", UINT16, part), HOSTILE[kind]]
    paths = rewritten(split(synthetic(), tmp_path, (2, 5)), part, pairs, slice(ends[part], ends[part + 1]))
    with pytest.raises(InvalidGGUFError) as caught:
        gguf.read(paths[part])
    assert "split.count is " in str(caught.value)
    assert len(str(caught.value)) < len(str(paths[part])) + 200
    with pytest.raises(InvalidGGUFError):
        parts.joined(paths)


def test_error_for_a_missing_or_shortened_part(tmp_path: Path) -> None:
    paths = split(synthetic(), tmp_path, (2, 5))
    sound = [path.read_bytes() for path in paths]
    for number_, cut in itertools.product(range(3), (0, 3, 100, -64)):
        paths[number_].write_bytes(sound[number_][:cut])
        for use in (parts.joined, join):
            with pytest.raises(InvalidGGUFError) as caught:
                use(paths)
            assert str(caught.value).startswith(f"{paths[number_]}: ")
        paths[number_].write_bytes(sound[number_])
    assert join(paths) == b"".join(parts.content(paths))
    (tmp_path / part_name(1, 3)).unlink()
    with pytest.raises(FileError, match=part_name(1, 3)):
        parts.joined(paths)


def test_a_later_part_may_repeat_what_the_first_says(tmp_path: Path) -> None:
    whole = synthetic()
    paths = split(whole, tmp_path, (2, 5))
    rewritten(paths, 1, [*whole.pairs, *split_pairs(1, 3, 7)], slice(2, 5))
    assert join(paths) == merged(whole)


def test_error_for_more_tensors_than_a_file_may_have(tmp_path: Path) -> None:
    many = [Weights(f"t{number}", (8,), 0, bytes(32)) for number in range(gguf.MAX_TENSORS + 1)]
    paths = split(synthetic()._replace(tensors=many), tmp_path, (gguf.MAX_TENSORS // 2,))
    with pytest.raises(InvalidGGUFError, match=f"the parts have more than {gguf.MAX_TENSORS} tensors"):
        parts.joined(paths)


def test_error_for_one_of_65535_parts(cli: Cli) -> None:
    (first,) = split(synthetic(), cli.folder, ())
    pairs = [*synthetic().pairs, *split_pairs(0, 65_535, 7)]
    path = first.rename(cli.folder / part_name(0, 65_535))
    path.write_bytes(encoded(synthetic()._replace(pairs=pairs)))
    said = cli.error(1, "create", "x", "-f", "-", stdin=f"FROM {path}\n")
    assert f"no such file: {cli.folder / part_name(1, 65_535)}" in said


def test_error_for_a_part_that_shrinks_while_it_is_read(tmp_path: Path) -> None:
    paths = split(synthetic(), tmp_path, (2, 5))
    pieces = parts.content(paths)
    next(pieces)
    os.truncate(paths[2], 1000)
    with pytest.raises(InvalidGGUFError, match="became shorter"):
        list(pieces)
