"""POST /api/pull and /api/push: what clients are told of a transfer, who else may share it, and what ends it."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable, Generator, Iterator
from io import BufferedIOBase
from pathlib import Path
from typing import Any

import pytest
import requests
from corral.cli.settings import Settings
from corral.cli.variables import faults
from corral.registry.patience import Patience
from corral.registry.remote import Access
from corral.runtime.http.app import make_app
from corral.runtime.inference import EngineDefaults
from corral.store.digest import Digest
from corral.store.manifest import MODEL, Descriptor, Manifest
from starlette.testclient import TestClient

from corral import Store
from tests.conftest import Cli, DockerRegistry, serving
from tests.registry.exchange import Reply, Request, served
from tests.registry.faulty import FaultyRegistry
from tests.runtime.conftest import FakeServer, Serve, eventually


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Cli:
    """The server's store, for whoever comes by the command line."""
    folder = tmp_path_factory.mktemp("transfers")
    return Cli(folder / "models", folder)


@pytest.fixture(scope="module")
def server(serve: Serve, store: Cli) -> Generator[FakeServer]:
    with serve(models=store.models) as running:
        yield running


def lines(reply: requests.Response) -> list[dict[str, Any]]:
    assert reply.status_code == 200, reply.text
    assert reply.headers["Content-Type"] == "application/x-ndjson"
    return [json.loads(line) for line in reply.text.splitlines()]


def big(registry: FaultyRegistry, size: int) -> tuple[str, Digest]:
    """Have the registry hold a model with a layer of so many bytes; its name and the layer's digest."""
    weights, config = b"w" * size, b'{"model_format":"gguf"}'
    layer = Descriptor(MODEL, Digest.of(weights), size)
    manifest = Manifest.build(
        Descriptor("application/vnd.docker.container.image.v1+json", Digest.of(config), 23), [layer]
    )
    registry.hold("crew/big", "v1", manifest, [weights, config])
    return f"{registry.host}/crew/big:v1", layer.digest


def test_a_model_goes_and_comes_back(
    server: FakeServer, store: Cli, tiny_gguf: Path, docker_registry: DockerRegistry
) -> None:
    name = f"{docker_registry.host}/crew/http:v1"
    made = json.loads(store.ok("create", name, "-f", "-", "--json", stdin=f"FROM {tiny_gguf}\nSYSTEM Be kind.\n"))
    digests = [blob["digest"] for blob in (*made["layers"], made["config"])]

    def transfers(verb: str, steps: list[dict[str, Any]]) -> set[str]:
        moved = [step for step in steps if "digest" in step]
        for step in moved:
            assert step["status"] == f"{verb} {step['digest'].removeprefix('sha256:')[:12]}"
            assert 0 <= step["completed"] <= step["total"]
        return {step["digest"] for step in moved if step["completed"] == step["total"]}

    pushed = lines(server.post("/api/push", {"model": name}))
    assert pushed[0] == {"status": "retrieving manifest"}
    assert transfers("pushing", pushed) == set(digests)
    assert pushed[-2:] == [{"status": "pushing manifest"}, {"status": "success"}]
    assert server.ask("DELETE", "/api/delete", {"model": name}).status_code == 200
    pulled = lines(server.post("/api/pull", {"name": name, "username": "a", "password": "b"}))
    assert pulled[0] == {"status": "pulling manifest"}
    assert transfers("pulling", pulled) == set(digests)
    assert pulled[-3:] == [{"status": text} for text in ("verifying sha256 digest", "writing manifest", "success")]
    assert {model["digest"] for model in server.get("/api/tags")["models"]} == {made["digest"].removeprefix("sha256:")}
    for route in ("/api/push", "/api/pull"):
        reply = server.post(route, {"model": name, "stream": False})
        assert (reply.status_code, reply.json()) == (200, {"status": "success"})
        assert reply.headers["Content-Type"] == "application/json"


def test_a_pull_over_another_model_says_that_layers_are_removed(
    server: FakeServer, store: Cli, tiny_gguf: Path
) -> None:
    registry = FaultyRegistry(login="")
    with served(registry):
        name, _ = big(registry, 100)
        store.ok("create", name, "-f", "-", stdin=f"FROM {tiny_gguf}\n")
        steps = [step["status"] for step in lines(server.post("/api/pull", {"model": name}))]
    assert steps[-3:] == ["writing manifest", "removing unused layers", "success"]


def test_each_line_is_written_by_itself_and_a_blob_has_few_of_them(server: FakeServer) -> None:
    registry = FaultyRegistry(login="", rate=4 << 20)
    with served(registry):
        name, digest = big(registry, 6 << 20)
        connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=60)
        started = time.monotonic()
        connection.request("POST", "/api/pull", json.dumps({"model": name}))
        reply = connection.getresponse()
        raw: BufferedIOBase = reply.fp
        chunks: list[bytes] = []
        while size := int(raw.readline(), 16):
            chunks.append(raw.read(size))
            raw.readline()
        took = time.monotonic() - started
        connection.close()
    steps = [json.loads(chunk) for chunk in chunks]
    assert all(chunk.endswith(b"\n") and chunk.count(b"\n") == 1 for chunk in chunks)
    of_it = [step["completed"] for step in steps if step.get("digest") == str(digest)]
    assert of_it == sorted(of_it)
    assert of_it[-1] == 6 << 20
    assert 3 < len(of_it) < 12 * took + 3
    assert steps[-1] == {"status": "success"}


