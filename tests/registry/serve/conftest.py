"""For the registry server's tests: ours on a store that is thrown away, and Debian's, to be asked the same."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from corral.runtime.http.oci import Door
from corral.runtime.http.registry_app import anybody, make_registry_app

from corral import Store
from tests.conftest import Cli, DockerRegistry
from tests.registry.serve.listings import STOCK
from tests.registry.serve.table import held
from tests.registry.serve.wire import Wire
from tests.runtime.http.running import running


@dataclass(frozen=True)
class Serving:
    """Our registry server, and the store that it serves."""

    host: str
    models: Path
    stack: ExitStack
    """What ends with it."""

    @property
    def wire(self) -> Wire:
        """A new connection."""
        return self.stack.enter_context(Wire(self.host))

    @property
    def cli(self) -> Cli:
        """`corral` on its store."""
        return Cli(self.models, self.models.parent)


@contextmanager
def serving(models: Path) -> Generator[Serving]:
    """A server while the block runs."""
    models.parent.mkdir(parents=True, exist_ok=True)
    with running(make_registry_app(Store(models), Door(anybody))) as server, ExitStack() as stack:
        yield Serving(f"127.0.0.1:{server.port}", models, stack)


@pytest.fixture(scope="session")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Generator[Serving]:
    """A server for all tests that keep to repositories of their own."""
    with serving(tmp_path_factory.mktemp("lasting") / "models") as server:
        yield server


@pytest.fixture
def own(tmp_path: Path) -> Generator[Serving]:
    """A server for this test alone."""
    with serving(tmp_path / "served" / "models") as server:
        yield server


@pytest.fixture(scope="session", params=["ours", "docker-registry"])
def host(request: pytest.FixtureRequest) -> str:
    """Ours, and Debian's, with what the rows of the table only look at."""
    if request.param == "ours":
        server: Serving = request.getfixturevalue("lasting")
        found = server.host
    else:
        debians: DockerRegistry = request.getfixturevalue("docker_registry")
        found = debians.host
    assert held(STOCK, found) == ""
    return found
