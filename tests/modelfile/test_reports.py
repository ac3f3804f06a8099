"""Findings for programs: each format as its readers define it."""

from __future__ import annotations

import json

import pytest
from corral.modelfile.parser import read
from corral.modelfile.reports import FileReport, to_github, to_json, to_sarif
from corral.modelfile.rules import RULES
from corral.modelfile.source import Source
from sarif_pydantic import Sarif

TEXT = 'FROM m\nSYSTEM "one" two\nand 100%,\nthree"\nPARAMTER x: y\nPARAMETER top-k 1\n'


@pytest.fixture
def report() -> FileReport:
    source = Source(TEXT, "some dir/Model,file")
    return FileReport(source, read(source).findings)


def test_json_says_where_each_finding_begins_and_ends(report: FileReport) -> None:
    found = json.loads(json.dumps(to_json([report])))
    assert [(one["code"], one["startLine"], one["startColumn"], one["endLine"], one["endColumn"]) for one in found] == [
        ("MF020", 2, 13, 2, 17),
        ("MF001", 5, 1, 5, 9),
        ("MF003", 6, 11, 6, 14),
    ]
    assert {one["file"] for one in found} == {"some dir/Model,file"}
    assert [one["severity"] for one in found] == ["warning", "error", "error"]
    assert found[1]["hint"] == "did you mean PARAMETER?"


def test_github_gets_one_escaped_command_a_line(report: FileReport) -> None:
    first, second, third = to_github([report])
    assert first.startswith(
        "::warning file=some dir/Model%2Cfile,line=2,col=13,endLine=2,endColumn=17,title=MF020 text after a closing quote::"
    )
    assert second == (
        "::error file=some dir/Model%2Cfile,line=5,col=1,endLine=5,endColumn=9,title=MF001 unknown instruction"
        "::unknown instruction 'PARAMTER' (did you mean PARAMETER?)"
    )
    assert third.startswith("::error file=some dir/Model%2Cfile,line=6,col=11,")
    assert not any("\n" in line for line in (first, second, third))


def test_github_commands_escape_what_ends_them() -> None:
    source = Source("FROM m\nPARAMETER a%b:\rc 1\nFOO%0A::x y", "a:b")
    lines = to_github([FileReport(source, read(source).findings)])
    assert all(line.startswith("::error file=a%3Ab,line=") for line in lines)
    assert lines[-1].endswith("REQUIRES)")
    assert "unknown instruction 'FOO%250A::x'" in lines[-1]


def test_a_finding_over_several_lines_has_no_columns_on_github() -> None:
    source = Source('FROM m\nSYSTEM a\nSYSTEM """b\nc"""\n')
    (line,) = to_github([FileReport(source, read(source).findings)])
    assert line.startswith("::warning file=Modelfile,line=3,endLine=4,title=MF023 ")


def test_sarif_is_what_its_readers_expect(report: FileReport) -> None:
    log = to_sarif([report], "1.2.3")
    read_back = Sarif.model_validate(json.loads(json.dumps(log)))
    (run,) = read_back.runs
    assert run.tool.driver.version == "1.2.3"
    assert [rule.id for rule in run.tool.driver.rules or []] == list(RULES)
    results = log["runs"][0]["results"]
    for result, code in zip(results, ["MF020", "MF001", "MF003"], strict=True):
        assert result["ruleId"] == code == list(RULES)[result["ruleIndex"]]
        assert result["level"] in ("error", "warning", "note")
        place = result["locations"][0]["physicalLocation"]
        assert place["artifactLocation"]["uri"] == "some%20dir/Model%2Cfile"
        assert all(value >= 1 for value in place["region"].values())
    assert (log["version"], log["runs"][0]["columnKind"]) == ("2.1.0", "unicodeCodePoints")


def test_a_clean_file_gives_a_report_of_nothing() -> None:
    source = Source("FROM m\n")
    clean = FileReport(source, read(source).findings)
    assert to_json([clean]) == []
    assert to_github([clean]) == []
    assert to_sarif([clean], "1")["runs"][0]["results"] == []
