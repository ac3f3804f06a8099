"""Lint: what is found beyond the page of examples, and how it is found."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest
from corral.modelfile.builder import build
from corral.modelfile.diagnostics import ModelfileError
from corral.modelfile.lint import lint
from corral.modelfile.parser import Mode, parse, read
from corral.modelfile.recipe import check
from corral.modelfile.source import Source
from corral.store.local import Store
from corral.store.name import Name

from tests.modelfile.conftest import Create, write_gguf

TWELVE = """\
FROM ./nope.gguf
FRM x
PARAMETER temprature 0.7
PARAMETER num_ctx many
PARAMETER top_p 7
PARAMETER mirostat 1
PARAMETER  seed 1
MESSAGE usr hello
MESSAGE
TEMPLATE {{ if .System }}x
REQUIRES latest
SYSTEM \"""never ends
ADAPTER ./a.gguf
"""


def codes(text: str, store: Store, folder: Path, *, mode: Mode = "ollama") -> list[tuple[str, int]]:
    """Codes and lines."""
    source = Source(text)
    found = lint(read(source, mode), store, folder=folder, count_tokens=lambda _, text: len(text.split()))
    return [(one.code, source.position(one.span.start)[0]) for one in found]


def test_all_problems_are_found_in_one_run_each_once(store: Store, folder: Path) -> None:
    assert codes(TWELVE, store, folder) == [
        ("MF030", 1),
        ("MF001", 2),
        ("MF008", 3),
        ("MF009", 4),
        ("MF038", 5),
        ("MF039", 6),
        ("MF021", 7),
        ("MF004", 8),
        ("MF002", 9),
        ("MF011", 10),
        ("MF010", 11),
        ("MF005", 12),
        ("MF030", 13),
    ]


def test_create_reports_the_same_errors_in_one_run(store: Store, folder: Path) -> None:
    with pytest.raises(ModelfileError) as caught:
        build(Name.parse("x"), read(Source(TWELVE)), store, folder=folder)
    said = [one.code for one in caught.value.diagnostics]
    assert said == ["MF030", "MF001", "MF008", "MF009", "MF021", "MF004", "MF002", "MF011", "MF010", "MF005", "MF030"]


def test_strict_mode_makes_errors_of_what_ollama_swallows(store: Store, folder: Path) -> None:
    text = 'FROM ./tiny.gguf\nSYSTEM "a" b\n"\nSYSTEM c\u00a0d\nPARAMETER  seed 1\n'
    assert codes(text, store, folder, mode="strict") == [
        ("MF020", 2),
        ("MF023", 4),
        ("MF022", 4),
        ("MF021", 5),
    ]
    assert parse(text)
    with pytest.raises(ModelfileError) as caught:
        parse(text, "strict")
    assert [one.code for one in caught.value.diagnostics] == ["MF020", "MF023", "MF022", "MF021"]


def test_the_context_is_inherited_with_the_parameters(store: Store, folder: Path, create: Create) -> None:
    create("base", "FROM ./tiny.gguf\nPARAMETER num_ctx 16")
    long = "word " * 20
    assert codes(f"FROM base\nSYSTEM {long}\n", store, folder) == [("MF035", 2)]
    assert codes(f"FROM base\nPARAMETER num_ctx 64\nSYSTEM {long}\n", store, folder) == []


def test_without_an_engine_a_long_system_message_is_a_note(store: Store, folder: Path) -> None:
    source = Source(f"FROM ./tiny.gguf\nPARAMETER num_ctx 16\nSYSTEM {'word ' * 20}\n")
    (found,) = lint(read(source), store, folder=folder, count_tokens=lambda _, __: None)
    assert (found.code, found.severity) == ("MF041", "note")


def test_a_short_system_message_is_not_counted(store: Store, folder: Path) -> None:
    def fails(_: Path, __: str) -> int:
        raise AssertionError

    source = Source("FROM ./tiny.gguf\nPARAMETER num_ctx 16\nSYSTEM fifteen bytes..\n")
    assert lint(read(source), store, folder=folder, count_tokens=fails) == ()


@pytest.mark.parametrize(
    "secret",
    [
        "ghp_" + "a" * 36,
        "github_pat_" + "A1" * 15,
        "hf_" + "Ab1" * 12,
        "glpat-" + "x" * 20,
        "xoxb-123456789012-abcdef",
        "AIza" + "x" * 35,
        "sk-proj-" + "A1b2" * 10,
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl",
        "-----BEGIN OPENSSH PRIVATE KEY-----",
    ],
)
@pytest.mark.parametrize("instruction", ["SYSTEM", "MESSAGE user"])
def test_a_pasted_secret_is_found_where_it_stands(secret: str, instruction: str, store: Store, folder: Path) -> None:
    text = f"FROM ./tiny.gguf\n{instruction} use {secret} for that\n"
    source = Source(text)
    (found,) = lint(read(source), store, folder=folder, count_tokens=lambda _, __: 1)
    assert found.code == "MF037"
    assert text[found.span.start : found.span.end] in secret