def test_what_several_pull_comes_once_and_goes_on_when_one_hangs_up(server: FakeServer, store: Cli) -> None:
    size = 24 << 20
    registry = FaultyRegistry(login="", rate=4 << 20)
    with served(registry):
        name, digest = big(registry, size)
        first = server.stream("/api/pull", {"model": name})
        told = first.iter_lines()
        while json.loads(next(told)).get("completed", 0) < 2 << 20:
            pass
        others: list[list[dict[str, Any]]] = []
        threads = [
            threading.Thread(target=lambda: others.append(lines(server.post("/api/pull", {"model": name}))))
            for _ in range(3)
        ]
        for thread in threads:
            thread.start()
        eventually(lambda: len(registry.asked("GET", "/manifests/")) == 4)
        first.close()
        for thread in threads:
            thread.join()
        assert [steps[-1] for steps in others] == [{"status": "success"}] * 3
        assert registry.sent[f"/v2/crew/big/blobs/{digest}"] < size * 3 // 2
    assert Store(store.models).blobs.size(digest) == size


def test_a_pull_that_nobody_waits_for_ends_and_can_be_gone_on_with(server: FakeServer) -> None:
    size = 32 << 20
    registry = FaultyRegistry(login="", rate=2 << 20)
    with served(registry):
        name, digest = big(registry, size)
        path = f"/v2/crew/big/blobs/{digest}"
        for streams in (True, False):
            reply = threading.Thread(target=hang_up, args=(server, name, registry, path), kwargs={"stream": streams})
            reply.start()
            reply.join()

        def stands_still() -> bool:
            before = registry.sent[path]
            time.sleep(0.5)
            return registry.sent[path] == before

        eventually(stands_still)
        assert registry.sent[path] < size // 2
        registry.rate = 0
        assert lines(server.post("/api/pull", {"model": name}))[-1] == {"status": "success"}
        assert registry.sent[path] < size * 3 // 2


def hang_up(server: FakeServer, name: str, registry: FaultyRegistry, path: str, *, stream: bool) -> None:
    """Ask for a model, and go away when some of it has come."""
    before = registry.sent.get(path, 0)
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=60)
    connection.request("POST", "/api/pull", json.dumps({"model": name, "stream": stream}))
    eventually(lambda: registry.sent.get(path, 0) > before + (1 << 20))
    connection.close()


def test_error_insecure_is_about_the_connection_alone(server: FakeServer, store: Cli) -> None:
    registry = FaultyRegistry(login="")
    with served(registry):
        name, digest = big(registry, 1000)
        registry.blobs[str(digest)] = b"x" * 1000
        for insecure in (True, False):
            last = lines(server.post("/api/pull", {"model": name, "insecure": insecure}))[-1]
            assert last["kind"] == "integrity"
            assert f"expected {digest}, got sha256:" in last["error"]
    assert Store(store.models).blobs.size(digest) is None
    assert name not in {model["name"] for model in server.get("/api/tags")["models"]}


def test_error_a_push_that_nobody_waits_for_ends(server: FakeServer) -> None:
    registry = FaultyRegistry(login="")
    with served(registry):
        name, _ = big(registry, 16 << 20)
        assert lines(server.post("/api/pull", {"model": name}))[-1] == {"status": "success"}
        registry.manifests.clear()
        registry.linked.clear()
        slow: list[int] = []

        def slowly(pieces: Iterator[bytes]) -> Iterator[bytes]:
            for piece in pieces:
                slow.append(len(piece))
                time.sleep(0.02)
                yield piece

        def dawdle(asked: Request, act: Callable[[], Reply]) -> Reply:
            if asked.method in ("PUT", "PATCH") and "/uploads/" in asked.url:
                asked.on_the_way = slowly
            return act()

        registry.faults = [dawdle]
        reply = server.stream("/api/push", {"model": name})
        eventually(lambda: sum(slow) > 1 << 20)
        reply.close()
        time.sleep(0.1)

        def stands_still() -> bool:
            before = sum(slow)
            time.sleep(0.5)
            return sum(slow) == before

        eventually(stands_still)
        assert registry.manifests == {}


NAMES: list[tuple[str, dict[str, Any], int, str]] = [
    ("/api/pull", {}, 400, "invalid model name"),
    ("/api/pull", {"model": ""}, 400, "invalid model name"),
    ("/api/pull", {"model": "a b"}, 400, "invalid model name"),
    ("/api/pull", {"model": "../../etc/passwd"}, 400, "invalid model name"),
    ("/api/pull", {"model": "file:///etc/passwd"}, 400, "invalid model name"),
    ("/api/push", {}, 400, "model is required"),
    ("/api/push", {"model": ""}, 400, "model is required"),
    ("/api/push", {"model": "a b", "stream": False}, 400, "unqualified name: registry.ollama.ai/library/a b:latest"),
    ("/api/push", {"model": "h/u/a b:c", "stream": False}, 400, "unqualified name: h/u/a b:c"),
    ("/api/push", {"model": "nope", "stream": False}, 404, "model 'nope:latest' not found"),
]


