"""Shared by all tests: a home and a store that are thrown away, the real model, and servers on free ports.

Nothing here may touch the user's own store: HOME and OLLAMA_MODELS are set before anything of Corral is imported, and
every other variable that Corral reads is removed.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CORRAL = Path(sys.executable).parent / "corral"

for _variable in [name for name in os.environ if name.startswith(("OLLAMA_", "CORRAL_")) and name != "CORRAL_SOAK"]:
    del os.environ[_variable]
_HOME = tempfile.mkdtemp(prefix="corral-tests-")
os.environ["HOME"] = _HOME
os.environ["OLLAMA_MODELS"] = str(Path(_HOME, "models"))
# The CPU is shared with other tests; llama.cpp's threads spin when they have to wait for each other.
os.environ["CORRAL_NUM_THREAD"] = "1"
os.environ["PATH"] = f"{ROOT / 'build' / 'tools' / 'usr' / 'bin'}:{os.environ['PATH']}"


def pytest_sessionfinish() -> None:
    shutil.rmtree(_HOME, ignore_errors=True)


@pytest.fixture(autouse=True)
def _own_home() -> None:  # pyright: ignore[reportUnusedFunction]
    assert os.environ["HOME"].startswith(tempfile.gettempdir())
    assert os.environ["OLLAMA_MODELS"].startswith(tempfile.gettempdir())


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """SmolLM2-135M-Instruct, 98 MB, from the package that `make setup` installs."""
    path = (ROOT / "build" / "models" / "SmolLM2-135M-Instruct.Q4_1.gguf").resolve()
    assert path.is_file(), "run `make setup` first"
    return path


def free_port() -> int:
    """A port nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@dataclass(frozen=True)
class Cli:
    """Runs `corral` on one store."""

    models: Path
    folder: Path

    def run(self, *arguments: str, stdin: str | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
        """One command, its output captured; the exit code is the caller's to look at."""
        return subprocess.run(
            [CORRAL, *arguments],
            env=self.environment | variables,
            cwd=self.folder,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )

    def ok(self, *arguments: str, stdin: str | None = None, **variables: str) -> str:
        """One command that must succeed; its standard output."""
        done = self.run(*arguments, stdin=stdin, **variables)
        assert done.returncode == 0, done.stderr
        return done.stdout

    @property
    def environment(self) -> dict[str, str]:
        """The tests' environment, with this store and a server address where nobody listens."""
        return {**os.environ, "OLLAMA_MODELS": str(self.models), "OLLAMA_HOST": "127.0.0.1:1"}


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """`corral` on an empty store, in an empty folder."""
    folder = tmp_path / "work"
    folder.mkdir()
    return Cli(tmp_path / "models", folder)


@contextmanager
def serving(cli: Cli, **variables: str) -> Generator[str]:
    """`corral serve` on a free port while the block runs; gives its URL."""
    port = free_port()
    process = subprocess.Popen(
        [CORRAL, "serve"],
        env=cli.environment | {"OLLAMA_HOST": f"127.0.0.1:{port}"} | variables,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        line = process.stderr.readline()
        assert line.startswith(f"Listening on 127.0.0.1:{port} (version "), line + process.stderr.read()
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            assert process.wait(30) == 0
        finally:
            process.kill()
            process.stderr.close()


@pytest.fixture(scope="session")
def models_folder(smollm2: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with the model `smol`."""
    folder = tmp_path_factory.mktemp("served")
    cli = Cli(folder / "models", folder)
    modelfile = f"FROM {smollm2}\nPARAMETER temperature 0\nSYSTEM You are a helpful assistant.\n"
    cli.ok("create", "smol", "-f", "-", stdin=modelfile)
    return cli.models


@pytest.fixture(scope="session")
def served_url(models_folder: Path) -> Generator[str]:
    """A server with the model `smol`."""
    with serving(Cli(models_folder, models_folder.parent)) as url:
        yield url


@dataclass(frozen=True)
class DockerRegistry:
    """A running Debian docker-registry."""

    host: str
    data: Path
    """Where it keeps its files."""

    def blob_file(self, digest: str) -> Path:
        """The file of a blob."""
        hex_digits = digest.removeprefix("sha256:")
        return self.data / "docker/registry/v2/blobs/sha256" / hex_digits[:2] / hex_digits / "data"


@pytest.fixture(scope="session")
def docker_registry(tmp_path_factory: pytest.TempPathFactory) -> Generator[DockerRegistry]:
    """A real OCI registry; without one the tests fail in CI, and elsewhere are skipped with this reason."""
    program = shutil.which("docker-registry")
    if program is None:
        reason = "no docker-registry: run `make registry`, or apt-get install docker-registry"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    folder = tmp_path_factory.mktemp("registry")
    port = free_port()
    config = folder / "config.yml"
    config.write_text(
        f"version: 0.1\nlog: {{level: error}}\nhttp: {{addr: '127.0.0.1:{port}'}}\n"
        f"storage: {{filesystem: {{rootdirectory: {folder / 'data'}}}, delete: {{enabled: true}}}}\n"
    )
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([program, "serve", config], stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert process.poll() is None, (folder / "log").read_text()
            time.sleep(0.05)
        yield DockerRegistry(f"127.0.0.1:{port}", folder / "data")
    finally:
        process.terminate()
        process.wait(20)
