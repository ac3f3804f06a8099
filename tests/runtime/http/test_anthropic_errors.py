"""What Anthropic's routes refuse, in which words and shape."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any

import pytest
import requests

from tests.runtime.conftest import FakeServer, Serve, kill
from tests.runtime.http.test_anthropic import COUNT, PATH, WEATHER, body

IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}


def check_error(reply: requests.Response, status: int, kind: str) -> str:
    """The message of an error in Anthropic's shape."""
    assert reply.status_code == status, reply.text
    assert (set(reply.json()), reply.json()["type"]) == ({"type", "error", "request_id"}, "error")
    assert re.fullmatch("req_[0-9a-f]{24}", reply.json()["request_id"])
    error = reply.json()["error"]
    assert set(error) == {"type", "message"}
    assert error["type"] == kind
    return error["message"]


def user(*blocks: object) -> dict[str, object]:
    return {"messages": [{"role": "user", "content": list(blocks)}]}


BAD: list[tuple[dict[str, Any], str]] = [
    ({"max_tokens": None}, "max_tokens is required and must be positive"),
    ({"max_tokens": 0}, "max_tokens is required and must be positive"),
    ({"max_tokens": "many"}, "Expected `int | null`"),
    ({"messages": []}, "messages is required"),
    ({"messages": None}, "messages is required"),
    ({"messages": [5]}, "Expected `object`"),
    ({"messages": [{"role": "tool", "content": "x"}]}, 'invalid role "tool"'),
    ({"model": None}, "model is required"),
    ({"model": None, "thinking": {"type": "enabled"}}, "model is required"),
    ({"model": "bad name!"}, "invalid model name"),
    ({"system": [IMAGE]}, "system has blocks of the type text only"),
    ({"stop_sequences": "x"}, "Expected `array | null`"),
    ({"thinking": {"type": "sometimes"}}, 'invalid thinking type "sometimes"'),
    ({"output_config": {"effort": "hardest"}}, 'invalid effort "hardest"'),
    ({"output_format": {"type": "xml"}}, "to be of the type json_schema"),
    ({"output_config": {"format": {"type": "json_schema"}}}, "with a schema"),
    ({"tools": [WEATHER]}, "does not support tools"),
    ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, 'type "web_search_20250305" is not'),
    ({"tools": [{"name": "f"}]}, "a tool needs a name and an input_schema"),
    ({"tools": [{"input_schema": {}}]}, "a tool needs a name and an input_schema"),
    ({"tool_choice": {"type": "any"}}, "tool_choice is any, and there are no tools"),
    ({"tool_choice": {"type": "tool", "name": "f"}}, 'tool_choice names "f", which is not among the tools'),
    ({"tool_choice": {"type": "tool"}, "tools": [WEATHER]}, "which is not among the tools"),
    ({"tool_choice": {"type": "some"}}, 'invalid tool_choice type "some"'),
    ({"tool_choice": "auto"}, "Expected `object | null`"),
    ({"mcp_servers": [{"type": "url", "url": "https://a.example"}]}, "mcp_servers is not supported; use tools"),
    (user(IMAGE), "images are not supported"),
    (user({"type": "tool_result", "tool_use_id": "t", "content": [IMAGE]}), "images are not supported"),
    (user({"type": "image", "source": {"type": "url", "url": "https://a.example/b.png"}}), "please use base64"),
    (user({"type": "image", "source": {"type": "file", "file_id": "f"}}), "invalid image source"),
    (user({"type": "image", "source": {"type": "base64"}}), "invalid image source"),
    (user({"type": "image"}), "a block of the type image without one"),
    (user({"type": "text"}), "a block of the type text without one"),
    (user({"type": "document", "source": {"type": "text", "data": "x"}}), 'blocks of the type "document" are not'),
    (user({"type": "tool_result", "content": "x"}), "needs a tool_use_id"),
    (user({"type": "tool_use", "name": "f"}), "needs an id and a name"),
    (user({"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}), '"server_tool_use" are not'),
    (
        user({"type": "tool_result", "tool_use_id": "t", "content": [{"type": "tool_result"}]}),
        'blocks of the type "tool_result" are not',
    ),
    (user("text"), "Expected `object`"),
    (user({}), 'blocks of the type "" are not'),
]


@pytest.mark.parametrize(("change", "says"), BAD)
@pytest.mark.parametrize("path", [PATH, COUNT])
def test_error_a_bad_request_says_what_is_wrong(fake: FakeServer, path: str, change: dict[str, Any], says: str) -> None:
    asked = body() | change
    if path == COUNT and not asked["max_tokens"]:
        assert fake.post(path, asked).json()["input_tokens"] > 0
    else:
        assert says in check_error(fake.post(path, asked), 400, "invalid_request_error")


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"messages":' + b"[" * 100_000])
def test_error_a_body_that_is_no_request(fake: FakeServer, data: bytes) -> None:
    assert "request body" in check_error(fake.post(PATH, data), 400, "invalid_request_error")


@pytest.mark.parametrize("path", [PATH, COUNT])
@pytest.mark.parametrize("more", [{}, {"thinking": {"type": "enabled"}}, {"stream": True}])
def test_error_a_model_that_is_not_there(fake: FakeServer, path: str, more: dict[str, object]) -> None:
    reply = fake.post(path, body(**more) | {"model": "nope"})
    assert check_error(reply, 404, "not_found_error") == "model 'nope' not found"


def test_error_a_busy_server_is_overloaded(serve: Serve) -> None:
    with (
        serve(seconds=0.3, max_loaded=1, max_queue=1) as fake,
        fake.stream(PATH, body("endless", stream=True)) as first,
        ThreadPoolExecutor(2) as clients,
    ):
        assert next(first.iter_lines()) == b"event: message_start"
        waiting = [clients.submit(fake.post, PATH, body("say:a;", model="other")) for _ in range(2)]
        refused = next(as_completed(waiting)).result()
        assert "busy" in check_error(refused, 503, "overloaded_error")
        assert int(refused.headers["Retry-After"]) > 0
        first.close()
        assert sorted(done.result().status_code for done in waiting) == [200, 503]


def test_error_a_model_that_dies_while_it_streams_ends_the_stream_with_an_error(serve: Serve) -> None:
    with serve(seconds=0.02) as fake:
        with fake.stream(PATH, body("endless", stream=True)) as reply:
            found = reply.iter_lines()
            assert next(found) == b"event: message_start"
            kill(fake.workers[0].pid)
            *_, name, data = [line for line in found if line]
        assert name == b"event: error"
        error = json.loads(data.removeprefix(b"data: "))
        assert (error["type"], error["error"]["type"]) == ("error", "api_error")
        assert "unexpectedly stopped: signal: SIGKILL" in error["error"]["message"]
        assert error["request_id"].startswith("req_")
        assert fake.post(PATH, body()).json()["content"][0]["text"] == "one € two"
