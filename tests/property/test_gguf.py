"""Ten thousand mutated GGUF files: a header or an error of ours, each within a second and all within little memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
COUNT = 200_000 if os.environ.get("CORRAL_SOAK") else 10_000
SLOWEST = 1.0  # seconds, on any machine that runs this
MOST_MEMORY = 64 << 10  # KiB


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_mutated_files_give_a_header_or_our_error(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.property.mutated_ggufs", tmp_path, "20261121", str(COUNT)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["accepted"] > COUNT // 50
    assert result["slowest"] < SLOWEST
    assert result["kilobytes"] < MOST_MEMORY
