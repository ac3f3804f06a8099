"""What Ollama's routes say to requests that are wrong: a status and `{"error": text}`, never a stack trace."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.runtime.conftest import FakeServer, Serve

GENERATE = {"model": "tiny", "prompt": "say:a;"}
CHAT: dict[str, Any] = {"model": "tiny", "messages": [{"role": "user", "content": "say:a;"}]}
ROUTES = pytest.mark.parametrize("path", ["/api/show", "/api/generate", "/api/chat"])


def error_of(reply: requests.Response, status: int) -> str:
    """The text of an error in Ollama's shape."""
    assert reply.status_code == status, reply.text
    assert reply.headers["Content-Type"].startswith("application/json")
    body = reply.json()
    assert list(body) == (["error"] if status < 500 or status == 501 else ["error", "kind"])
    return body["error"]


@pytest.mark.parametrize(
    ("path", "body", "status", "text"),
    [
        ("/api/generate", {"model": "nope", "prompt": "hi"}, 404, "model 'nope' not found"),
        ("/api/generate", {"model": "nope"}, 404, "model 'nope' not found"),
        ("/api/chat", {"model": "nope", "messages": [{"role": "user"}]}, 404, "model 'nope' not found"),
        ("/api/chat", {"model": "nope"}, 404, "model 'nope' not found"),
        ("/api/show", {"model": "nope"}, 404, "model 'nope:latest' not found"),
        ("/api/generate", {}, 404, "model '' not found"),
        ("/api/generate", {"model": ""}, 404, "model '' not found"),
        ("/api/chat", {}, 400, "model is required"),
        ("/api/show", {}, 400, "model is required"),
        ("/api/show", {"model": None}, 400, "model is required"),
        ("/api/generate", {"model": "a b", "prompt": "hi"}, 400, "invalid model name"),
        ("/api/chat", {"model": "../../x", "messages": [{"role": "user"}]}, 400, "invalid model name"),
        ("/api/show", {"model": "a" * 5000}, 400, "invalid model name"),
        (
            "/api/generate",
            GENERATE | {"raw": True, "system": "s"},
            400,
            "raw mode does not support template, system, or context",
        ),
        ("/api/generate", GENERATE | {"think": True}, 400, '"tiny" does not support thinking'),
        ("/api/chat", CHAT | {"think": "high"}, 400, '"tiny" does not support thinking'),
        (
            "/api/chat",
            CHAT | {"tools": [{"type": "function"}]},
            400,
            "registry.ollama.ai/library/tiny:latest does not support tools",
        ),
        (
            "/api/generate",
            GENERATE | {"suffix": "end"},
            400,
            "registry.ollama.ai/library/tiny:latest does not support insert",
        ),
        ("/api/generate", GENERATE | {"raw": True, "suffix": "end"}, 400, "raw mode does not support suffix"),
        ("/api/generate", GENERATE | {"images": ["aGk="]}, 400, "images are not supported by this model"),
        (
            "/api/chat",
            {"model": "tiny", "messages": [{"role": "user", "content": "hi", "images": ["aGk="]}]},
            400,
            "images are not supported by this model",
        ),
        (
            "/api/chat",
            CHAT | {"think": "much"},
            400,
            'invalid think value: "much" (must be "high", "medium", "low", "max", true, or false)',
        ),
        (
            "/api/generate",
            GENERATE | {"think": ""},
            400,
            'invalid think value: "" (must be "high", "medium", "low", "max", true, or false)',
        ),
        (
            "/api/generate",
            GENERATE | {"think": 1},
            400,
            'think must be a boolean or string ("high", "medium", "low", "max", true, or false)',
        ),
        (
            "/api/generate",
            GENERATE | {"format": "xml"},
            400,
            'invalid format: "xml"; expected "json" or a valid JSON Schema object',
        ),
        ("/api/generate", GENERATE | {"keep_alive": "soon"}, 400, 'time: invalid duration "soon"'),
        ("/api/generate", GENERATE | {"keep_alive": "5 years"}, 400, 'time: invalid duration "5 years"'),
    ],
)
@pytest.mark.parametrize("stream", [True, False])
def test_error_a_wrong_request_says_what_is_wrong(
    fake: FakeServer, path: str, body: dict[str, Any], status: int, text: str, *, stream: bool
) -> None:
    assert error_of(fake.post(path, body | {"stream": stream}), status) == text


@ROUTES
@pytest.mark.parametrize("body", [b"", b" \n"])
def test_error_no_body(fake: FakeServer, path: str, body: bytes) -> None:
    assert error_of(fake.post(path, body), 400) == "missing request body"


@ROUTES
@pytest.mark.parametrize(
    "body", [b"{", b"nope", b"[]", b'"text"', b"5", b"null", b'{"model" "tiny"}', b'{"a":01}', b"\xff\xfe{"]
)
def test_error_a_body_that_is_no_object(fake: FakeServer, path: str, body: bytes) -> None:
    assert error_of(fake.post(path, body), 400).startswith("invalid request body: ")


