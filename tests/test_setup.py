"""`tools/setup.sh` and the Makefile: which engine .venv gets, and that it stays until another is asked for."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import ROOT

_PYTHON = """#!/bin/sh
# In place of .venv's: it notes what is installed, and makes no wheel of its own.
case "$*" in
*" wheel "*)
    echo "built $CMAKE_ARGS" >> "$LOG"
    while [ "$1" != --wheel-dir ]; do shift; done
    : > "$2/llama_cpp_python-0-py3-none-any.whl" ;;
*find_spec*) echo "$MODELS" ;;
esac
"""


@dataclass(frozen=True)
class House:
    """A copy of what the setup reads, with a .venv that does nothing."""

    root: Path

    def setup(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run it."""
        (self.root / "log").write_text("")
        path = f"{self.root / 'bin'}:/usr/bin:/bin"
        environment = {
            "HOME": str(self.root),
            "PATH": path,
            "PYTHON": sys.executable,
            "LOG": str(self.root / "log"),
            "MODELS": str(self.root / "models"),
            "CXX": str(self.root / "bin" / "c++"),
            **variables,
        }
        command = ["sh", "tools/setup.sh", *arguments]
        return subprocess.run(command, cwd=self.root, env=environment, capture_output=True, text=True, check=False)

    def log(self, word: str) -> list[str]:
        """What was built, or installed, in the last run."""
        return [line for line in (self.root / "log").read_text().splitlines() if line.startswith(word)]

    @property
    def engine(self) -> list[str]:
        """The name of .venv's engine and its flags."""
        return (self.root / ".venv" / ".corral-engine").read_text().splitlines()


@pytest.fixture
def house(tmp_path: Path) -> House:
    for folder in ("tools", ".venv/bin", "models", "bin"):
        (tmp_path / folder).mkdir(parents=True)
    for name in ("tools/setup.sh", "tools/native_flags.py", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "models" / "SmolLM2-135M-Instruct.Q4_1.gguf").touch()
    programs = {
        ".venv/bin/python": _PYTHON,
        ".venv/bin/corral": "#!/bin/sh\n",
        "bin/uv": '#!/bin/sh\necho "installed $*" >> "$LOG"\n',
        "bin/c++": "#!/bin/sh\necho '#define __GNUC__ 12'\n",
    }
    for name, text in programs.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    return House(tmp_path)


PORTABLE = "-DGGML_NATIVE=OFF"


def test_the_first_engine_is_portable(house: House) -> None:
    assert house.setup().returncode == 0
    assert house.engine == ["portable", PORTABLE]
    assert house.log("built") == [f"built {PORTABLE}"]


def test_an_engine_stays_until_another_is_asked_for(house: House) -> None:
    assert house.setup("native").returncode == 0
    assert house.engine[0] == "native"
    for _ in range(2):
        done = house.setup()
        assert done.returncode == 0
        assert "keeping the native build" in done.stderr
        assert house.log("") == []
    assert house.setup("portable").returncode == 0
    assert house.engine == ["portable", PORTABLE]


def test_engines_are_kept_apart_and_compiled_once(house: House) -> None:
    own = "-DGGML_NATIVE=OFF -DGGML_AVX512=ON"
    assert house.setup("portable").returncode == 0
    assert house.setup("native", CORRAL_LLAMA_CMAKE_ARGS=own).returncode == 0
    assert house.engine == ["custom", own]
    assert house.log("built") == [f"built {own}"]
    wheels = set((house.root / ".cache" / "corral" / "wheels").iterdir())
    assert len(wheels) == 2
    assert house.setup("portable").returncode == 0
    assert house.log("built") == []
    # The same version is there already, so that only force makes it another build.
    forced = [line for line in house.log("installed") if "--force-reinstall" in line]
    assert len(forced) == 1
    assert forced[0].split("/")[-2].endswith(_key(PORTABLE))


def test_a_custom_engine_stays_without_its_variable(house: House) -> None:
    assert house.setup(CORRAL_LLAMA_CMAKE_ARGS="-DGGML_CUDA=ON").returncode == 0
    done = house.setup()
    assert (done.returncode, house.engine) == (0, ["custom", "-DGGML_CUDA=ON"])
    assert "keeping the custom build" in done.stderr


def test_a_new_compiler_is_no_reason_to_compile_unasked(house: House) -> None:
    assert house.setup("native").returncode == 0
    before = house.engine
    (house.root / "bin" / "c++").write_text("#!/bin/sh\necho '#define __GNUC__ 5'\n")
    assert house.setup().returncode == 0
    assert house.engine == before


def test_error_an_engine_that_is_none(house: House) -> None:
    done = house.setup("fastest")
    assert done.returncode == 1
    assert done.stderr == "setup: fastest: no such build: portable or native\n"


def test_tests_and_checks_leave_the_engine_as_it_is() -> None:
    for target in ("test", "lint", "types", "demo", "bench", "soak"):
        (setup,) = (line for line in _commands(target) if "setup.sh" in line)
        assert setup == "sh tools/setup.sh"


@pytest.mark.parametrize(("target", "build"), [("setup", "portable"), ("setup-native", "native")])
def test_make_says_which_engine(target: str, build: str) -> None:
    assert _commands(target) == [f"sh tools/setup.sh {build}"]


def _commands(target: str) -> list[str]:
    """What make would do; the tests may be run by a make themselves, whose ways are not this one's."""
    command = ["make", "-n", "--no-print-directory", target]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip().splitlines()


def _key(flags: str) -> str:
    command = ["sh", "-c", 'printf %s "$0" | sha256sum | cut -c1-12', flags]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ).stdout.strip()
