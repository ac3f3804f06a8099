"""README's tour works when it is followed to the letter."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from tests.conftest import CORRAL, ROOT, free_port

README = (ROOT / "README.md").read_text()
TOUR = README.split("## A tour\n")[1].split("\n## ")[0]
READY = "until curl -sf http://ADDRESS/ >/dev/null; do sleep 0.1; done"


def commands() -> list[str]:
    """What the tour types, without the block that shows a mistake."""
    found: list[str] = []
    for block in re.findall(r"```console\n(.*?)```", TOUR, re.DOTALL):
        if " error: " in block:
            continue
        lines = block.splitlines()
        while lines:
            line = lines.pop(0)
            if not line.startswith("$ "):
                continue  # what a command prints
            command = line.removeprefix("$ ")
            while command.endswith("\\") or ("<<'END'" in command and not command.endswith("\nEND")):
                command += "\n" + lines.pop(0)
            found.append(command)
    return found


def test_the_tour_can_be_followed(tmp_path: Path) -> None:
    assert len(commands()) > 12
    port, registry = str(free_port()), f"127.0.0.1:{free_port()}"
    script = ["set -e", "trap 'kill $(jobs -p) 2>/dev/null' EXIT"]
    for command in commands():
        script.append(command.replace("localhost:5000", registry).replace("~", str(tmp_path)).replace("11434", port))
        if re.search(r"&( +#.*)?$", command):
            script.append(READY.replace("ADDRESS", registry if "registry" in command else f"127.0.0.1:{port}"))
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "models").symlink_to((ROOT / "build" / "models").resolve())
    environment = {
        **os.environ,
        "PATH": f"{CORRAL.parent}:{os.environ['PATH']}",
        "OLLAMA_HOST": f"127.0.0.1:{port}",
        "OLLAMA_MODELS": str(tmp_path / "models"),
        "CORRAL_REGISTRY_HOST": registry,
    }
    assert shutil.which("curl")
    done = subprocess.run(
        ["bash", "-c", "\n".join(script)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert '"done":true' in done.stdout
    assert '"object":"chat.completion"' in done.stdout


def test_the_mistake_is_shown_as_it_is(tiny_gguf: Path, tmp_path: Path) -> None:
    (shown,) = re.findall(r"```console\n\$ corral create brief -f Modelfile\n(Modelfile:3.*?)```", TOUR, re.DOTALL)
    (tmp_path / "Modelfile").write_text("FROM ./m.gguf\nSYSTEM You answer.\nPARAMETER temprature 0.2\n")
    (tmp_path / "m.gguf").write_bytes(tiny_gguf.read_bytes())
    done = subprocess.run(
        [CORRAL, "create", "brief"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stderr) == (1, shown)
