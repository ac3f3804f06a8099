"""For the registry client's tests: a token service in front of the real registry, and a host that is none of its own."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from tests.conftest import DockerRegistry
from tests.registry.gatekeeper import Gatekeeper, gatekeeper


@pytest.fixture
def keeper(docker_registry: DockerRegistry) -> Generator[Gatekeeper]:
    """A token service with the real registry behind it."""
    with gatekeeper(docker_registry.host) as running:
        yield running


@pytest.fixture
def stranger(docker_registry: DockerRegistry) -> Generator[Gatekeeper]:
    """The same, on a host that has nothing to do with the first: it is `localhost`, which is not `127.0.0.1`."""
    with gatekeeper(docker_registry.host) as running:
        running.host = running.host.replace("127.0.0.1", "localhost")
        yield running
