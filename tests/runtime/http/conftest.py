"""What several tests by HTTP ask: the models that clients ask for, where a file has no others."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest

from tests.runtime.conftest import FakeServer, Serve
from tests.runtime.http.conversations import store_models


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with them."""
    return store_models(tmp_path_factory.mktemp("asked"))


@pytest.fixture(scope="module")
def server(serve: Serve, models: Path) -> Generator[FakeServer]:
    """A server of these."""
    with serve(models=models) as running:
        yield running
