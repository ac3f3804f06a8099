"""For the command line's tests: other people's programs."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ROOT

Skopeo = Callable[..., str]


@pytest.fixture(scope="session")
def skopeo() -> Skopeo:
    """Runs the real skopeo; without one the tests fail in CI, and elsewhere are skipped with this reason."""
    program = shutil.which("skopeo")
    if program is None:
        reason = "no skopeo: run `make registry`, or apt-get install skopeo"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    libraries = [str(path) for path in (ROOT / "build" / "tools").glob("**/lib/*-linux-*") if path.is_dir()]
    unpacked = (ROOT / "build" / "tools") in Path(program).parents
    environment = {**os.environ, "LD_LIBRARY_PATH": ":".join(libraries)} if unpacked else None

    def run(*arguments: str | Path) -> str:
        done = subprocess.run(
            [program, "--insecure-policy", *arguments],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run
