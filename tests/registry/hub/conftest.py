"""For the Hub's tests: a double with one repository, and `corral` that takes it for the Hub.

huggingface_hub reads its settings as it is imported: what needs other settings than the worker has is a process of its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Generator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.conftest import ROOT, Cli
from tests.registry.hub.double import Hub, running_hub
from tests.weights import gguf, projector

NAME = "hf.co/crew/parrot"


@dataclass(frozen=True)
class Puller:
    """`corral pull` from the double."""

    cli: Cli
    hub: Hub
    home: Path
    """HF_HOME."""
    worker: subprocess.Popen[str] | None = None

    @property
    def settings(self) -> dict[str, str]:
        """The environment that leads to the double."""
        return {"HF_ENDPOINT": self.hub.url, "HF_HOME": str(self.home), "HF_HUB_DISABLE_XET": "1"}

    def run(self, name: str = NAME, **variables: str) -> subprocess.CompletedProcess[str]:
        """One pull: by the worker, unless it needs more variables."""
        if self.worker is None or variables:
            return self.cli.run("pull", name, **self.settings | variables)
        assert self.worker.stdin is not None
        assert self.worker.stdout is not None
        self.worker.stdin.write(json.dumps({"arguments": ["pull", name], "models": str(self.cli.models)}) + "\n")
        self.worker.stdin.flush()
        return subprocess.CompletedProcess([], *json.loads(self.worker.stdout.readline()))

    def ok(self, name: str = NAME, **variables: str) -> str:
        """One that must succeed, and say nothing but status lines; the model's digest."""
        done = self.run(name, **variables)
        assert done.returncode == 0, done.stderr
        lines = done.stderr.splitlines()
        assert lines[0] == "pulling manifest"
        assert lines[-1] == "success"
        known = (
            "pulling ",
            "merging split GGUF",
            "verifying sha256 digest",
            "writing manifest",
            "removing unused layers",
        )
        assert all(line.startswith(known) for line in lines[:-1]), done.stderr
        return done.stdout.split()[-1]

    def error(self, code: int, name: str = NAME, **variables: str) -> str:
        """One that must fail with this exit code, one error, and nothing left in the store."""
        before = self.contents()
        done = self.run(name, **variables)
        assert done.returncode == code, f"{done.returncode}: {done.stderr}"
        assert done.stdout == ""
        assert len([line for line in done.stderr.splitlines() if line.startswith("Error: ")]) == 1, done.stderr
        assert "Traceback" not in done.stderr
        assert self.contents() == before
        return done.stderr

    def contents(self) -> dict[str, str]:
        """Manifests, blobs, and what is being written."""
        kept = ("blobs/", "manifests/", ".corral/ingest/")
        return {path: content for path, content in self.cli.files().items() if path.startswith(kept)}

    def shown(self, name: str = NAME) -> str:
        """The model's Modelfile."""
        return self.cli.ok("show", "--modelfile", name)


@pytest.fixture(scope="session")
def _double() -> Generator[Hub]:  # pyright: ignore[reportUnusedFunction]
    with running_hub({}) as running:
        yield running


@pytest.fixture
def hub(_double: Hub) -> Hub:
    """A double with one model in two quantisations, and its projector."""
    files = {
        "README.md": b"# Parrot\n",
        "parrot-Q4_K_M.gguf": gguf(),
        "parrot-Q8_0.gguf": gguf(context=512),
        "mmproj-parrot-F16.gguf": projector(),
    }
    _double.__dict__ |= vars(Hub(files, url=_double.url, cdn=_double.cdn))
    return _double


@pytest.fixture(scope="session")
def _worker(_double: Hub, tmp_path_factory: pytest.TempPathFactory) -> Generator[Puller]:  # pyright: ignore[reportUnusedFunction]
    folder = tmp_path_factory.mktemp("worker")
    puller = Puller(Cli(folder / "models", folder), _double, folder / "hf")
    worker = subprocess.Popen(
        [sys.executable, Path(__file__).with_name("worker.py")],
        env=puller.cli.environment | puller.settings | {"PYTHONPATH": str(ROOT)},
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with worker:
        yield replace(puller, worker=worker)


@pytest.fixture
def puller(_worker: Puller, cli: Cli, hub: Hub) -> Puller:  # noqa: ARG001 - the double is made new
    """`corral pull` from the double into an empty store; the home is that of all tests."""
    return replace(_worker, cli=cli)


@pytest.fixture
def own_puller(cli: Cli, hub: Hub, tmp_path: Path) -> Puller:
    """The same in a process and a home of its own."""
    return Puller(cli, hub, tmp_path / "hf")
