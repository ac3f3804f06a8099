"""OpenAI's routes: shapes, server-sent events, errors."""

from __future__ import annotations

import json
from typing import Any

import pytest
import requests

from tests.runtime.conftest import FakeServer, Serve, kill

PATH = "/v1/chat/completions"
NOTHING: dict[str, object] = {}


def body(content: object = "say:one € two;", **more: object) -> dict[str, object]:
    return {"model": "tiny", "messages": [{"role": "user", "content": content}], **more}


def events(reply: requests.Response) -> list[Any]:
    """The objects of a stream of server-sent events; its last must be [DONE]."""
    assert reply.status_code == 200, reply.text
    assert reply.headers["Content-Type"].startswith("text/event-stream")
    *found, done, rest = reply.content.decode().split("\n\n")
    assert (done, rest) == ("data: [DONE]", "")
    assert all(event.startswith("data: {") and "\n" not in event for event in found)
    return [json.loads(event.removeprefix("data: ")) for event in found]


def check_error(reply: requests.Response, status: int, kind: str) -> str:
    """The message of an error in OpenAI's shape."""
    assert reply.status_code == status, reply.text
    error = reply.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == kind
    return error["message"]


def test_models_are_listed(fake: FakeServer) -> None:
    listed = fake.get("/v1/models")
    assert listed["object"] == "list"
    assert {entry["id"] for entry in listed["data"]} == {"tiny:latest", "other:latest", "twin:latest"}
    for entry in listed["data"]:
        assert (entry["object"], entry["owned_by"]) == ("model", "library")
        assert type(entry["created"]) is int


@pytest.mark.parametrize("name", ["tiny", "tiny:latest", "library/tiny", "registry.ollama.ai/library/tiny:latest"])
def test_one_model_is_described_by_any_of_its_names(fake: FakeServer, name: str) -> None:
    assert fake.get(f"/v1/models/{name}")["id"] == name


def test_error_a_model_that_is_not_there(fake: FakeServer) -> None:
    assert check_error(fake.ask("GET", "/v1/models/nope"), 404, "not_found_error") == "model 'nope:latest' not found"
    reply = fake.post(PATH, body() | {"model": "nope"})
    assert "not found" in check_error(reply, 404, "not_found_error")


def test_a_completion_is_one_object(fake: FakeServer) -> None:
    reply = fake.post(PATH, body()).json()
    assert set(reply) == {"id", "object", "created", "model", "system_fingerprint", "choices", "usage"}
    assert reply["id"].startswith("chatcmpl-")
    assert (reply["object"], reply["model"]) == ("chat.completion", "tiny")
    message = {"role": "assistant", "content": "one € two"}
    assert reply["choices"] == [{"index": 0, "message": message, "finish_reason": "stop"}]
    usage = reply["usage"]
    assert usage["completion_tokens"] == len("one € two".encode()) + 1
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


@pytest.mark.parametrize("options", [None, {}, {"include_usage": False}, {"include_usage": True}])
def test_a_stream_is_deltas_a_finish_and_usage_if_asked(fake: FakeServer, options: dict[str, bool] | None) -> None:
    chunks = events(fake.post(PATH, body(stream=True, stream_options=options)))
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert len({chunk["id"] for chunk in chunks}) == 1
    if options == {"include_usage": True}:
        usage = chunks.pop()
        assert usage["choices"] == []
        assert usage["usage"]["total_tokens"] > usage["usage"]["prompt_tokens"] > 0
    assert not any("usage" in chunk for chunk in chunks)
    *deltas, finish = [chunk["choices"][0] for chunk in chunks]
    assert "".join(choice["delta"]["content"] for choice in deltas) == "one € two"
    assert ["role" in choice["delta"] for choice in deltas] == [True] + [False] * (len(deltas) - 1)
    assert {choice["finish_reason"] for choice in deltas} == {None}
    assert (finish["delta"], finish["finish_reason"], finish["index"]) == ({}, "stop", 0)


