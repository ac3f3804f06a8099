"""The shape of the house: small files with telling names, each saying what it is, and one version everywhere."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

import corral

ROOT = Path(__file__).parent.parent
ROOMS = ("corral", "cli", "runtime", "registry", "modelfile", "store")
SOURCES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))
ALL = [
    *SOURCES,
    *sorted(path for folder in ("tests", "tools", "bench", "examples") for path in (ROOT / folder).rglob("*.py")),
]
GRAMMARS = sorted((ROOT / "modelfile").rglob("*.lark"))
SAYS_NOTHING = re.compile(r"_?(utils?|helpers?|common|misc|shared|base|.*manager)s?")
UNFINISHED = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X|NotImplemented" + r"Error)\b")


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_the_rooms_are_there() -> None:
    assert {path.parent.relative_to(ROOT).parts[0] for path in SOURCES} == set(ROOMS)


@pytest.mark.parametrize("path", [*ALL, *GRAMMARS], ids=relative)
def test_a_file_has_at_most_400_lines(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 400


VERBS = [path for path in sorted((ROOT / "cli").glob("*.py")) if "\ndef command(" in path.read_text()]


@pytest.mark.parametrize("path", VERBS, ids=relative)
def test_a_verb_is_a_short_file(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 130


@pytest.mark.parametrize("path", ALL, ids=relative)
def test_a_file_is_named_for_what_lives_in_it(path: Path) -> None:
    assert not SAYS_NOTHING.fullmatch(path.stem)


@pytest.mark.parametrize("path", ALL, ids=relative)
def test_a_file_says_what_it_is(path: Path) -> None:
    docstring = ast.get_docstring(ast.parse(path.read_text()))
    assert docstring
    assert docstring[0].isupper() or docstring[0] == "`"


@pytest.mark.parametrize("path", [*ALL, *GRAMMARS], ids=relative)
def test_nothing_is_marked_unfinished(path: Path) -> None:
    assert not UNFINISHED.findall(path.read_text())


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_no_exception_is_swallowed_whole(path: Path) -> None:
    silent = [
        node.lineno
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or (isinstance(node.type, ast.Name) and node.type.id in ("Exception", "BaseException")))
        and all(isinstance(statement, ast.Pass) for statement in node.body)
    ]
    assert silent == []


def test_no_module_is_named_like_something_its_package_defines() -> None:
    for path in SOURCES:
        if path.stem in ("__init__", "__main__"):
            continue
        defined = {
            node.name
            for node in ast.walk(ast.parse((path.parent / "__init__.py").read_text()))
            if isinstance(node, ast.FunctionDef | ast.ClassDef)
        }
        assert path.stem not in defined


def test_print_is_called_nowhere_but_in_tools() -> None:
    callers = [
        relative(path)
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert callers == []


def test_the_version_is_the_same_everywhere() -> None:
    assert corral.__version__ == project()["version"]


@pytest.mark.parametrize("name", ["CHANGELOG.md"])
def test_a_document_that_names_a_version_knows_this_one(name: str) -> None:
    path = ROOT / name
    assert not path.exists() or project()["version"] in path.read_text()


def test_every_package_is_declared() -> None:
    declared = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    found = {".".join(path.parent.relative_to(ROOT).parts) for path in SOURCES if path.name == "__init__.py"}
    assert declared == {name if name == "corral" else f"corral.{name}" for name in found}
    assert {path.parent for path in SOURCES} == {path.parent for path in SOURCES if path.name == "__init__.py"}