@pytest.mark.parametrize(("path", "body", "status", "says"), NAMES)
def test_error_names(server: FakeServer, path: str, body: dict[str, Any], status: int, says: str) -> None:
    reply = server.post(path, body)
    assert (reply.status_code, reply.json()["error"]) == (status, says)


@pytest.mark.parametrize(("name", "says"), [("a b", "unqualified name: "), ("nope", "model 'nope:latest' not found")])
def test_error_a_push_says_in_its_stream_what_is_wrong(server: FakeServer, name: str, says: str) -> None:
    first, last = lines(server.post("/api/push", {"model": name}))
    assert first == {"status": "retrieving manifest"}
    assert last["error"].startswith(says)


@pytest.mark.parametrize("path", ["/api/pull", "/api/push", "/api/create"])
@pytest.mark.parametrize("body", [b"", b"{", b"[" * 100_000, b'{"model":' + b'{"a":' * 100_000])
def test_error_bodies_that_are_none(server: FakeServer, path: str, body: bytes) -> None:
    reply = server.ask("POST", path, body)
    assert (reply.status_code, list(reply.json())) == (400, ["error"])


def test_error_a_registry_that_does_not_answer(server: FakeServer) -> None:
    name = "127.0.0.1:1/crew/x"
    first, last = lines(server.post("/api/pull", {"model": name}))
    assert first == {"status": "pulling manifest"}
    assert (last["kind"], "cannot reach 127.0.0.1:1" in last["error"]) == ("remote", True)
    reply = server.post("/api/pull", {"model": name, "stream": False})
    assert (reply.status_code, reply.json()) == (500, last)


@pytest.mark.parametrize("allowed", [["registry.ollama.ai"], ["127.0.0.2", "localhost"]])
def test_error_a_registry_that_one_may_not_pull_from(tmp_path: Path, allowed: list[str]) -> None:
    registry = FaultyRegistry(login="")
    app = make_app(Store(tmp_path / "models"), EngineDefaults(), pull_from=allowed)
    with served(registry), TestClient(app, base_url="http://localhost") as client:
        name, _ = big(registry, 10)
        for path, body in (("/api/pull", {"model": name}), ("/api/create", {"model": "x", "from": name})):
            for streams in (True, False):
                reply = client.post(path, json=body | {"stream": streams})
                assert reply.status_code == 403
                assert reply.headers["content-type"] == "application/json"
                assert reply.json()["error"] == (
                    f"models are not pulled from {registry.host} here, only from {', '.join(sorted(allowed))}; "
                    "CORRAL_PULL_FROM of the server says so"
                )
        assert registry.seen == []


def test_the_registries_that_stand_in_for_others_are_what_counts(tmp_path: Path) -> None:
    registry = FaultyRegistry(login="")
    with served(registry):
        big(registry, 10)
        access = Access(default_registry=registry.host, patience=Patience(retries=0))
        app = make_app(
            Store(tmp_path / "models"), EngineDefaults(), registries=lambda: access, pull_from=[registry.host.upper()]
        )
        with TestClient(app, base_url="http://localhost") as client:
            assert client.post("/api/pull", json={"model": "crew/big:v1", "stream": False}).json() == {
                "status": "success"
            }


def test_the_server_is_told_by_its_environment(cli: Cli) -> None:
    registry = FaultyRegistry(login="")
    with served(registry):
        name, _ = big(registry, 10)
        with serving(cli, CORRAL_PULL_FROM="https://registry.ollama.ai, hf.co") as url:
            reply = requests.post(f"{url}/api/pull", json={"model": name}, timeout=60)
            assert (reply.status_code, "only from hf.co, registry.ollama.ai;" in reply.json()["error"]) == (403, True)
            assert requests.get(f"{url}/api/status", timeout=60).json()["corral"]["version"]
        with serving(cli, CORRAL_PULL_FROM=registry.host) as url:
            assert lines(requests.post(f"{url}/api/pull", json={"model": name}, timeout=60))[-1] == {
                "status": "success"
            }
    assert "not a registry" in cli.error(1, "serve", CORRAL_PULL_FROM="a b")
    (fault,) = faults(Settings({"CORRAL_PULL_FROM": "hf.co, a b"}))
    assert str(fault) == 'CORRAL_PULL_FROM: "a b": not a registry'


def test_error_a_server_that_stops_says_so_to_those_who_wait(serve: Serve, tmp_path: Path) -> None:
    registry = FaultyRegistry(login="", rate=1 << 20)
    with served(registry), serve(models=tmp_path / "models") as server:
        name, _ = big(registry, 32 << 20)
        told = server.stream("/api/pull", {"model": name}).iter_lines()
        while json.loads(next(told)).get("completed", 0) < 1 << 19:
            pass
        server.stop()
        assert json.loads(list(told)[-1]) == {"error": "server is shutting down", "kind": "machine"}