def test_an_empty_answer_streams_a_role_and_a_finish(fake: FakeServer) -> None:
    begin, end = (event["choices"][0] for event in events(fake.post(PATH, body("say:;", stream=True))))
    assert (begin["delta"], begin["finish_reason"]) == ({"role": "assistant", "content": ""}, None)
    assert (end["delta"], end["finish_reason"]) == ({}, "stop")


@pytest.mark.parametrize(
    ("options", "answer", "reason"),
    [
        ({"max_tokens": 3}, "one", "length"),
        ({"max_completion_tokens": 2, "max_tokens": 3}, "on", "length"),
        ({"stop": " two"}, "one €", "stop"),
        ({"stop": ["two", "€"]}, "one ", "stop"),
        ({"stop": None, "temperature": 0, "top_p": 1, "seed": 7, "presence_penalty": 0, "n": 1}, "one € two", "stop"),
        ({"tools": [], "response_format": {"type": "text"}, "user": "me", "logit_bias": {}}, "one € two", "stop"),
        ({"modalities": ["text"], "reasoning_effort": "none", "function_call": "auto"}, "one € two", "stop"),
        (
            {"prediction": {"content": "x"}, "functions": [], "top_logprobs": 0, "reasoning_effort": None},
            "one € two",
            "stop",
        ),
        (
            {"store": True, "metadata": {"a": "b"}, "service_tier": "auto", "parallel_tool_calls": False},
            "one € two",
            "stop",
        ),
        ({"options": {"num_predict": 2}, "keep_alive": "5m", "tool_choice": "none"}, "on", "length"),
        ({"options": {"num_predict": 2}, "max_tokens": 3}, "one", "length"),
    ],
)
def test_options_are_honoured(fake: FakeServer, options: dict[str, object], answer: str, reason: str) -> None:
    (choice,) = fake.post(PATH, body(**options)).json()["choices"]
    assert (choice["message"]["content"], choice["finish_reason"]) == (answer, reason)


def test_parts_of_text_are_one_text(fake: FakeServer) -> None:
    parts = [{"type": "text", "text": "say:t"}, {"type": "text", "text": "wo;"}]
    assert fake.post(PATH, body(parts)).json()["choices"][0]["message"]["content"] == "two"


