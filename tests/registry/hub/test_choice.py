"""Which files of a repository make a model: tables of names."""

from __future__ import annotations

import pytest
from corral.registry.hub_choice import Choice, HubFile, choose, is_sound
from corral.store.errors import InputError


def files(*paths: str) -> list[HubFile]:
    return [HubFile(path, 1, git_id="0" * 40) for path in paths]


def chosen(tag: str, *paths: str) -> Choice:
    return choose(files(*paths), tag, "hf.co/crew/parrot:latest")


def weights(tag: str, *paths: str) -> list[str]:
    return [file.path for file in chosen(tag, *paths).weights]


USUAL = ("README.md", "p-Q2_K.gguf", "p-Q4_0.gguf", "p-Q4_K_M.gguf", "p-Q4_K_S.gguf", "p-Q8_0.gguf", "p.imatrix.gguf")


@pytest.mark.parametrize(
    ("tag", "paths", "expected"),
    [
        ("latest", USUAL, "p-Q4_K_M.gguf"),
        ("Latest", USUAL, "p-Q4_K_M.gguf"),
        ("latest", ("p-Q2_K.gguf", "p-Q8_0.gguf"), "p-Q8_0.gguf"),
        ("latest", ("p-Q3_K.gguf", "p-Q2_K.gguf"), "p-Q2_K.gguf"),
        ("latest", ("p.GGUF",), "p.GGUF"),
        ("latest", ("a/b/p-f16.gguf",), "a/b/p-f16.gguf"),
        ("latest", ("imatrix-Q4_K_M.gguf", "mmproj-Q4_K_M.gguf", "mtp-p-Q4_K_M.gguf", "z-f32.gguf"), "z-f32.gguf"),
        ("latest", ("eagle3-p-Q4_K_M.gguf", "dflash-p.gguf", "dspark-p.gguf", "z.gguf"), "z.gguf"),
        ("Q4_K_M", USUAL, "p-Q4_K_M.gguf"),
        ("q4_k_m", USUAL, "p-Q4_K_M.gguf"),
        ("q8_0", USUAL, "p-Q8_0.gguf"),
        ("Q4_K_M", ("p.q4_k_m.gguf",), "p.q4_k_m.gguf"),
        ("Q4_K", ("p-Q4_K-imat.gguf", "p-Q4_K_M.gguf"), "p-Q4_K-imat.gguf"),
        ("F16", ("p-BF16.gguf", "p-F16.gguf"), "p-F16.gguf"),
        ("F16", ("p-BF16.gguf",), "p-BF16.gguf"),
        ("UD-Q4_K_XL", ("p-Q4_K_XL.gguf", "p-UD-Q4_K_XL.gguf"), "p-UD-Q4_K_XL.gguf"),
        ("Q4_K_M", ("Q4_K_M/p-Q4_K_M.gguf", "Q8_0/p-Q8_0.gguf"), "Q4_K_M/p-Q4_K_M.gguf"),
        ("p-Q2_K.gguf", USUAL, "p-Q2_K.gguf"),
        ("P-q2_k.GGUF", USUAL, "p-Q2_K.gguf"),
        ("p.gguf", ("a/p.gguf", "b/P.gguf"), "a/p.gguf"),
        ("P.gguf", ("a/p.gguf", "b/P.gguf"), "b/P.gguf"),
        ("p.imatrix.gguf", USUAL, "p.imatrix.gguf"),
    ],
)
def test_a_tag_is_a_quantisation_or_a_file(tag: str, paths: tuple[str, ...], expected: str) -> None:
    assert weights(tag, *paths) == [expected]
    assert weights(tag, *reversed(paths)) == [expected]


@pytest.mark.parametrize(
    ("tag", "paths", "message"),
    [
        ("Q5_K_M", USUAL, 'no file of the repository fits "Q5_K_M"'),
        ("Q4_K", ("p-Q4_K_M.gguf",), 'no file of the repository fits "Q4_K"'),
        ("absent.gguf", USUAL, 'no file of the repository fits "absent.gguf"'),
        (".", ("p.gguf",), 'no file of the repository fits "."'),
        ("latest", (), "the repository has no GGUF of a model"),
        ("latest", ("model.safetensors", "gguf"), "the repository has no GGUF of a model"),
        ("Q8_0", ("mmproj-Q8_0.gguf", "imatrix-Q8_0.gguf"), "the repository has no GGUF of a model"),
    ],
)
def test_error_nothing_fits(tag: str, paths: tuple[str, ...], message: str) -> None:
    with pytest.raises(InputError) as caught:
        chosen(tag, *paths)
    assert str(caught.value) == f"hf.co/crew/parrot:latest: {message}"


