"""The PARAMETER table: names, types, and the values that Ollama stores for a text (spec part 3.5)."""

from __future__ import annotations

import subprocess
import sys

import pytest
from corral.modelfile.parameters import PARAMETERS, ParameterError, ParameterSpec, Value, read_options, read_parameter
from corral.modelfile.parser import parse
from corral.modelfile.recipe import Recipe, check
from corral.store import gojson

from tests.conftest import ROOT


def recipe(text: str) -> Recipe:
    return check(parse("FROM m\n" + text))[0]


TABLE = {
    "int": "num_ctx num_batch num_gpu main_gpu num_thread draft_num_predict num_keep seed num_predict top_k repeat_last_n",
    "float": "top_p min_p typical_p temperature repeat_penalty presence_penalty frequency_penalty",
    "bool": "use_mmap",
    "strings": "stop",
}


def test_the_table_has_ollamas_names_and_types_and_one_of_ours() -> None:
    assert {name: spec.kind for name, spec in PARAMETERS.items() if not spec.is_deprecated} == {
        name: kind for kind, names in TABLE.items() for name in names.split()
    } | {"truncate": "bool"}
    load = {name for name, spec in PARAMETERS.items() if spec.when == "load"}
    assert load == {"num_ctx", "num_batch", "num_gpu", "main_gpu", "use_mmap", "num_thread", "draft_num_predict"}


@pytest.mark.parametrize(
    ("name", "text", "stored"),
    [
        ("num_ctx", "4096", "4096"),
        ("seed", "-1", "-1"),
        ("seed", "+7", "7"),
        ("seed", "007", "7"),
        ("seed", "9223372036854775807", "9223372036854776000"),
        ("seed", "-9223372036854775808", "-9223372036854776000"),
        ("num_ctx", "1048576", "1048576"),
        ("temperature", "0.6", "0.6"),
        ("temperature", "1", "1"),
        ("temperature", "1.0", "1"),
        ("temperature", ".5", "0.5"),
        ("temperature", "5.", "5"),
        ("temperature", "1e-7", "1e-7"),
        ("temperature", "-0", "-0"),
        ("temperature", "0x1p-2", "0.25"),
        ("temperature", "0.1234567890123", "0.12345679"),
        ("temperature", "16777217", "16777216"),
        ("temperature", "3.4028235e38", "3.4028235e+38"),
        ("temperature", "1e-50", "0"),
        ("use_mmap", "T", "true"),
        ("use_mmap", "0", "false"),
        ("stop", "<|im_end|>", '["\\u003c|im_end|\\u003e"]'),
        ("stop", "", '[""]'),
    ],
)
def test_a_text_is_stored_as_ollama_stores_it(name: str, text: str, stored: str) -> None:
    assert gojson.encode(read_parameter(name, text)) == f"{stored}\n".encode()


@pytest.mark.parametrize("text", ["1", "t", "T", "TRUE", "true", "True", "0", "f", "F", "FALSE", "false", "False"])
def test_booleans_are_gos(text: str) -> None:
    assert read_parameter("use_mmap", text) is (text in ("1", "t", "T", "TRUE", "true", "True"))


BAD = {
    "num_ctx": ["", "4k", "1.0", "1e3", "0x10", "1_000", "٣", " 1", "--1", "9223372036854775808", "9" * 5000],
    "temperature": ["", "warm", "nan", "inf", "1e39", "1e999", "0x1p999", "1_", "1__0", "1e", "1 2", "9" * 5000],
    "use_mmap": ["", "yes", "on", "tRUE", "2"],
}  # fmt: skip


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in BAD.items() for text in texts])
def test_error_for_a_value_of_another_type(name: str, text: str) -> None:
    with pytest.raises(ParameterError, match=rf"invalid {PARAMETERS[name].kind} value \[") as caught:
        read_parameter(name, text)
    assert caught.value.about == "value"
    assert caught.value.hint is not None
    assert name in caught.value.hint