def test_a_developer_is_a_system(fake: FakeServer) -> None:
    def prompt_tokens(role: str) -> int:
        messages = [{"role": role, "content": "say:a;"}, {"role": "user", "content": "go"}]
        return fake.post(PATH, {"model": "tiny", "messages": messages}).json()["usage"]["prompt_tokens"]

    assert prompt_tokens("developer") == prompt_tokens("system") != prompt_tokens("assistant")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"messages": []}, "[] is too short - 'messages'"),
        ({"messages": None}, "[] is too short - 'messages'"),
        ({"messages": "hello"}, "Expected `array | null`"),
        ({"messages": [5]}, "Expected `object`"),
        ({"model": None}, "model is required"),
        ({"model": 5}, "Expected `str | null`"),
        ({"model": "bad name!"}, "invalid model name"),
        ({"max_tokens": "many"}, "Expected `int | null`"),
        ({"stop": [1]}, "Expected `str`"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "does not support tools"),
        ({"tools": [{"name": "f"}]}, "does not support tools"),
        ({"tools": [{"type": "function"}]}, "tools: one has no name"),
        ({"tools": [{"description": "f"}]}, "tools: one has no name"),
        ({"tools": [{"type": "function", "function": {"name": ""}}]}, "tools: one has no name"),
        ({"tools": [{"type": "function", "function": "f"}]}, "tools: one has no name"),
        ({"tools": [{"type": "web_search"}]}, 'tools of the type "web_search" are not supported'),
        ({"tools": [{"type": "custom", "custom": {"name": "f"}}]}, 'tools of the type "custom" are not supported'),
        ({"response_format": {"type": "xml"}}, 'invalid response_format type "xml"'),
        ({"response_format": {"type": "json_schema"}}, "needs json_schema.schema"),
        ({"response_format": {"type": "json_schema", "json_schema": {"schema": []}}}, "needs json_schema.schema"),
        ({"n": 0}, "n must be between 1 and 128"),
        ({"n": 129}, "n must be between 1 and 128"),
        ({"top_logprobs": 21}, "top_logprobs must be between 0 and 20"),
        ({"top_logprobs": -1}, "top_logprobs must be between 0 and 20"),
        ({"logit_bias": {"word": 5}}, "logit_bias must map token numbers"),
        ({"logit_bias": {"5": 101}}, "logit_bias must map token numbers"),
        ({"functions": [{"name": "f"}]}, "functions is not supported; use tools"),
        ({"function_call": {"name": "f"}}, "function_call is not supported; use tool_choice"),
        ({"web_search_options": NOTHING}, "web_search_options is not supported"),
        ({"web_search_options": {"user_location": 1}}, "web_search_options is not supported"),
        ({"modalities": ["text", "audio"]}, "modalities other than text are not supported"),
        ({"reasoning_effort": "high"}, "does not support thinking"),
        ({"reasoning_effort": "hardest"}, 'invalid reasoning value: "hardest"'),
        ({"reasoning": {"effort": 5}}, "invalid reasoning value"),
        ({"tool_choice": "required"}, "tool_choice is required, and there are no tools"),
        ({"tool_choice": {"type": "function", "function": {"name": "f"}}}, 'tool_choice names "f"'),
        ({"tool_choice": "sometimes"}, "invalid tool_choice"),
        ({"messages": [{"role": "assistant", "tool_calls": [5]}]}, "Expected `object`"),
        (body([{"type": "image_url", "image_url": {"url": "data:"}}]), "invalid image input"),
        (
            body([{"type": "image_url", "image_url": "https://a.example/b.png"}]),
            "image URLs are not currently supported",
        ),
        (body([{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}]), "images are not supported"),
        (body([{"type": "text", "text": 5}]), "a part of a message is of the type"),
        (body([{"type": "input_audio"}]), "a part of a message is of the type"),
    ],
)
def test_error_a_bad_request_says_what_is_wrong(fake: FakeServer, change: dict[str, object], says: str) -> None:
    assert says in check_error(fake.post(PATH, body() | change), 400, "invalid_request_error")


@pytest.mark.parametrize("data", [b"", b"  ", b"{", b"[]", b"null", b'{"model":}'])
def test_error_a_body_that_is_no_request(fake: FakeServer, data: bytes) -> None:
    assert "request body" in check_error(fake.post(PATH, data), 400, "invalid_request_error")


def test_error_a_model_that_dies_while_it_streams_ends_the_stream_with_an_error(serve: Serve) -> None:
    with serve(seconds=0.02) as fake:
        with fake.stream(PATH, body("endless", stream=True)) as reply:
            found = reply.iter_lines()
            assert next(found).startswith(b"data: {")
            kill(fake.workers[0].pid)
            last = [line for line in found if line][-1]
        error = json.loads(last.removeprefix(b"data: "))["error"]
        assert error["type"] == "api_error"
        assert "unexpectedly stopped: signal: SIGKILL" in error["message"]
        assert fake.post(PATH, body()).json()["choices"][0]["message"]["content"] == "one € two"


@pytest.mark.parametrize("stream", [True, False])
def test_error_one_of_several_answers_that_fails_ends_the_others(serve: Serve, *, stream: bool) -> None:
    with serve(seconds=0.3, slots=1, max_queue=1) as fake:
        assert fake.post(PATH, body("say:;")).status_code == 200
        check_error(fake.post(PATH, body("endless", n=3, stream=stream)), 503, "api_error")
        assert fake.post(PATH, body("say:;")).status_code == 200, "else one has the slot still, and one waits"
