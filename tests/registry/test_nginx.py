"""A registry behind nginx: its limit on bodies, and blobs that it sends one elsewhere for."""

from __future__ import annotations

import random
from collections.abc import Generator

import pytest
from corral.store.local import Store
from corral.store.manifest import MODEL, Manifest
from corral.store.name import Name

from tests.conftest import PASSWORD, USER, Cli, DockerRegistry, free_port
from tests.registry.conftest import Nginx, running_nginx
from tests.registry.gatekeeper import BASIC
from tests.registry.random_models import random_model
from tests.store.promises import whole_models

LIMIT = 100 << 20
"""nginx's 100m."""


def stored(cli: Cli, name: str, *sizes: int) -> Manifest:
    """A model of random bytes under this name."""
    manifest, contents = random_model(random.Random(name), *sizes)
    store = Store(cli.models)
    for data in contents.values():
        store.blobs.put(bytes(data), MODEL)
    store.tag(Name.parse(name), manifest)
    return manifest


def test_a_blob_above_the_limit_on_bodies(cli: Cli, nginx: Nginx) -> None:
    name = f"{nginx.host}/behind/large:v1"
    manifest = stored(cli, name, LIMIT + (9 << 20), 100)
    pushed = cli.ok("push", name)
    cli.ok("rm", name)
    assert cli.ok("pull", name) == pushed
    whole_models(Store(cli.models), {"large": [manifest]})


@pytest.fixture(scope="module")
def leading(locked_registry: DockerRegistry, tmp_path_factory: pytest.TempPathFactory) -> Generator[Nginx]:
    """nginx that sends one elsewhere for blobs: to a server of plain files, on a host that is not the registry's."""
    port = free_port()
    blobs = f"if ($leads) {{ return 307 http://localhost:{port}$request_uri; }}"
    more = f"""
    map "$request_method $uri" $leads {{ default 0; "~^GET .*/blobs/sha256:" 1; }}
    server {{
        listen 127.0.0.1:{port};
        location ~ "/blobs/sha256:([0-9a-f][0-9a-f])([0-9a-f]+)$" {{
            alias {locked_registry.data}/docker/registry/v2/blobs/sha256/$1/$1$2/data;
        }}
    }}
    """
    with running_nginx(tmp_path_factory.mktemp("leading"), locked_registry, blobs=blobs, more=more) as running:
        yield running


def test_blobs_that_are_elsewhere_are_fetched_without_the_login(cli: Cli, leading: Nginx) -> None:
    variables = {"DOCKER_CONFIG": str(cli.folder / "docker")}
    cli.ok("login", leading.host, "-u", USER, "--password-stdin", stdin=PASSWORD, **variables)
    name = f"{leading.host}/behind/leading:v1"
    manifest = stored(cli, name, 40 << 20, 300, 0)
    pushed = cli.ok("push", name, **variables)
    cli.ok("rm", name)
    assert cli.ok("pull", name, **variables) == pushed
    whole_models(Store(cli.models), {"leading": [manifest]})
    blobs = [line for line in leading.requests() if line[0] == "GET" and "/blobs/sha256:" in line[1]]
    assert {login for _, _, status, _, login in blobs if status == 307} >= {BASIC}
    given = [login for _, _, status, _, login in blobs if status in (200, 206)]
    assert len(given) >= len(manifest.blobs)
    assert set(given) == {"-"}