@pytest.mark.parametrize("name", ["", "temprature", "Temperature", "numa", "num_gqa", "tfs_z", "embedding_only"])
def test_error_for_an_unknown_name(name: str) -> None:
    with pytest.raises(ParameterError, match=f"unknown parameter '{name}'") as caught:
        read_parameter(name, "1")
    assert caught.value.about == "name"


def test_stop_adds_up_and_the_others_replace() -> None:
    found = recipe('PARAMETER stop a\nPARAMETER top_k 1\nPARAMETER stop " b"\nPARAMETER top_k 2\nPARAMETER stop a\n')
    assert found.parameters == {"stop": ["a", " b", "a"], "top_k": 2}


@pytest.mark.parametrize("name", [spec.name for spec in PARAMETERS.values() if spec.is_deprecated])
def test_deprecated_names_warn_and_do_nothing(name: str) -> None:
    found, warnings = check(parse(f"FROM m\nPARAMETER {name} 1\nPARAMETER top_k 2\n"))
    assert found.parameters == {"top_k": 2}
    assert [(warning.severity, warning.message) for warning in warnings] == [
        ("warning", f"parameter {name} is deprecated")
    ]


@pytest.mark.parametrize(
    ("options", "values"),
    [
        ({"num_ctx": 4096.9, "temperature": 1, "stop": ["a"], "use_mmap": False},) * 1
        + ({"num_ctx": 4096, "temperature": 1.0, "stop": ["a"], "use_mmap": False},),
        ({"num_ctx": None, "stop": "a"}, {"stop": ["a"]}),
    ],
)
def test_options_of_a_request_are_read_as_ollama_reads_them(
    options: dict[str, object], values: dict[str, Value]
) -> None:
    assert read_options(options) == (values, [])


def test_unknown_options_are_named_and_do_no_harm() -> None:
    assert read_options({"mirostat": 1, "nonsense": {}, "top_k": 3}) == ({"top_k": 3}, ["mirostat", "nonsense"])


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("num_ctx", "1", "of type integer"),
        ("num_ctx", True, "of type integer"),
        ("num_ctx", float("inf"), "of type integer"),
        ("temperature", "1", "of type float32"),
        ("use_mmap", 1, "of type boolean"),
        ("stop", 1, "of an array of strings"),
        ("stop", [1], "of an array of strings"),
    ],
)
def test_error_for_an_option_of_another_type(name: str, value: object, wanted: str) -> None:
    with pytest.raises(ParameterError) as caught:
        read_options({name: value})
    assert str(caught.value) == f'option "{name}" must be {wanted}'


def test_the_page_of_parameters_is_made_from_the_table() -> None:
    page = subprocess.run(
        [sys.executable, ROOT / "tools" / "parameters_page.py"], capture_output=True, text=True, check=True
    )
    assert (ROOT / "docs" / "parameters.md").read_text() == page.stdout


@pytest.mark.parametrize(
    "spec", [spec for spec in PARAMETERS.values() if spec.default is not None], ids=lambda s: s.name
)
def test_a_default_is_in_its_own_range(spec: ParameterSpec) -> None:
    assert spec.default is not None
    assert spec.allows(spec.default)


@pytest.mark.parametrize(
    ("text", "doubtful"),
    [
        ("PARAMETER num_predict -1", False),
        ("PARAMETER num_predict -3", True),
        ("PARAMETER num_predict 0", True),
        ("PARAMETER temperature -0.1", True),
        ("PARAMETER min_p 1", False),
        ("PARAMETER num_ctx 3", True),
        ('PARAMETER stop ""', False),
        ("PARAMETER use_mmap false", False),
    ],
)
def test_values_out_of_range_are_warned_of_and_kept(text: str, doubtful: bool) -> None:  # noqa: FBT001 - a table
    found, findings = check(parse(f"FROM m\n{text}\n"))
    assert [one.code for one in findings] == (["MF038"] if doubtful else [])
    assert len(found.parameters) == 1
