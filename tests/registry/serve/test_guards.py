"""What no client may do to others: read what is theirs, run a script on them, keep the server busy, lose their push."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from corral.store import locks
from corral.store.local import Store
from corral.store.manifest import LICENSE
from corral.store.name import Name
from corral.store.repositories import Tagged
from corral.store.repository import Repository

from tests.registry.serve.conftest import Serving
from tests.registry.serve.documents import (
    BLOB,
    CONFIG,
    CONFIG_TYPE,
    DOCKER,
    MANIFEST,
    described,
    digest,
    encoded,
    image,
    put,
    upload,
)
from tests.registry.serve.table import Step, held, row
from tests.registry.serve.wire import Wire, bare, begun, located

SECRET = b"the weights of somebody else"
FOREIGN = "application/vnd.oci.image.layer.nondistributable.v1.tar"


@pytest.fixture
def wire(own: Serving) -> Wire:
    """A connection to a server of this test's own."""
    return own.wire


def send(wire: Wire, repository: str, *blobs: bytes) -> None:
    for blob in blobs:
        reply = wire.ask(
            "PUT", f"{located(wire.ask('POST', f'/v2/{repository}/blobs/uploads/'))}?digest={digest(blob)}", blob
        )
        assert reply.status == 201, reply.body


def layered(*layers: dict[str, object]) -> bytes:
    config = described(CONFIG, "application/vnd.docker.container.image.v1+json")
    return encoded({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers})


@pytest.mark.parametrize(
    "layers",
    [
        [described(BLOB, LICENSE), described(SECRET, FOREIGN)],
        [described(BLOB, LICENSE), described(SECRET, LICENSE), described(SECRET, FOREIGN)],
    ],
    ids=["as a layer that may be absent", "twice"],
)
def test_naming_a_blob_that_may_be_absent_gives_no_right_to_it(wire: Wire, layers: list[dict[str, object]]) -> None:
    send(wire, "secret/model", SECRET)
    send(wire, "crew/x", BLOB, CONFIG)
    reply = wire.ask("PUT", "/v2/crew/x/manifests/v1", layered(*layers), {"Content-Type": MANIFEST})
    assert reply.status == 201, reply.body
    assert wire.ask("GET", f"/v2/crew/x/blobs/{digest(SECRET)}").code == "BLOB_UNKNOWN"
    assert wire.ask("GET", f"/v2/crew/x/blobs/{digest(BLOB)}").status == 200


def test_a_manifest_of_any_type_is_no_page_of_the_servers(wire: Wire) -> None:
    script = b"<script>alert(1)</script>"
    assert wire.ask("PUT", "/v2/a/b/manifests/x", script, {"Content-Type": "text/html"}).status == 201
    given = wire.ask("GET", "/v2/a/b/manifests/x")
    assert given.body == script
    assert given.headers["x-content-type-options"] == "nosniff"
    assert given.headers["content-security-policy"] == "default-src 'none'; sandbox"


def test_a_model_has_one_repository_only(own: Serving, wire: Wire, tiny_gguf: Path) -> None:
    own.cli.ok("create", "crew/x", "-f", "-", stdin=f"FROM {tiny_gguf}\n")
    assert wire.ask("GET", "/v2/crew/x/manifests/latest").status == 200
    assert wire.ask("GET", "/v2/registry.ollama.ai/crew/x/manifests/latest").code == "MANIFEST_UNKNOWN"
    assert held(row("crew", *upload(CONFIG, BLOB, to="registry.ollama.ai/crew/x"), PUT_THERE), own.host) == ""
    assert own.cli.ok("list").count("\n") == 2, "a push there is no push to the model"


PUT_THERE = put(image(), to="registry.ollama.ai/crew/x")


def test_a_client_that_asks_for_two_blobs_and_leaves_costs_nothing_more(own: Serving, wire: Wire) -> None:
    large = os.urandom(64) * (1 << 17)
    send(wire, "crew/x", large)
    request = begun(own.host, "GET", f"/v2/crew/x/blobs/{digest(large)}", {})
    with bare(own.host) as connection:
        connection.sendall(request + request)
        connection.recv(1000)
    file = digest(large).replace(":", "-")

    def is_open() -> bool:
        return any(os.path.realpath(link).endswith(file) for link in Path("/proc/self/fd").iterdir())

    deadline = time.monotonic() + 20
    while is_open():
        assert time.monotonic() < deadline, "the server is still at it"
        time.sleep(0.05)


def test_a_model_that_is_an_oci_manifest_is_served_as_one(own: Serving, wire: Wire) -> None:
    layer = b"MIT"
    manifest = encoded(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": described(CONFIG, CONFIG_TYPE),
            "layers": [described(layer, LICENSE)],
        }
    )
    send(wire, "crew/x", CONFIG, layer)
    assert wire.ask("PUT", "/v2/crew/x/manifests/v1", manifest, {"Content-Type": MANIFEST}).status == 201
    store = Store(own.models)
    store.copy(Name.parse("crew/x:v1"), Name.parse("crew/y:v1"))
    for accept in (f"{DOCKER}, {MANIFEST}", MANIFEST):
        given = wire.ask("GET", "/v2/crew/y/manifests/v1", headers={"Accept": accept})
        assert (given.headers["content-type"], given.body) == (MANIFEST, manifest)


def test_a_collection_leaves_a_tag_alone_that_is_being_set(own: Serving, wire: Wire) -> None:
    """As it is between the two steps of a push: the tag says which model it is, and the store has it not yet."""
    assert held(row("crew", *upload(CONFIG, BLOB), put(image())), own.host) == ""
    store, repository = Store(own.models), Repository("rows/crew")
    store.repositories.tag(repository, "v1", Tagged(digest(image()), digest(b"to come")))
    with locks.keyed(store.blobs.busy_file(repository.filename)):
        store.collect()
        assert store.repositories.tagged(repository, "v1")
    store.collect()
    assert not store.repositories.tagged(repository, "v1")
    assert held(row("crew", Step("GET", "manifests/v1", 404)), own.host) == ""
    wire.close()


def test_a_page_shows_so_much_of_a_manifest_and_no_more(own: Serving, wire: Wire) -> None:
    send(wire, "crew/x", BLOB, CONFIG)
    layers = [described(BLOB, f"application/vnd.example.{number}") for number in range(2000)]
    assert wire.ask("PUT", "/v2/crew/x/manifests/v1", layered(*layers), {"Content-Type": MANIFEST}).status == 201
    page = wire.ask("GET", "/").body.decode()
    assert page.count("<tr>") == 51
    assert "And 1951 more." in page
    assert own.models.exists()
