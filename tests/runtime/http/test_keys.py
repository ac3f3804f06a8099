"""API keys: who is asked for one, what is said to those without, and that no route is forgotten."""

from __future__ import annotations

import base64
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from corral.runtime.http.keys import needed_scope, presented
from corral.store.keys import Keys
from starlette.datastructures import Headers
from starlette.routing import Route

from tests.runtime.conftest import FakeServer
from tests.runtime.http.running import fake_app, running

GENERATE = {"model": "tiny", "prompt": "say:a;", "stream": False}
COPY = {"source": "nope", "destination": "other"}
INFERRING = [
    ("GET", "/api/tags"),
    ("GET", "/api/version"),
    ("GET", "/api/ps"),
    ("GET", "/api/status"),
    ("HEAD", "/api/tags"),
    ("GET", "/metrics"),
    ("POST", "/api/show"),
    ("POST", "/api/generate"),
    ("POST", "/api/chat"),
    ("POST", "/api/embed"),
    ("POST", "/api/embeddings"),
    ("GET", "/v1/models"),
    ("GET", "/v1/models/tiny"),
    ("POST", "/v1/chat/completions"),
    ("POST", "/v1/completions"),
    ("POST", "/v1/embeddings"),
    ("POST", "/v1/responses"),
    ("POST", "/v1/messages"),
    ("POST", "/v1/messages/count_tokens"),
    ("GET", "/nowhere"),
    ("GET", "/api/tags/"),
]
MANAGED = [
    ("POST", "/api/create"),
    ("POST", "/api/pull"),
    ("POST", "/api/push"),
    ("POST", "/api/copy"),
    ("DELETE", "/api/delete"),
    ("POST", "/api/blobs/sha256:" + "0" * 64),
    ("HEAD", "/api/blobs/sha256:" + "0" * 64),
    ("GET", "/api/blobs/sha256:" + "0" * 64),
    ("POST", "/api/pull/"),
    ("POST", "//api/pull"),
    ("POST", "/api/../api/pull"),
    ("PUT", "/api/tags"),
    ("POST", "/nowhere"),
    ("POST", "/"),
    ("POST", "/health"),
    ("PATCH", "/metrics"),
]
MANAGING = frozenset(
    {
        ("POST", "/api/blobs/{digest}"),
        ("POST", "/api/copy"),
        ("POST", "/api/create"),
        ("DELETE", "/api/delete"),
        ("POST", "/api/pull"),
        ("POST", "/api/push"),
    }
)
"""Method and path of the routes that change what is stored, or have it go elsewhere."""
OPEN = [("GET", "/"), ("HEAD", "/"), ("GET", "/health"), ("HEAD", "/health"), ("OPTIONS", "/api/pull")]


@dataclass
class Locked:
    """A server that asks for keys."""

    server: FakeServer
    infer: str
    manage: str


@pytest.fixture(scope="module")
def locked(fake_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Generator[Locked]:
    keys = Keys(tmp_path_factory.mktemp("keys") / "keys.json")
    infer, manage = keys.add("reader", ["infer"]), keys.add("writer", ["manage"])
    with running(fake_app(fake_models, keys=keys)) as run:
        yield Locked(run.fake, infer, manage)


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [(*row, "infer") for row in INFERRING] + [(*row, "manage") for row in MANAGED] + [(*row, None) for row in OPEN],
)
def test_the_scope_that_a_request_needs(method: str, path: str, scope: str | None) -> None:
    assert needed_scope(method, path) == scope


def test_every_route_that_changes_something_needs_the_scope_for_it(fake_models: Path) -> None:
    routes = [route for route in fake_app(fake_models).routes if isinstance(route, Route)]
    needed = {
        (method, route.path): needed_scope(method, route.path) for route in routes for method in route.methods or ()
    }
    assert len(needed) > 20
    assert {row: needed.get(row) for row in MANAGING} == dict.fromkeys(MANAGING, "manage")
    others = {row: scope for row, scope in needed.items() if scope == "manage" and row not in MANAGING}
    assert all(path.startswith("/api/blobs/") for _, path in others), "a new route: does it only use models?"


@pytest.mark.parametrize(("method", "path"), [*INFERRING, *MANAGED])
def test_error_without_a_key_nothing_is_told(locked: Locked, method: str, path: str) -> None:
    reply = locked.server.ask(method, path, GENERATE)
    assert reply.status_code == 401
    assert reply.headers["WWW-Authenticate"] == 'Bearer realm="corral"'
    assert reply.headers["Content-Type"] == "application/json"
    if method != "HEAD":
        assert "API key" in said(path, reply)


@pytest.mark.parametrize(("method", "path"), [*INFERRING, *MANAGED])
def test_error_with_a_wrong_key_neither(locked: Locked, method: str, path: str) -> None:
    for wrong in ("ollama", locked.infer[:-1], locked.infer + "x", "", locked.infer.swapcase(), "é" * 5000):
        reply = locked.server.ask(method, path, GENERATE, **{"x-api-key": wrong.encode().decode("latin-1")})
        assert reply.status_code == 401
        assert "invalid_token" in reply.headers["WWW-Authenticate"]
        assert locked.infer not in reply.text


@pytest.mark.parametrize(("method", "path"), MANAGED)
def test_error_a_key_for_inference_changes_nothing(locked: Locked, method: str, path: str) -> None:
    reply = locked.server.ask(method, path, COPY, Authorization=f"Bearer {locked.infer}")
    assert reply.status_code == 403
    assert 'error="insufficient_scope", scope="manage"' in reply.headers["WWW-Authenticate"]
    if method != "HEAD":
        assert "--scope manage" in said(path, reply)


