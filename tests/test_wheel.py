"""The wheel: built from a clean copy of the tree, it holds exactly the rooms' modules and data files."""

from __future__ import annotations

import configparser
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from email import message_from_string
from email.message import Message
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("corral", "cli", "runtime", "registry", "modelfile", "store")
DATA = {".lark", ".json", ".html", ".css", ".js"}
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, because setuptools leaves its own build folders in the tree."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for path in [*ROOMS, "tests", "pyproject.toml", "README.md", "LICENSE"]:
        if (ROOT / path).is_dir():
            shutil.copytree(ROOT / path, source / path, ignore=shutil.ignore_patterns("__pycache__"))
        elif (ROOT / path).exists():
            shutil.copy(ROOT / path, source / path)
    command = [sys.executable, "-m", "build", "--wheel", "--outdir", folder / "dist", source]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = (folder / "dist").iterdir()
    return built


@pytest.fixture(scope="module")
def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        return message_from_string(archive.read(f"corral-{PROJECT['version']}.dist-info/METADATA").decode())


def in_wheel(path: Path) -> str:
    name = path.relative_to(ROOT).as_posix()
    return name if name.startswith("corral/") else f"corral/{name}"


def test_the_wheel_has_exactly_the_modules_and_data_files_of_the_tree(names: set[str]) -> None:
    shipped = {name for name in names if ".dist-info/" not in name}
    tree = [
        path
        for room in ROOMS
        for path in (ROOT / room).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    ]
    assert shipped == {in_wheel(path) for path in tree}
    assert {path.suffix for path in tree} - {".py"} <= DATA | {".typed"}


def test_the_grammars_and_the_type_marker_are_in_it(names: set[str]) -> None:
    assert {"corral/py.typed", "corral/modelfile/grammar.lark", "corral/modelfile/template/grammar.lark"} <= names


def test_no_test_and_no_other_top_level_name_is_installed(names: set[str]) -> None:
    assert {name.split("/")[0] for name in names} == {"corral", f"corral-{PROJECT['version']}.dist-info"}


def test_the_wheel_is_for_every_machine(wheel: Path) -> None:
    assert wheel.name == f"corral-{PROJECT['version']}-py3-none-any.whl"


def test_the_metadata_has_the_version_and_the_extras(metadata: Message) -> None:
    assert metadata["Name"] == "corral"
    assert metadata["Version"] == PROJECT["version"]
    assert metadata["Requires-Python"] == PROJECT["requires-python"]
    assert set(metadata.get_all("Provides-Extra", [])) >= {"llama", "dev", "bench"}


def test_the_engine_is_an_extra_and_not_a_dependency(metadata: Message) -> None:
    required = [line for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert len(required) == len(PROJECT["dependencies"])
    assert not [line for line in required if "llama" in line or "pytest" in line]


def test_the_script_is_the_command_line(wheel: Path) -> None:
    entries = configparser.ConfigParser()
    with zipfile.ZipFile(wheel) as archive:
        entries.read_string(archive.read(f"corral-{PROJECT['version']}.dist-info/entry_points.txt").decode())
    assert dict(entries["console_scripts"]) == {"corral": "corral.__main__:main"}


def test_an_installed_wheel_works_outside_the_tree(wheel: Path, tmp_path: Path) -> None:
    environment = tmp_path / "environment"
    venv.create(environment, system_site_packages=False, with_pip=False)
    (site,) = environment.glob("lib/python*/site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    # The dependencies come from the tests' environment, Corral itself from the wheel alone.
    (dependencies,) = (Path(sys.prefix) / "lib").glob("python*/site-packages")
    code = (
        f"import sys; sys.path.append({str(dependencies)!r}); import corral; print(corral.__file__)\n"
        "print(corral.parse('FROM x').instructions[0].value, corral.Template('{{ .Prompt }}').text)"
    )
    done = subprocess.run(
        [environment / "bin" / "python", "-I", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [str(site / "corral" / "__init__.py"), "x {{ .Prompt }}"]
