"""Who may import whom: cli -> runtime -> registry | modelfile -> store, and what pure modules do without."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MAY_IMPORT = {
    "store": set[str](),
    "modelfile": {"store"},
    "registry": {"store"},
    "runtime": {"store", "modelfile", "registry"},
    "cli": {"store", "modelfile", "registry", "runtime", "corral"},
    "corral": {"cli", "modelfile", "store"},
}
"""`corral` is the front door: cli asks it for the version, and it hands out the public names of the rooms."""

IMPURE = {"os", "socket", "requests", "subprocess", "time", "shutil", "tempfile", "urllib3"}
ENGINE = {"llama_cpp"}
MODULES = sorted(path for room in MAY_IMPORT for path in (ROOT / room).rglob("*.py"))
PURE_BY_ARCHITECTURE = {
    "modelfile/lexer.py",
    "modelfile/nodes.py",
    "modelfile/parser.py",
    "modelfile/plan.py",
    "modelfile/printer.py",
    "modelfile/template/compiler.py",
    "modelfile/template/parser.py",
    "runtime/engine/text.py",
    "runtime/schedule/policy.py",
    "store/digest.py",
    "store/manifest.py",
    "store/name.py",
}


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def is_pure(path: Path) -> bool:
    """Whether architecture.md or the module's own docstring promises that it does no I/O."""
    docstring = ast.get_docstring(ast.parse(path.read_text())) or ""
    return relative(path) in PURE_BY_ARCHITECTURE or re.search(r"\bPure\.", docstring) is not None


PURE = [path for path in MODULES if is_pure(path)]


def imported(path: Path) -> Iterator[str]:
    """Every module the file imports, wherever in it, as an absolute name (`corral.store.blobs`)."""
    package = relative(path).removesuffix(".py").split("/")[:-1]
    package = package if package[0] == "corral" else ["corral", *package]
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Import():
                yield from (alias.name for alias in node.names)
            case ast.ImportFrom(level=0):
                yield node.module or ""
            case ast.ImportFrom():
                base = [*package[: len(package) - node.level + 1], *filter(None, [node.module])]
                # `from .. import x` may name a module or a value of the package; both give the room away.
                yield from (
                    [".".join(base)] if node.module else (".".join([*base, alias.name]) for alias in node.names)
                )
            case _:
                pass


def room_of(module: str) -> str | None:
    """The room an import of ours leads to, `corral` for the front door itself; None for what is not ours."""
    first, *rest = module.split(".")
    if first != "corral":
        return None
    return rest[0] if rest and rest[0] in MAY_IMPORT else "corral"


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_imports_go_only_to_rooms_further_right(path: Path) -> None:
    room = relative(path).split("/")[0]
    reached = {target for module in imported(path) if (target := room_of(module))} - {room}
    assert reached <= MAY_IMPORT[room]


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_imports_between_rooms_are_relative(path: Path) -> None:
    absolute = [
        node.module
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom)
        and not node.level
        and (node.module or "").split(".")[0] in {"corral", *MAY_IMPORT}
    ]
    assert absolute == []


def test_every_module_named_pure_by_the_architecture_is_there() -> None:
    assert {relative(path) for path in MODULES} >= PURE_BY_ARCHITECTURE


@pytest.mark.parametrize("path", PURE, ids=relative)
def test_a_pure_module_imports_nothing_that_does_io(path: Path) -> None:
    assert {module.split(".")[0] for module in imported(path)} & IMPURE == set()


@pytest.mark.parametrize("path", PURE, ids=relative)
def test_a_pure_module_carries_paths_at_most_as_values(path: Path) -> None:
    tree = ast.parse(path.read_text())
    annotations = {
        id(name)
        for node in ast.walk(tree)
        for annotation in (getattr(node, "annotation", None), getattr(node, "returns", None))
        if isinstance(annotation, ast.AST)
        for name in ast.walk(annotation)
    }
    used = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and node.id == "Path" and id(node) not in annotations
    ]
    assert used == []


def test_only_the_engine_room_touches_llama_cpp() -> None:
    users = {relative(path) for path in MODULES if any(module.split(".")[0] in ENGINE for module in imported(path))}
    assert {user.rpartition("/")[0] for user in users} == {"runtime/engine/llama"}


def test_nothing_uses_mocks() -> None:
    files = [
        *MODULES,
        *(ROOT / "tests").rglob("*.py"),
        *(ROOT / "bench").rglob("*.py"),
        *(ROOT / "tools").rglob("*.py"),
    ]
    assert [path for path in files if any(module.startswith(("unittest", "mock")) for module in imported(path))] == []


def loaded_by(code: str) -> set[str]:
    """The modules in memory after the code has run in an interpreter of its own."""
    report = "\nimport sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code + report], capture_output=True, text=True, check=True, timeout=60)
    return set(done.stdout.split())


def test_importing_the_package_loads_none_of_its_rooms() -> None:
    assert not {name for name in loaded_by("import corral") if name.startswith("corral.")}


@pytest.mark.parametrize(
    ("arguments", "lazy"),
    [
        (
            ["list"],
            {"requests", "starlette", "uvicorn", "llama_cpp", "jinja2", "rich", "lark", "gguf", "numpy", "asyncio"},
        ),
        (["--version"], {"llama_cpp", "rich", "numpy", "prompt_toolkit"}),
        (["create", "absent", "-f", "absent"], {"requests", "starlette", "uvicorn", "llama_cpp", "rich", "numpy"}),
        (["show", "absent"], {"requests", "starlette", "uvicorn", "llama_cpp", "rich", "numpy"}),
        (["gc"], {"requests", "starlette", "llama_cpp", "rich", "lark", "numpy"}),
    ],
    ids=["list", "version", "create", "show", "gc"],
)
def test_a_verb_loads_only_what_it_needs(arguments: list[str], lazy: set[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "corral", *arguments],
        env={**os.environ, "OLLAMA_HOST": "127.0.0.1:1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    loaded = {
        line.rpartition("|")[2].strip().split(".")[0]
        for line in done.stderr.splitlines()
        if line.startswith("import time:")
    }
    assert "corral" in loaded
    assert loaded & lazy == set()


@pytest.mark.parametrize("room", ["registry.pull", "registry.push", "modelfile.builder", "store.local"])
def test_the_toolchain_never_imports_an_engine_or_a_server(room: str) -> None:
    loaded = {name.split(".")[0] for name in loaded_by(f"import corral.{room}")}
    assert loaded & {"llama_cpp", "starlette", "uvicorn", "typer"} == set()