@pytest.mark.parametrize(
    "text", ["skate-park", "sk-8", "the hf_hub_download function", "eyJ", "BEGIN PRIVATE KEY", "AKIA"]
)
def test_ordinary_words_are_no_secrets(text: str, store: Store, folder: Path) -> None:
    assert codes(f"FROM ./tiny.gguf\nSYSTEM {text}\n", store, folder) == []


def test_a_damaged_file_is_one_finding(store: Store, folder: Path) -> None:
    (folder / "cut.gguf").write_bytes((folder / "tiny.gguf").read_bytes()[:40])
    assert codes("FROM ./cut.gguf\nADAPTER ./cut.gguf\n", store, folder) == [("MF030", 1), ("MF030", 2)]


def test_lint_writes_nothing(store: Store, folder: Path) -> None:
    codes("FROM ./tiny.gguf\nSYSTEM hi\n", store, folder)
    assert not store.root.exists()


def test_an_adapter_is_compared_with_the_models_architecture(store: Store, folder: Path) -> None:
    write_gguf(folder / "lora.gguf", "qwen3", kind="adapter")
    assert codes("FROM ./tiny.gguf\nADAPTER ./lora.gguf\n", store, folder) == [("MF033", 2)]


@pytest.mark.parametrize("keyword", ["NAME", "ARCH", "FAMILY", "CONFIG", "MODEL", "CODE", "DOC", "DATASET"])
def test_a_modctl_file_is_named_as_such_once(keyword: str, store: Store, folder: Path) -> None:
    assert codes(f"# comment\n{keyword} x\nNAME y\nMODEL *.bin\n", store, folder) == [("MF012", 2)]


def test_after_an_endless_quote_the_rest_is_still_read(store: Store, folder: Path) -> None:
    text = (
        'FROM ./tiny.gguf\nSYSTEM """a\nprose that is no instruction\nPARAMETER top_k x\nSYSTEM "b\nPARAMETER seed y\n'
    )
    assert codes(text, store, folder) == [("MF005", 2), ("MF009", 4), ("MF005", 5), ("MF009", 6)]


def test_error_too_many_instructions() -> None:
    with pytest.raises(ModelfileError, match="more than 500000 instructions"):
        parse("FROM m\n" + "#\n" * 500_000)
    assert len(parse("FROM m\n" + "#\n" * 499_999).nodes) == 500_000


def test_many_problems_are_cut_off_and_the_rest_is_read() -> None:
    assert len(read(Source("FOO x\n" * 100_000)).findings) <= 1001
    text = "FROM m\n" + "SYSTEM a\u00a0b\n" * 1500 + "LICENSE kept\nBOGUS x\n"
    modelfile = read(Source(text))
    assert modelfile.instructions[-1].flat == ("license", "kept")
    assert [one.code for one in modelfile.findings if one.severity == "error"] == ["MF001"]


@pytest.mark.parametrize("value", ["--5", "+-5", "9" * 5000])
def test_a_context_that_is_no_number_is_only_that(value: str, store: Store, folder: Path) -> None:
    assert codes(f"FROM ./tiny.gguf\nPARAMETER num_ctx {value}\n", store, folder) == [("MF009", 2)]


def test_a_finding_stands_at_its_own_from(store: Store, folder: Path) -> None:
    (folder / "cut.gguf").write_bytes((folder / "tiny.gguf").read_bytes()[:40])
    assert codes("FROM ./tiny.gguf\nFROM ./cut.gguf\nFROM ./nope.gguf\n", store, folder) == [("MF030", 2), ("MF030", 3)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("FROM a\nFROM b\n", [("MF023", 1), ("MF041", 2)]),
        ("FROM a\nFROM ./tiny.gguf\n", [("MF041", 1), ("MF023", 2)]),
    ],
)
def test_a_from_that_is_passed_over_is_named(
    text: str, expected: list[tuple[str, int]], store: Store, folder: Path
) -> None:
    assert codes(text, store, folder) == expected


def test_quotes_behind_a_quote_are_text_too(store: Store, folder: Path) -> None:
    text = 'FROM ./tiny.gguf\nSYSTEM """a""" ""\nPARAMETER stop x\n"""\n'
    assert codes(text, store, folder) == [("MF020", 2)]


def test_a_draft_is_another_file(store: Store, folder: Path) -> None:
    (folder / "link.gguf").symlink_to("tiny.gguf")
    assert codes("FROM ./tiny.gguf\nDRAFT ./link.gguf\n", store, folder) == [("MF030", 2)]


def test_an_empty_folder_hides_no_name(store: Store, folder: Path) -> None:
    (folder / "mistral").mkdir()
    assert codes("FROM mistral\n", store, folder) == [("MF041", 1)]


def test_many_stops_take_time_in_proportion() -> None:
    recipe, _ = check(parse("FROM m\n" + "PARAMETER stop x\n" * 50_000))
    assert len(cast("list[str]", recipe.parameters["stop"])) == 50_000
