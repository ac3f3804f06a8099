"""Ollama's other routes: what is there, what is loaded, and what a model is."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from corral.modelfile.level import API_LEVEL

from tests.runtime.conftest import FakeServer, Serve

DETAILS = {"parent_model", "format", "family", "families", "parameter_size", "quantization_level"}


def check_details(details: dict[str, Any]) -> None:
    assert set(details) >= DETAILS
    assert details["format"] == "gguf"
    assert details["families"] == ["llama"]
    assert all(isinstance(details[name], str) for name in DETAILS - {"families"})


def test_the_root_says_that_it_runs(fake: FakeServer) -> None:
    reply = fake.ask("GET", "/")
    assert (reply.status_code, reply.text) == (200, "Ollama is running")
    assert reply.headers["Content-Type"].startswith("text/plain")


@pytest.mark.parametrize("path", ["/", "/api/version", "/api/tags"])
def test_head_is_answered_without_a_body(fake: FakeServer, path: str) -> None:
    reply = fake.ask("HEAD", path)
    assert (reply.status_code, reply.content) == (200, b"")


@pytest.mark.parametrize("path", ["/api/ps", "/api/status", "/v1/models", "/v1/models/tiny", "/api/chat"])
def test_error_head_is_not_answered_where_ollama_does_not(fake: FakeServer, path: str) -> None:
    reply = fake.ask("HEAD", path)
    assert (reply.status_code, reply.content) == (405, b"")
    assert "HEAD" not in reply.headers["Allow"]


def test_the_version_is_digits_and_dots(fake: FakeServer) -> None:
    version = fake.get("/api/version")["version"]
    assert version == API_LEVEL
    assert [int(part) for part in version.split(".")] >= [0, 33, 0]
    assert fake.ask("GET", "/api/version").headers["Server"] == "test"


def test_tags_lists_every_model_in_full(fake: FakeServer) -> None:
    models = {entry["name"]: entry for entry in fake.get("/api/tags")["models"]}
    assert set(models) == {"tiny:latest", "other:latest", "twin:latest"}
    for entry in models.values():
        assert entry["model"] == entry["name"]
        assert datetime.fromisoformat(entry["modified_at"]).tzinfo
        assert type(entry["size"]) is int
        assert len(bytes.fromhex(entry["digest"])) == 32
        assert entry["capabilities"] == ["completion"]
        assert entry["details"]["context_length"] == 256
        check_details(entry["details"])
    assert models["twin:latest"]["size"] > models["tiny:latest"]["size"]


def test_tags_lists_the_newest_first(fake: FakeServer) -> None:
    dates = [datetime.fromisoformat(entry["modified_at"]) for entry in fake.get("/api/tags")["models"]]
    assert dates == sorted(dates, reverse=True)


def test_an_empty_store_has_an_empty_list(serve: Serve, tmp_path: Path) -> None:
    with serve(models=tmp_path) as fake:
        assert fake.get("/api/tags") == {"models": []}
        assert fake.get("/v1/models") == {"object": "list", "data": []}


def test_ps_lists_what_is_loaded(serve: Serve) -> None:
    with serve(keep_alive=600) as fake:
        assert fake.get("/api/ps") == {"models": []}
        fake.post("/api/generate", {"model": "tiny"})
        (entry,) = fake.get("/api/ps")["models"]
        listed = {model["name"]: model for model in fake.get("/api/tags")["models"]}["tiny:latest"]
        assert entry["name"] == entry["model"] == "tiny:latest"
        assert entry["digest"] == listed["digest"]
        assert type(entry["size"]) is int
        assert entry["size_vram"] == 0
        assert entry["context_length"] == 256
        check_details(entry["details"])
        left = datetime.fromisoformat(entry["expires_at"]) - datetime.now(UTC)
        assert timedelta(seconds=500) < left <= timedelta(seconds=600)


def test_ps_lists_every_name_that_a_model_was_used_by(serve: Serve) -> None:
    with serve() as fake:
        for name in ("tiny", "twin", "tiny"):
            fake.post("/api/generate", {"model": name})
        entries = fake.get("/api/ps")["models"]
        digests = {model["name"]: model["digest"] for model in fake.get("/api/tags")["models"]}
        assert {entry["name"]: entry["digest"] for entry in entries} == {
            name: digests[name] for name in ("tiny:latest", "twin:latest")
        }
        assert fake.starts == ["tiny:latest"]


def test_a_model_is_copied_and_deleted(serve: Serve, fake_models: Path, tmp_path: Path) -> None:
    models = shutil.copytree(fake_models, tmp_path / "models")
    with serve(models=models) as fake:
        reply = fake.post("/api/copy", {"source": "twin", "destination": "me/mine:v1"})
        assert (reply.status_code, reply.content) == (200, b"")
        digests = {model["name"]: model["digest"] for model in fake.get("/api/tags")["models"]}
        assert digests["me/mine:v1"] == digests["twin:latest"]
        for name in ("twin", "me/mine:v1", "other"):
            reply = fake.ask("DELETE", "/api/delete", {"model": name})
            assert (reply.status_code, reply.content) == (200, b"")
        assert [model["name"] for model in fake.get("/api/tags")["models"]] == ["tiny:latest"]
        assert len(list((models / "blobs").iterdir())) == 2


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "text"),
    [
        ("POST", "/api/copy", {"source": "nope", "destination": "a"}, 404, 'model "nope" not found'),
        ("POST", "/api/copy", {"source": "a b", "destination": "a"}, 400, 'source "a b" is invalid'),
        ("POST", "/api/copy", {"source": "tiny", "destination": "../a"}, 400, 'destination "../a" is invalid'),
        ("POST", "/api/copy", {"source": "tiny"}, 400, 'destination "" is invalid'),
        ("DELETE", "/api/delete", {"model": "nope"}, 404, "model 'nope' not found"),
        ("DELETE", "/api/delete", {"name": "a b"}, 400, 'name "a b" is invalid'),
        ("DELETE", "/api/delete", {}, 400, "model is required"),
    ],
)
def test_error_what_cannot_be_copied_or_deleted(
    fake: FakeServer, method: str, path: str, body: dict[str, str], status: int, text: str
) -> None:
    reply = fake.ask(method, path, body)
    assert (reply.status_code, reply.json()) == (status, {"error": text})
    assert len(fake.get("/api/tags")["models"]) == 3


@pytest.mark.parametrize("keep_alive", [-1, "-1m", "999999999h", 1e300, 10**15, 1e12])
def test_however_long_a_model_stays_its_expiry_can_be_read(serve: Serve, keep_alive: object) -> None:
    with serve() as fake:
        assert fake.post("/api/generate", {"model": "tiny", "keep_alive": keep_alive}).status_code == 200
        (entry,) = fake.get("/api/ps")["models"]
        assert 2200 < datetime.fromisoformat(entry["expires_at"]).year < 9999


def test_show_says_everything_about_a_model(fake: FakeServer) -> None:
    shown = fake.post("/api/show", {"model": "twin"}).json()
    assert shown["license"] == "Free."
    assert shown["template"] == "{{ .System }}|{{ .Prompt }}"
    assert shown["system"] == "Be brief."
    assert shown["messages"] == [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]
    assert {line.split(maxsplit=1)[0]: line.split(maxsplit=1)[1] for line in shown["parameters"].splitlines()} == {
        "num_predict": "7",
        "stop": '"<end>"',
    }
    assert shown["capabilities"] == ["completion"]
    assert shown["tensors"] == [{"name": "token_embd.weight", "type": "F32", "shape": [8]}]
    assert shown["modelfile"].startswith("# Modelfile generated by")
    assert "SYSTEM Be brief." in shown["modelfile"]
    assert datetime.fromisoformat(shown["modified_at"]).tzinfo
    check_details(shown["details"])


def test_show_has_what_is_asked_for_beside_the_model_in_its_modelfile(fake: FakeServer) -> None:
    own = fake.post("/api/show", {"model": "twin"}).json()
    options = {"stop": ["a", "b"], "temperature": 0.5}
    asked = fake.post("/api/show", {"model": "twin", "system": "Be long.", "options": options}).json()
    lines = asked["modelfile"].splitlines()
    assert [line for line in lines if line.startswith("SYSTEM")] == ["SYSTEM Be long."]
    assert {line for line in lines if line.startswith("PARAMETER")} == {
        "PARAMETER num_predict 7",
        "PARAMETER stop a",
        "PARAMETER stop b",
        "PARAMETER temperature 0.5",
    }
    assert asked | {"modelfile": "", "system": ""} == own | {"modelfile": "", "system": ""}
    assert asked["system"] == "Be long."
    refused = fake.post("/api/show", {"model": "twin", "options": {"stop": 5}})
    assert refused.status_code == 400


def test_show_of_a_plain_model_still_has_what_clients_need(fake: FakeServer) -> None:
    shown = fake.post("/api/show", {"name": "tiny", "verbose": True}).json()
    assert shown["model_info"]["general.architecture"] == "llama"
    assert shown["model_info"]["general.parameter_count"] == 8
    assert next(key for key in shown["model_info"] if "context_length" in key) == "llama.context_length"
    assert shown["template"] == "{{ .Prompt }}"
    assert {"license", "system", "messages", "parameters"}.isdisjoint(shown)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/"),
        ("DELETE", "/"),
        ("POST", "/api/version"),
        ("POST", "/api/tags"),
        ("PUT", "/api/ps"),
        ("GET", "/api/show"),
        ("GET", "/api/generate"),
        ("PATCH", "/api/chat"),
        ("DELETE", "/v1/models"),
        ("GET", "/v1/chat/completions"),
    ],
)
def test_error_another_method_is_not_allowed(fake: FakeServer, method: str, path: str) -> None:
    reply = fake.ask(method, path)
    assert (reply.status_code, reply.text) == (405, "405 method not allowed")
    assert reply.headers["Allow"]


@pytest.mark.parametrize("path", ["/nope", "/api", "/api/", "/v1", "/debug/pprof/", "/api/../secret", "/api/%2e%2e/x"])
def test_error_another_path_is_not_found(fake: FakeServer, path: str) -> None:
    reply = fake.ask("GET", path)
    assert (reply.status_code, reply.text) == (404, "404 page not found")