@pytest.mark.parametrize("path", [path for method, path in OPEN if method == "GET"])
def test_who_only_asks_whether_it_is_there_needs_none(locked: Locked, path: str) -> None:
    assert locked.server.ask("GET", path).status_code == 200
    assert locked.server.ask("HEAD", path).status_code == 200


def test_a_preflight_needs_none(locked: Locked) -> None:
    origin = "http://localhost:3000"
    assert locked.server.ask("OPTIONS", "/api/pull", Origin=origin).status_code == 204
    refused = locked.server.ask("POST", "/api/chat", {}, Origin=origin)
    assert (refused.status_code, refused.headers["Access-Control-Allow-Origin"]) == (401, origin)


def basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


@pytest.mark.parametrize("path", ["/api/generate", "/api/tags", "/metrics", "/v1/models"])
def test_a_key_is_taken_wherever_clients_put_it(locked: Locked, path: str) -> None:
    method = "POST" if path == "/api/generate" else "GET"
    for key in (locked.infer, locked.manage):
        for headers in (
            {"Authorization": f"Bearer {key}"},
            {"Authorization": f"bearer   {key} "},
            {"x-api-key": key},
            {"X-Api-Key": key, "Authorization": "Bearer ollama"},
            {"X-Api-Key": key, "Authorization": "Basic !!!"},
            basic("", key),
            basic("any user", key),
        ):
            assert locked.server.ask(method, path, GENERATE, **headers).status_code == 200


@pytest.mark.parametrize(
    "value",
    [
        "",
        "Bearer",
        "Bearer ",
        "Basic",
        "Basic =",
        "Basic !!!",
        "Basic 4pyT",
        "Digest x",
        "Basic " + "QQ==" * 5000,
        "\xff",
    ],
)
def test_error_a_header_that_shows_no_key(locked: Locked, value: str) -> None:
    assert locked.server.ask("GET", "/api/tags", Authorization=value).status_code == 401
    assert not any(presented(Headers({"authorization": value})))


def test_the_right_key_manages(locked: Locked) -> None:
    reply = locked.server.ask("POST", "/api/copy", COPY, Authorization=f"Bearer {locked.manage}")
    assert (reply.status_code, reply.json()) == (404, {"error": 'model "nope" not found'})


def test_keys_count_from_the_moment_they_are_there_and_no_longer(fake_models: Path, tmp_path: Path) -> None:
    keys = Keys(tmp_path / "keys.json")
    with running(fake_app(fake_models, keys=keys)) as run:

        def status(**headers: str) -> int:
            return run.fake.ask("GET", "/api/tags", **headers).status_code

        assert status() == 200
        secret = Keys(keys.path).add("a", ["infer"])
        assert (status(), status(Authorization=f"Bearer {secret}")) == (401, 200)
        other = Keys(keys.path).add("b", ["infer"])
        Keys(keys.path).remove("a")
        assert (status(Authorization=f"Bearer {secret}"), status(Authorization=f"Bearer {other}")) == (401, 200)
        keys.path.write_text("{")
        assert (status(), status(Authorization=f"Bearer {other}")) == (500, 500)
        assert run.fake.ask("GET", "/health").status_code == 200
        keys.path.unlink()
        assert status() == 200


@pytest.mark.parametrize("method_path", MANAGED)
def test_error_beyond_the_machine_nobody_changes_anything_without_keys(
    exposed: FakeServer, method_path: tuple[str, str]
) -> None:
    method, path = method_path
    reply = exposed.ask(method, path, COPY)
    assert reply.status_code == 403
    if method != "HEAD":
        assert all(cure in said(path, reply) for cure in ("corral keys add", "--allow-manage"))


@pytest.fixture(scope="module")
def exposed(fake_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Generator[FakeServer]:
    """A server that other machines can reach, without keys."""
    none = Keys(tmp_path_factory.mktemp("no-keys") / "keys.json")
    with running(fake_app(fake_models, keys=none, loopback=False)) as run:
        yield run.fake


def test_beyond_the_machine_models_are_used_without_keys(exposed: FakeServer) -> None:
    assert exposed.post("/api/generate", GENERATE).json()["response"] == "a"
    assert exposed.post("/api/show", {"model": "tiny"}).status_code == 200
    assert exposed.ask("GET", "/v1/models", Host="gpu.example").status_code == 200


def test_beyond_the_machine_things_are_changed_where_that_is_allowed_or_with_a_key(
    fake_models: Path, tmp_path: Path
) -> None:
    with running(fake_app(fake_models, loopback=False, allow_manage=True)) as run:
        assert run.fake.post("/api/copy", COPY).status_code == 404
    keys = Keys(tmp_path / "keys.json")
    secret = keys.add("a", ["manage"])
    with running(fake_app(fake_models, loopback=False, allow_manage=True, keys=keys)) as run:
        assert run.fake.post("/api/copy", COPY).status_code == 401
        assert run.fake.ask("POST", "/api/copy", COPY, Authorization=f"Bearer {secret}").status_code == 404


def said(path: str, reply: requests.Response) -> str:
    """What an error says, in the shape of the route's dialect."""
    body: dict[str, Any] = reply.json()
    if path.startswith("/v1/messages"):
        assert (list(body), body["type"]) == (["type", "error", "request_id"], "error")
        kinds = {401: "authentication_error", 403: "permission_error"}
        assert body["error"]["type"] == kinds[reply.status_code]
        return body["error"]["message"]
    if path.startswith("/v1/"):
        assert list(body["error"]) == ["message", "type", "param", "code"]
        assert body["error"]["code"] == {401: "invalid_api_key"}.get(reply.status_code)
        return body["error"]["message"]
    assert list(body) == ["error"]
    return body["error"]
