"""Debian's docker-registry as people set it up: plain, with a login, with TLS, behind nginx; and what is done with one."""

from __future__ import annotations

import random
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from corral.store.local import Store
from corral.store.manifest import MODEL, Manifest
from corral.store.name import Name
from corral.store.partial import received

from tests.conftest import CORRAL, PASSWORD, USER, Cli, DockerRegistry
from tests.registry.conftest import Nginx
from tests.registry.random_models import random_model
from tests.store.promises import whole_models

SIZES = (20 << 20, 70_000, 0)
CHUNK = 4 << 20
IN_CHUNKS = (
    "import sys; from corral.registry import quirks; from corral.cli.main import run\n"
    f"quirks._USUAL = quirks.UploadPolicy(0, {CHUNK}); sys.exit(run(sys.argv[1:]))"
)
_LINE = re.compile(r'"(\w+) (\S+) HTTP/1\.[01]" (\d+) (\d+) ')


@dataclass(frozen=True)
class Setup:
    """A registry, and how it is reached."""

    prefix: str
    """What a name in it begins with, when it is typed."""
    log: Path
    repository: str
    variables: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def host(self) -> str:
        return self.prefix.rpartition("://")[2]

    def name(self, more: str = "", tag: str = "v1") -> str:
        """A name, without the scheme."""
        return f"{self.host}/{self.repository}{more}:{tag}"

    def typed(self, more: str = "", tag: str = "v1") -> str:
        return f"{self.prefix}/{self.repository}{more}:{tag}"

    def answered(self, method: str, more: str = "") -> list[tuple[str, int, int]]:
        """The requests for that repository, as the registry logged them: path, status, bytes."""
        found = [line.groups() for line in map(_LINE.search, self.log.read_text().splitlines()) if line]
        part = f"/v2/{self.repository}{more}/"
        return [(path, int(status), int(sent)) for verb, path, status, sent in found if verb == method and part in path]


@pytest.fixture(params=["plain", "login", "tls", "nginx"])
def setup(request: pytest.FixtureRequest, cli: Cli) -> Setup:
    """Each of them, with a repository for this test alone."""
    repository = f"setups/{request.node.name.replace('[', '-').rstrip(']')}"
    docker: dict[str, str] = {"DOCKER_CONFIG": str(cli.folder / "docker")}
    fixture = {"plain": "docker_registry", "login": "locked_registry", "tls": "tls_registry", "nginx": "nginx"}
    found: DockerRegistry | Nginx = request.getfixturevalue(fixture[request.param])
    if isinstance(found, Nginx):
        behind: DockerRegistry = request.getfixturevalue("docker_registry")
        return Setup(found.host, behind.data.parent / "log", repository)
    log = found.data.parent / "log"
    if request.param == "plain":
        return Setup(found.host, log, repository)
    prefix = found.host
    if request.param == "tls":
        authority: Path = request.getfixturevalue("authority")
        prefix, docker = f"https://{found.host}", {**docker, "CORRAL_CA_FILE": str(authority / "ca.pem")}
    cli.ok("login", prefix, "-u", USER, "--password-stdin", stdin=PASSWORD, **docker)
    return Setup(prefix, log, repository, docker)


@pytest.fixture
def model(cli: Cli, setup: Setup) -> Manifest:
    """A model for the registry, in the store under its name there."""
    manifest, contents = random_model(random.Random(setup.repository), *SIZES)
    store = Store(cli.models)
    for data in contents.values():
        store.blobs.put(bytes(data), MODEL)
    store.tag(Name.parse(setup.name()), manifest)
    return manifest


def test_a_model_comes_and_goes(cli: Cli, setup: Setup, model: Manifest) -> None:
    """It is pushed, mounted in another repository, pulled from there and removed."""
    pushed = cli.ok("push", setup.typed(), **setup.variables)
    cli.ok("cp", setup.name(), setup.name("-too"))
    cli.ok("push", setup.typed("-too"), **setup.variables)
    mounts = [status for path, status, _ in setup.answered("POST", "-too") if "mount=" in path and status != 401]
    assert mounts == [201] * len(set(model.blobs))
    stored = [path for path, status, _ in setup.answered("PUT", "-too") if status != 401]
    assert stored == [f"/v2/{setup.repository}-too/manifests/v1"]
    assert setup.answered("PATCH", "-too") == []
    cli.ok("rm", setup.name(), setup.name("-too"))
    assert cli.ok("pull", setup.typed("-too"), **setup.variables).split()[1] == pushed.split()[1]
    whole_models(Store(cli.models), {Name.parse(setup.name("-too")).model: [model]})
    cli.ok("remote", "rm", setup.typed("-too"), **setup.variables)
    assert "not found in the registry" in cli.error(4, "pull", setup.typed("-too"), **setup.variables)


def start(cli: Cli, setup: Setup, *command: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, env=cli.environment | setup.variables, stderr=subprocess.DEVNULL)


def kill_when(process: subprocess.Popen[bytes], is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not is_so():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.kill()
    process.wait()


def test_a_pull_that_was_killed_goes_on(cli: Cli, setup: Setup, model: Manifest) -> None:
    cli.ok("push", setup.typed(), **setup.variables)
    cli.ok("rm", setup.name())
    weights, store = model.layers[0], Store(cli.models)
    process = start(cli, setup, str(CORRAL), "pull", setup.typed(), "--bandwidth", "30MB")
    kill_when(process, lambda: received(store.blobs, weights) > SIZES[0] // 3)
    # What the first one asked for is logged when the registry sees that nobody is there.
    time.sleep(0.3)
    before = len(setup.answered("GET"))
    cli.ok("pull", setup.typed(), **setup.variables)
    again = [status for path, status, _ in setup.answered("GET")[before:] if str(weights.digest) in path]
    assert {status for status in again if status != 401} == {206}
    whole_models(store, {Name.parse(setup.name()).model: [model]})


@pytest.mark.parametrize("setup", ["plain", "nginx"], indirect=True)
def test_a_push_that_was_killed_comes_to_its_end(cli: Cli, setup: Setup, model: Manifest) -> None:
    """From the start: this registry loses an upload whose connection breaks in a chunk."""
    process = start(cli, setup, sys.executable, "-c", IN_CHUNKS, "push", setup.typed(), "--bandwidth", "20MB")
    kill_when(process, lambda: len(setup.answered("PATCH")) > 2)
    assert not any("/manifests/" in path for path, _, _ in setup.answered("PUT"))
    pushed = cli.ok("push", setup.typed(), **setup.variables)
    cli.ok("rm", setup.name())
    assert cli.ok("pull", setup.typed(), **setup.variables) == pushed
    whole_models(Store(cli.models), {Name.parse(setup.name()).model: [model]})
