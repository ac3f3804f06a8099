"""Shared by all tests: a home and a store that are thrown away, the real model, and servers on free ports.

Nothing here may touch the user's own store: HOME and OLLAMA_MODELS are set before anything of Corral is imported, and
every other variable that Corral reads is removed.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import socket
import struct
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
for _variable in (
    "DOCKER_CONFIG",
    "REGISTRY_AUTH_FILE",
    "XDG_RUNTIME_DIR",
    "XDG_CONFIG_HOME",
    "XDG_CACHE_HOME",
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
):
    os.environ.pop(_variable, None)
_HOME = tempfile.mkdtemp(prefix="corral-tests-")
os.environ["HOME"] = _HOME
os.environ["OLLAMA_MODELS"] = str(Path(_HOME, "models"))
# The CPU is shared with other tests; llama.cpp's threads spin when they have to wait for each other.
os.environ["CORRAL_NUM_THREAD"] = "1"
# Who fails on purpose need not be asked six times.
os.environ["CORRAL_RETRIES"] = "1"
# A server that a test ends need not wait for answers that nobody reads.
os.environ["CORRAL_GRACE"] = "0"
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


@pytest.fixture(scope="session")
def tiny_gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A well-formed GGUF of a few hundred bytes, for all that is done with a model but running it."""

    def string(text: str) -> bytes:
        return struct.pack("<Q", len(text)) + text.encode()

    pairs = [string("general.architecture") + struct.pack("<I", 8) + string("llama")]
    for key, value in (("general.file_type", 0), ("llama.block_count", 1), ("llama.context_length", 256)):
        pairs.append(string(key) + struct.pack("<II", 4, value))
    tensor = string("token_embd.weight") + struct.pack("<IQIQ", 1, 8, 0, 0)
    header = b"GGUF" + struct.pack("<IQQ", 3, 1, len(pairs)) + b"".join(pairs) + tensor
    path = tmp_path_factory.mktemp("tiny") / "tiny.gguf"
    path.write_bytes(header + bytes(-len(header) % 32) + bytes(range(32)))
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

    def error(self, code: int, *arguments: str, stdin: str | None = None, **variables: str) -> str:
        """One command that must fail with this exit code, say one error and print nothing else; its standard error."""
        done = self.run(*arguments, stdin=stdin, **variables)
        assert done.returncode == code, f"{done.returncode}: {done.stderr}"
        assert done.stdout == ""
        said = [line for line in done.stderr.splitlines() if line.startswith("Error: ") or ": error: " in line]
        assert len(said) == 1, done.stderr
        assert "Traceback" not in done.stderr
        return done.stderr

    def files(self) -> dict[str, str]:
        """Every file of the store, and the hash of what is in it."""
        paths = [path for path in self.models.rglob("*") if path.is_file()]
        return {str(path.relative_to(self.models)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}

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
def serving(cli: Cli, *command: str, **variables: str) -> Generator[str]:
    """`corral serve`, or another command that does, on a free port while the block runs; gives its URL."""
    port = free_port()
    address = f"127.0.0.1:{port}"
    process = subprocess.Popen(
        [CORRAL, *(command or ("serve",))],
        env=cli.environment | {"OLLAMA_HOST": address, "CORRAL_REGISTRY_HOST": address} | variables,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        line = process.stderr.readline()
        if not line.startswith(f"Listening on 127.0.0.1:{port} (version "):
            process.terminate()
            pytest.fail(line + process.stderr.read())
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
    """A server with the model `smol`, whose answers to equal questions are equal."""
    with serving(Cli(models_folder, models_folder.parent), CORRAL_DETERMINISTIC="1") as url:
        yield url


@pytest.fixture(scope="session")
def embedded_registry(tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    """The host of our own registry server, that is open to all."""
    folder = tmp_path_factory.mktemp("embedded")
    with serving(Cli(folder / "models", folder), "registry", "serve") as url:
        yield url.removeprefix("http://")


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


@contextmanager
def running_registry(folder: Path, *, auth: str = "", tls: str = "", deletes: bool = True) -> Generator[DockerRegistry]:
    """A real OCI registry, with such an `auth` and `tls` in its configuration.

    Without one the tests fail in CI, and elsewhere are skipped with this reason.
    """
    program = shutil.which("docker-registry")
    if program is None:
        reason = "no docker-registry: run `make registry`, or apt-get install docker-registry"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    port = free_port()
    config = folder / "config.yml"
    config.write_text(
        f"version: 0.1\nlog: {{level: error}}\nhttp: {{addr: '127.0.0.1:{port}', {tls}}}\n{auth}\n"
        f"storage: {{filesystem: {{rootdirectory: {folder / 'data'}}}, delete: {{enabled: {str(deletes).lower()}}}}}\n"
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


@pytest.fixture(scope="session")
def docker_registry(tmp_path_factory: pytest.TempPathFactory) -> Generator[DockerRegistry]:
    """A real OCI registry that is open to all."""
    with running_registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


USER, PASSWORD = "alice", "s3cret"
BCRYPT = "$2b$04$1FlE6iGe87/MfejUaGh/UeCkjdQ/R8sPmdde6cfvGkQ9x3ZkWFE/2"
"""Of PASSWORD."""


def htpasswd(folder: Path) -> str:
    """The configuration of a registry that only USER may use, with PASSWORD."""
    (folder / "htpasswd").write_text(f"{USER}:{BCRYPT}\n")
    return f"auth: {{htpasswd: {{realm: corral-test, path: {folder / 'htpasswd'}}}}}"


@pytest.fixture(scope="session")
def locked_registry(tmp_path_factory: pytest.TempPathFactory) -> Generator[DockerRegistry]:
    """A real OCI registry that only USER may use."""
    folder = tmp_path_factory.mktemp("locked")
    with running_registry(folder, auth=htpasswd(folder)) as running:
        yield running