def test_error_says_what_there_is_but_not_all_of_a_thousand() -> None:
    with pytest.raises(InputError) as caught:
        chosen("Q5_K_M", "README.md", "mmproj-f16.gguf", "sub/p-Q8_0.gguf", "p-Q2_K.gguf")
    assert caught.value.hint == "it has p-Q2_K.gguf, p-Q8_0.gguf"
    with pytest.raises(InputError) as caught:
        chosen("Q5_K_M", *(f"{'long' * 50}-{n}.gguf" for n in range(1000)))
    assert caught.value.hint is not None
    assert caught.value.hint.endswith(" and 980 more")
    assert len(caught.value.hint) < 2000


PARTS = tuple(f"Q8_0/p-Q8_0-{n:05}-of-00003.gguf" for n in (1, 2, 3))


@pytest.mark.parametrize("tag", ["latest", "Q8_0", "p-Q8_0-00001-of-00003.gguf", "p-Q8_0-00003-of-00003.gguf"])
def test_all_parts_of_a_split_file_are_taken_in_order(tag: str) -> None:
    assert weights(tag, *reversed(PARTS), "p-Q2_K.gguf", "x.gguf") == [*PARTS]


@pytest.mark.parametrize("missing", [1, 2, 3])
def test_error_a_part_is_missing(missing: int) -> None:
    left = [path for path in PARTS if f"-{missing:05}-of" not in path]
    with pytest.raises(InputError, match=f"part {missing} of 3 is missing"):
        chosen(left[0].rpartition("/")[2], *left)


@pytest.mark.parametrize("name", ["p-00001-of-00000.gguf", "p-00000-of-00001.gguf", "p-00002-of-00001.gguf"])
def test_error_parts_that_cannot_be(name: str) -> None:
    with pytest.raises(InputError, match=r"part 1 of 1 is missing|there are 1 parts of 0"):
        chosen(name, name)


def test_a_claim_of_99999_parts_costs_nothing() -> None:
    with pytest.raises(InputError, match="part 2 of 99999 is missing"):
        chosen("latest", "p-00001-of-99999.gguf")


@pytest.mark.parametrize(
    ("model", "projectors", "expected"),
    [
        ("p-Q4_K_M.gguf", (), None),
        ("p-Q4_K_M.gguf", ("mmproj-F16.gguf",), "mmproj-F16.gguf"),
        ("p-Q4_K_M.gguf", ("mmproj-F32.gguf", "mmproj-F16.gguf"), "mmproj-F16.gguf"),
        ("p-Q8_0.gguf", ("mmproj-F16.gguf", "mmproj-Q8_0.gguf"), "mmproj-Q8_0.gguf"),
        ("p-Q4_K_M.gguf", ("mmproj-Q4_0.gguf", "mmproj-Q4_K_M.gguf"), "mmproj-Q4_K_M.gguf"),
        ("p-BF16.gguf", ("p-mmproj-F16.gguf", "p-mmproj-BF16.gguf"), "p-mmproj-BF16.gguf"),
        ("a/p-Q8_0.gguf", ("mmproj-Q8_0.gguf", "a/mmproj-F32.gguf"), "a/mmproj-F32.gguf"),
        ("a/b/p.gguf", ("mmproj-F32.gguf",), "mmproj-F32.gguf"),
        ("a/p.gguf", ("b/mmproj-F32.gguf", "a/b/mmproj-F16.gguf"), None),
        ("p.gguf", ("MMPROJ.gguf",), "MMPROJ.gguf"),
        ("p-Q8_0-00001-of-00001.gguf", ("mmproj-F16.gguf", "mmproj-Q8_0.gguf"), "mmproj-Q8_0.gguf"),
    ],
)
def test_the_projector_is_the_nearest_that_fits_best(
    model: str, projectors: tuple[str, ...], expected: str | None
) -> None:
    for order in (projectors, projectors[::-1]):
        projector = chosen("latest", model, *order).projector
        assert (projector.path if projector else None) == expected


def test_texts_count_in_the_root_only() -> None:
    found = chosen("latest", "p.gguf", "template", "params", "sub/system", "SYSTEM", "LICENSE").texts
    assert {name: file.path for name, file in found.items()} == {"template": "template", "params": "params"}


@pytest.mark.parametrize("path", ["p.gguf", "a/b/p.gguf", "…/ü.gguf", "a b.gguf", "..gguf", "-rf.gguf"])
def test_paths_that_can_be(path: str) -> None:
    assert is_sound(path)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/etc/p.gguf",
        "../p.gguf",
        "a/../p.gguf",
        "a/./p",
        "a//p",
        "a/",
        "..",
        "a\\p",
        "C:p",
        "a\0b",
        "a\nb",
        "\x1b[1m",
        "a" * 1025,
        "\ud800.gguf",
        "ü" * 600,
    ],
)
def test_paths_that_cannot_be(path: str) -> None:
    assert not is_sound(path)