@pytest.mark.parametrize(
    "change",
    [
        {"model": 5},
        {"model": ["tiny"]},
        {"prompt": 5, "messages": "hello"},
        {"prompt": {"text": "hi"}, "messages": [1]},
        {"stream": "yes"},
        {"stream": 1},
        {"options": []},
        {"options": "hot"},
        {"keep_alive": True},
        {"keep_alive": [5]},
        {"system": 5, "messages": [{"role": 5}]},
        {"raw": "yes", "messages": [{"role": "user", "content": 5}]},
        {"context": ["a"], "messages": {"role": "user"}},
    ],
)
@pytest.mark.parametrize("path", ["/api/generate", "/api/chat"])
def test_error_a_field_of_the_wrong_type(fake: FakeServer, path: str, change: dict[str, Any]) -> None:
    body = (GENERATE if path == "/api/generate" else CHAT) | change
    assert error_of(fake.post(path, body), 400).startswith("invalid request body: ")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"temperature": "hot"}, 'option "temperature" must be of type float32'),
        ({"temperature": True}, 'option "temperature" must be of type float32'),
        ({"num_predict": "5"}, 'option "num_predict" must be of type integer'),
        ({"num_ctx": []}, 'option "num_ctx" must be of type integer'),
        ({"seed": 1e400}, 'option "seed" must be of type integer'),
        ({"use_mmap": 1}, 'option "use_mmap" must be of type boolean'),
        ({"stop": 5}, 'option "stop" must be of an array of strings'),
        ({"stop": ["a", None]}, 'option "stop" must be of an array of strings'),
    ],
)
def test_error_an_option_of_the_wrong_type(fake: FakeServer, options: dict[str, object], text: str) -> None:
    body = json.dumps({**GENERATE, "options": options}).replace("Infinity", "1e400")
    assert error_of(fake.post("/api/generate", body.encode()), 400) == text


@pytest.mark.parametrize(
    ("part", "says"),
    [
        ({"type": "image_url"}, "invalid image input"),
        ({"text": "a"}, 'a part of a message is of the type "None": text and image_url are taken'),
    ],
)
def test_error_what_is_no_text_is_refused(fake: FakeServer, part: dict[str, Any], says: str) -> None:
    body = {"model": "tiny", "messages": [{"role": "user", "content": [part]}]}
    assert error_of(fake.post("/api/chat", body), 400) == says


def test_error_a_format_that_is_none(fake: FakeServer) -> None:
    for wanted in ("xml", 5, ["json"]):
        said = error_of(fake.post("/api/generate", GENERATE | {"format": wanted}), 400)
        assert said.startswith("invalid format: ")
        assert said.endswith('; expected "json" or a valid JSON Schema object')


@pytest.mark.parametrize("template", ["{{ .Prompt", "{{ end }}", "{{ nope }}", "{{ range .Messages }}"])
def test_error_a_template_that_is_none(fake: FakeServer, template: str) -> None:
    assert error_of(fake.post("/api/generate", GENERATE | {"template": template}), 400)
    assert fake.post("/api/generate", GENERATE | {"stream": False}).json()["response"] == "a"


def test_error_more_models_at_once_than_may_wait(serve: Serve) -> None:
    busy = "server busy, please try again.  maximum pending requests exceeded"
    with (
        serve(seconds=0.3, max_loaded=1, max_queue=1) as fake,
        fake.stream("/api/generate", {"model": "tiny", "prompt": "endless"}) as first,
    ):
        assert next(first.iter_lines())
        with ThreadPoolExecutor(2) as clients:
            waiting = [clients.submit(fake.post, "/api/generate", GENERATE | {"model": "other"}) for _ in range(2)]
            refused = next(as_completed(waiting)).result()
            assert error_of(refused, 503) == busy
            assert refused.json()["kind"] == "machine"
            reply = fake.post("/v1/chat/completions", CHAT | {"model": "other"})
            assert reply.status_code == 503
            assert reply.json()["error"] == {"message": busy, "type": "api_error", "param": None, "code": None}
            first.close()
            assert sorted(done.result().status_code for done in waiting) == [200, 503]


def test_an_idle_server_with_no_queue_is_not_busy(serve: Serve) -> None:
    with serve(max_queue=0) as fake:
        assert fake.post("/api/generate", GENERATE | {"stream": False}).json()["response"] == "a"


@pytest.mark.parametrize("damage", ["missing", "cut short"])
@pytest.mark.parametrize("path", ["/api/generate", "/api/chat"])
def test_error_a_damaged_model_says_whose_fault_it_is(
    serve: Serve, fake_models: Path, tmp_path: Path, path: str, damage: str
) -> None:
    models = shutil.copytree(fake_models, tmp_path / "models")
    for blob in (models / "blobs").iterdir():
        if blob.read_bytes()[:4] == b"GGUF":
            cut = blob.read_bytes()[:-1]
            blob.unlink()
            if damage == "cut short":
                blob.write_bytes(cut)
    with serve(models=models) as fake:
        reply = fake.post(path, CHAT | GENERATE)
        assert reply.status_code == 500
        assert reply.json()["kind"] == "integrity"
        assert reply.json()["error"].startswith("blob sha256:")


def test_error_a_route_still_to_come_says_so_in_its_shape(fake: FakeServer) -> None:
    reply = fake.post("/v1/responses", CHAT)
    error = {"message": "/v1/responses is not supported yet", "type": "api_error", "param": None, "code": None}
    assert (reply.status_code, reply.json()) == (501, {"error": error})
