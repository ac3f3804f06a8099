"""What /openapi.json says of every route, and that the route does it whatever it is asked; and /docs for people."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Generator
from pathlib import Path
from random import Random
from typing import Any, cast

import pytest
import schemathesis
from corral.registry.patience import Patience
from corral.registry.remote import Access
from corral.runtime.http.app import make_app
from corral.runtime.http.openapi import document
from corral.runtime.inference import EngineDefaults
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema_rs import validator_for
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi import checks as conformance
from starlette.routing import Route

from corral import Store
from tests.conftest import free_port
from tests.runtime.conftest import PATIENCE, FakeServer
from tests.runtime.http.running import fake_app, running

SOAK = "CORRAL_SOAK" in os.environ
EXAMPLES = 100 if SOAK else 12
SCHEMA: Any = schemathesis.openapi.from_dict(dict(document()))
ERROR = {"$ref": "#/components/schemas/OllamaError"}
MODELS = ("tiny", "tiny", "twin", "nope", "a b")
CHECKS: list[Any] = [
    getattr(conformance, f"{what}_conformance")
    for what in ("status_code", "content_type", "response_headers", "response_schema")
]
MESSAGES = [{"role": "user", "content": "say:a;"}]
SOUND: dict[str, dict[str, Any]] = {
    "/api/show": {},
    "/api/generate": {"prompt": "say:a;"},
    "/api/chat": {"messages": MESSAGES},
    "/api/embed": {"input": "a"},
    "/api/embeddings": {"prompt": "a"},
    "/api/create": {"model": "made", "from": "tiny"},
    "/api/copy": {"source": "tiny", "destination": "copied"},
    "/api/delete": {"model": "copied"},
    "/api/pull": {},
    "/api/push": {},
    "/v1/chat/completions": {"messages": MESSAGES},
    "/v1/completions": {"prompt": "say:a;"},
    "/v1/embeddings": {"input": "a"},
    "/v1/messages": {"messages": MESSAGES},
    "/v1/messages/count_tokens": {"messages": MESSAGES},
}
OPERATIONS: list[tuple[str, str]] = [(method, path) for path, item in document()["paths"].items() for method in item]
TYPED = [
    (method, path)
    for method, path in OPERATIONS
    if not path.startswith("/v1/v1/")  # the same routes again
    and "application/json" in document()["paths"][path][method].get("requestBody", {}).get("content", ())
]


@pytest.fixture(scope="module")
def server(fake_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Generator[FakeServer]:
    """One with models of its own, which reaches no registry."""
    models = shutil.copytree(fake_models, tmp_path_factory.mktemp("openapi") / "models")
    nowhere = Access(default_registry=f"127.0.0.1:{free_port()}", patience=Patience(retries=0, first_wait=0.01))
    with running(fake_app(models, registries=lambda: nowhere, pull_from=[nowhere.default_registry])) as started:
        yield started.fake


def test_every_route_is_described_and_nothing_else(tmp_path: Path) -> None:
    app = make_app(Store(tmp_path), EngineDefaults())
    routes = {
        (method.lower(), route.path.replace(":path}", "}"))
        for route in app.routes
        if isinstance(route, Route)
        for method in (route.methods or ())
        if method != "HEAD" or "GET" not in (route.methods or ())
    }
    assert routes == set(OPERATIONS)


def test_it_is_an_openapi_document(server: FakeServer) -> None:
    served = server.get("/openapi.json")
    assert served == document()
    assert served["openapi"].startswith("3.1.")
    SCHEMA.validate()
    identities = [served["paths"][path][method]["operationId"] for method, path in OPERATIONS]
    assert len(set(identities)) == len(identities)
    assert set(served["components"]["securitySchemes"]) == {"bearer", "basic", "x-api-key"}


def test_every_reference_leads_somewhere_and_every_schema_is_used() -> None:
    found = set[str]()

    def look(value: object) -> None:
        match value:
            case {"$ref": str(target)}:
                found.add(target.rpartition("/")[2])
            case dict():
                for item in value.values():  # pyright: ignore[reportUnknownVariableType]
                    look(item)  # pyright: ignore[reportUnknownArgumentType]
            case list():
                for item in value:  # pyright: ignore[reportUnknownVariableType]
                    look(item)  # pyright: ignore[reportUnknownArgumentType]
            case _:
                pass

    look(document())
    assert found == set(document()["components"]["schemas"])


def test_every_field_of_a_request_is_explained() -> None:
    for name, schema in document()["components"]["schemas"].items():
        if "title" in schema:
            assert schema["description"], name
            assert schema["properties"], name
            assert all(len(field["description"]) > 5 for field in schema["properties"].values()), name


def test_no_meaning_is_left_over() -> None:
    data = json.loads((Path(__file__).parents[3] / "runtime/http/openapi.json").read_text())
    said = [
        field["description"]
        for schema in document()["components"]["schemas"].values()
        for field in schema.get("properties", {}).values()
        if "description" in field
    ]
    assert {text for text in data["fields"].values() if text not in said} == set()
    statuses = {status for item in document()["paths"].values() for one in item.values() for status in one["responses"]}
    assert set(data["errors"]) <= statuses


def test_the_page_has_every_route_and_field_and_needs_nothing_else(server: FakeServer) -> None:
    reply = server.ask("GET", "/docs")
    assert (reply.status_code, reply.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert "default-src 'none'" in reply.headers["Content-Security-Policy"]
    assert 'name="viewport"' in reply.text
    assert "<script" not in reply.text
    assert "://" not in reply.text
    for method, path in OPERATIONS:
        assert f"<code>{method.upper()} {path}</code>" in reply.text
    for name, schema in document()["components"]["schemas"].items():
        assert (f'<h3 id="{name}">' in reply.text) == ("title" in schema)


def sound(chance: Random, case: Any, model: str) -> None:
    """Leave of a request but some fields of its own, so that there is a model to answer it, and not for long."""
    if "model" in (case.path_parameters or {}):
        case.path_parameters = {"model": model}
    if case.media_type == "application/json" and isinstance(case.body, dict):
        body = cast("dict[str, Any]", case.body)
        kept = {name: body[name] for name in chance.sample(sorted(body), min(len(body), chance.randint(0, 3)))}
        needed = SOUND[case.path.replace("/v1/v1", "/v1")]
        case.body = {"options": {"num_predict": 4}, "max_tokens": 4} | kept | {"model": model} | needed


def check(case: Any, server: FakeServer) -> None:
    """One request: no error of ours, and a reply as it is described."""
    reply = case.call(base_url=server.url, timeout=PATIENCE, allow_redirects=False)
    said = reply.content.decode()
    is_elsewhere = reply.status_code in (500, 503) and json.loads(said).get("kind") == "remote"
    assert reply.status_code in (*range(200, 500), 501) or is_elsewhere, (case.method, case.path, case.body, said)
    if reply.status_code in (301, 307) or said == "404 page not found":
        return  # what was put into the path has slashes or dots, so that it is another
    case.validate_response(reply, checks=CHECKS)
    if "application/x-ndjson" in reply.headers.get("content-type", ()):
        kind = document()["paths"][case.path]["post"]["responses"]["200"]["content"]["application/x-ndjson"]["schema"]
        line = validator_for({"anyOf": [kind, ERROR], "components": document()["components"]})
        for text in said.splitlines():
            line.validate(json.loads(text))


@pytest.mark.soak
@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_whatever_is_asked_the_reply_is_as_described(server: FakeServer, method: str, path: str) -> None:
    assert asked(server, method, path, GenerationMode.POSITIVE) > 0


@pytest.mark.soak
@pytest.mark.parametrize(("method", "path"), TYPED)
def test_error_what_is_no_such_request_is_answered_as_described(server: FakeServer, method: str, path: str) -> None:
    assert asked(server, method, path, GenerationMode.NEGATIVE) > 0


def asked(server: FakeServer, method: str, path: str, mode: GenerationMode) -> int:
    """How many requests were made; of this mode, each checked."""
    count = 0

    @settings(
        max_examples=EXAMPLES,
        derandomize=not SOAK,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
    )
    @given(SCHEMA[path][method.upper()].as_strategy(mode), st.randoms(use_true_random=False), st.sampled_from(MODELS))
    def ask(case: Any, chance: Random, model: str) -> None:
        nonlocal count
        if mode is GenerationMode.POSITIVE:
            sound(chance, case, model)
        check(case, server)
        count += 1

    ask()
    return count
