"""Thoughts, calls of tools, log-probabilities and several answers: what each dialect makes of them, streamed and whole."""

from __future__ import annotations

import json
from collections.abc import Generator
from typing import Any

import pytest

from tests.conftest import Cli
from tests.runtime.conftest import FakeServer, Serve
from tests.runtime.http.test_generate import lines
from tests.runtime.http.test_openai_api import events
from tests.runtime.weights import create

TEMPLATE = (
    "{{ if .Tools }}tools: {{ .Tools }}{{ end }}{{ range .Messages }}{{ .Role }}:"
    "{{ if .Thinking }}<think>{{ .Thinking }}</think>{{ end }}{{ .Content }}"
    "{{ if .ToolCalls }}<tool_call>{{ range .ToolCalls }}"
    '{"name": "{{ .Function.Name }}", "arguments": {{ .Function.Arguments }}}'
    "{{ end }}</tool_call>{{ end }}{{ if .ToolName }}({{ .ToolName }}){{ end }}\n{{ end }}"
)
WEATHER = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}
CALL = '<tool_call>{"name": "weather", "arguments": {"city": "Ulm", "days": [1, 2]}}</tool_call>'
ARGUMENTS = {"city": "Ulm", "days": [1, 2]}
THOUGHT = f"<think>\nI could ask.\n</think>\n\nLet me see. {CALL}{CALL.replace('Ulm', 'Bonn')}"


@pytest.fixture(scope="module")
def clever(serve: Serve, tmp_path_factory: pytest.TempPathFactory) -> Generator[FakeServer]:
    """A server with a model that can think and call tools."""
    folder = tmp_path_factory.mktemp("clever")
    cli = Cli(folder / "models", folder)
    create(cli, "clever", modelfile=f'TEMPLATE """{TEMPLATE}"""', context=4096)
    create(cli, "channels", modelfile='TEMPLATE """{{ .Prompt }}<|start|>assistant{{/* <|channel|><|message|> */}}"""')
    with serve(models=cli.models) as server:
        yield server


def said(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": f"say:{text};"}]


def chat(server: FakeServer, text: str = THOUGHT, **more: object) -> Any:
    reply = server.post("/api/chat", {"model": "clever", "messages": said(text), "stream": False, **more})
    assert reply.status_code == 200, reply.text
    return reply.json()


def completion(server: FakeServer, text: str = THOUGHT, **more: object) -> Any:
    reply = server.post("/v1/chat/completions", {"model": "clever", "messages": said(text), **more})
    assert reply.status_code == 200, reply.text
    return reply.json()


def test_a_chat_tells_thoughts_content_and_calls_apart(clever: FakeServer) -> None:
    message = chat(clever, tools=[WEATHER])["message"]
    assert (message["role"], message["thinking"], message["content"]) == ("assistant", "I could ask.\n", "Let me see.")
    first, second = message["tool_calls"]
    assert first["function"] == {"index": 0, "name": "weather", "arguments": ARGUMENTS}
    assert second["function"] == {"index": 1, "name": "weather", "arguments": ARGUMENTS | {"city": "Bonn"}}
    assert first["id"] != second["id"]
    assert first["id"].startswith("call_")


def test_a_stream_has_one_kind_of_thing_in_a_chunk_and_the_last_has_none(clever: FakeServer) -> None:
    body = {"model": "clever", "messages": said(THOUGHT), "tools": [WEATHER]}
    *chunks, last = lines(clever.post("/api/chat", body))
    assert last["message"] == {"role": "assistant", "content": ""}
    assert (last["done"], last["done_reason"]) == (True, "stop")
    kinds: list[str] = []
    for chunk in chunks:
        message = chunk["message"]
        filled = [name for name in ("content", "thinking", "tool_calls") if message.get(name)]
        assert len(filled) == 1
        assert isinstance(message["content"], str)
        assert chunk["done"] is False
        kinds += filled
    assert kinds == sorted(kinds, key=["thinking", "content", "tool_calls"].index)
    assert kinds.count("tool_calls") == 2
    assert "".join(chunk["message"].get("thinking", "") for chunk in chunks) == "I could ask.\n"


def test_generate_tells_thoughts_apart(clever: FakeServer) -> None:
    body = {"model": "clever", "prompt": "say:<think>Hm.</think>Yes;"}
    whole = clever.post("/api/generate", body | {"stream": False}).json()
    assert (whole["thinking"], whole["response"]) == ("Hm.", "Yes")
    chunks = lines(clever.post("/api/generate", body))
    assert "".join(chunk.get("thinking", "") for chunk in chunks) == "Hm."
    assert "".join(chunk["response"] for chunk in chunks) == "Yes"


@pytest.mark.parametrize("think", [None, False])
def test_a_model_that_always_thinks_tells_it_unless_it_was_not_to(clever: FakeServer, think: object) -> None:
    text = "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>Yes.<|return|>"
    message = chat(clever, text, model="channels", think=think)["message"]
    thought = {} if think is False else {"thinking": "Hm."}
    assert message == {"role": "assistant", "content": "Yes."} | thought


def test_without_thinking_and_tools_the_text_is_what_the_model_wrote(clever: FakeServer) -> None:
    assert chat(clever, think=False)["message"] == {"role": "assistant", "content": THOUGHT}
    assert "tool_calls" not in chat(clever, tools=[])["message"]


def test_a_completion_has_reasoning_and_calls_as_text(clever: FakeServer) -> None:
    (choice,) = completion(clever, tools=[WEATHER])["choices"]
    message = choice["message"]
    assert (message["reasoning"], message["content"]) == ("I could ask.\n", "Let me see.")
    assert message["reasoning_content"] == message["reasoning"]
    assert choice["finish_reason"] == "tool_calls"
    first, _ = message["tool_calls"]
    assert (first["type"], first["index"], first["function"]["name"]) == ("function", 0, "weather")
    assert json.loads(first["function"]["arguments"]) == ARGUMENTS


def test_a_streamed_completion_has_one_call_in_a_chunk(clever: FakeServer) -> None:
    body = {"model": "clever", "messages": said(THOUGHT), "tools": [WEATHER], "stream": True}
    choices = [chunk["choices"][0] for chunk in events(clever.post("/v1/chat/completions", body))]
    calls = [choice["delta"]["tool_calls"] for choice in choices if "tool_calls" in choice["delta"]]
    assert [[call["index"] for call in some] for some in calls] == [[0], [1]]
    assert all(json.loads(some[0]["function"]["arguments"])["days"] == [1, 2] for some in calls)
    assert [choice["finish_reason"] for choice in choices] == [None] * (len(choices) - 1) + ["tool_calls"]
    for name in ("reasoning", "reasoning_content"):
        assert "".join(choice["delta"].get(name, "") for choice in choices) == "I could ask.\n"
    assert [("role" in choice["delta"]) for choice in choices] == [True] + [False] * (len(choices) - 1)


@pytest.mark.parametrize(
    ("choice", "calls"),
    [
        ({"tool_choice": "none"}, 0),
        ({"tool_choice": "auto"}, 2),
        ({"parallel_tool_calls": False}, 1),
        ({"reasoning_effort": "none"}, 2),
    ],
)
def test_what_is_said_of_calls_holds(clever: FakeServer, choice: dict[str, Any], calls: int) -> None:
    (found,) = completion(clever, tools=[WEATHER], **choice)["choices"]
    assert len(found["message"].get("tool_calls", ())) == calls
    assert ("reasoning" in found["message"]) == ("reasoning_effort" not in choice)


def test_bare_functions_are_tools_too(clever: FakeServer) -> None:
    bare = chat(clever, CALL, tools=[WEATHER["function"]])
    assert bare["message"]["tool_calls"][0]["function"]["arguments"] == ARGUMENTS
    assert bare["prompt_eval_count"] == chat(clever, CALL, tools=[WEATHER])["prompt_eval_count"]


@pytest.mark.parametrize(
    "named", [{"tool_name": "c1"}, {"tool_call_id": "c1"}, {"tool_name": "weather"}, {"name": "weather"}]
)
def test_a_tools_answer_names_the_tool_however_it_says_so(clever: FakeServer, named: dict[str, str]) -> None:
    function = {"name": "weather", "arguments": {"city": "Ulm"}}
    talk = [
        {"role": "user", "content": "Well?"},
        {"role": "assistant", "content": "", "tool_calls": [{"id": "c1", "function": function}]},
        {"role": "tool", "content": "rain", **named},
    ]
    body = {"model": "clever", "messages": talk, "tools": [WEATHER], "_debug_render_only": True}
    rendered = clever.post("/api/chat", body).json()["_debug_info"]["rendered_template"]
    assert "tool:rain(weather)" in rendered


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ('{"city": "Ulm"}', '{"city":"Ulm"}'),
        ("", "{}"),
        ("null", "{}"),
        ("Ulm", '{"arguments":"Ulm"}'),
        ("{", '{"arguments":"{"}'),
        ("[1]", '{"arguments":"[1]"}'),
        ("[" * 100_000, '{"arguments":"[[['),
    ],
    ids=lambda text: text[:20],
)
def test_what_was_called_is_shown_to_the_model_whatever_it_was_called_with(
    clever: FakeServer, written: str, shown: str
) -> None:
    talk = [
        {"role": "assistant", "tool_calls": [{"function": {"name": "weather", "arguments": written}}]},
        {"role": "user", "content": "Well?"},
    ]
    body = {"model": "clever", "messages": talk, "_debug_render_only": True, "truncate": False}
    rendered = clever.post("/api/chat", body).json()["_debug_info"]["rendered_template"]
    assert f'{{"name": "weather", "arguments": {shown}' in rendered


@pytest.mark.parametrize("top", [0, 3, 20])
def test_each_token_has_its_probability(clever: FakeServer, top: int) -> None:
    whole = chat(clever, "a€;", logprobs=True, top_logprobs=top)
    assert b"".join(bytes(one["bytes"]) for one in whole["logprobs"]) == "a€".encode()
    assert [len(one["top_logprobs"]) for one in whole["logprobs"]] == [top] * 4
    assert whole["logprobs"][0]["token"] == "a"
    assert all(one["logprob"] == 0 for one in whole["logprobs"])
    body = {"model": "clever", "messages": said("a€"), "logprobs": True}
    assert sum(len(chunk.get("logprobs", ())) for chunk in lines(clever.post("/api/chat", body))) == 4
    (choice,) = completion(clever, "a€", logprobs=True, top_logprobs=top)["choices"]
    assert choice["logprobs"]["content"] == whole["logprobs"]
    assert "logprobs" not in chat(clever, "a", top_logprobs=top)


@pytest.mark.parametrize("path", ["/api/chat", "/api/generate"])
@pytest.mark.parametrize("top", [-1, 21])
def test_error_more_tokens_than_there_are_told(clever: FakeServer, path: str, top: int) -> None:
    reply = clever.post(path, {"model": "clever", "prompt": "a", "messages": said("a"), "top_logprobs": top})
    assert (reply.status_code, reply.json()["error"]) == (400, "top_logprobs must be between 0 and 20")


def test_several_answers_come_as_choices(clever: FakeServer) -> None:
    whole = completion(clever, "yes", n=3)
    assert [choice["index"] for choice in whole["choices"]] == [0, 1, 2]
    assert {choice["message"]["content"] for choice in whole["choices"]} == {"yes"}
    one = completion(clever, "yes")["usage"]
    assert whole["usage"]["prompt_tokens"] == one["prompt_tokens"]
    assert whole["usage"]["completion_tokens"] == 3 * one["completion_tokens"]
    body = {
        "model": "clever",
        "messages": said("yes"),
        "n": 3,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    *chunks, usage = events(clever.post("/v1/chat/completions", body))
    for index in range(3):
        own = [chunk["choices"][0] for chunk in chunks if chunk["choices"][0]["index"] == index]
        assert "".join(choice["delta"].get("content", "") for choice in own) == "yes"
        assert [choice["finish_reason"] for choice in own][-1] == "stop"
    assert usage["usage"]["completion_tokens"] == whole["usage"]["completion_tokens"]


def test_an_older_completion_goes_on_with_a_prompt(clever: FakeServer) -> None:
    path, body = "/v1/completions", {"model": "clever", "prompt": "say:yes;", "logprobs": 2}
    whole = clever.post(path, body).json()
    (choice,) = whole["choices"]
    assert (whole["object"], choice["text"], choice["finish_reason"]) == ("text_completion", "yes", "stop")
    assert choice["logprobs"]["tokens"] == ["y", "e", "s"]
    echoed = clever.post(path, body | {"echo": True, "max_tokens": 2, "logprobs": None}).json()["choices"][0]
    assert (echoed["text"], echoed["finish_reason"]) == ("say:yes;ye", "length")
    chunks = [chunk["choices"][0] for chunk in events(clever.post(path, body | {"stream": True}))]
    assert "".join(chunk["text"] for chunk in chunks) == "yes"
    assert chunks[-1]["finish_reason"] == "stop"


def test_error_the_probabilities_of_an_echo(clever: FakeServer) -> None:
    reply = clever.post("/v1/completions", {"model": "clever", "prompt": "say:yes;", "logprobs": 0, "echo": True})
    assert (reply.status_code, reply.json()["error"]["type"]) == (400, "invalid_request_error")
    assert "logprobs of an echoed prompt" in reply.json()["error"]["message"]


@pytest.mark.parametrize("prompt", [None, 5, [], ["a", "b"], [1, 2], [["a"]]])
def test_error_a_prompt_that_is_none(clever: FakeServer, prompt: object) -> None:
    reply = clever.post("/v1/completions", {"model": "clever", "prompt": prompt})
    assert reply.status_code == 400
    assert "prompt must be one text" in reply.json()["error"]["message"]


def test_what_was_said_before_goes_on_from_its_tokens(clever: FakeServer) -> None:
    body = {"model": "clever", "prompt": "say:yes;", "stream": False, "think": False}
    first = clever.post("/api/generate", body).json()
    assert len(first["context"]) == first["prompt_eval_count"] + first["eval_count"] - 1
    second = clever.post(
        "/api/generate", body | {"prompt": "And?", "context": first["context"], "options": {"num_predict": 1}}
    )
    again = second.json()
    assert again["context"][: len(first["context"])] == first["context"]
    assert again["prompt_eval_count"] == len(first["context"]) + len("user:And?\n")
    assert "context" not in clever.post("/api/generate", body | {"raw": True}).json()


@pytest.mark.parametrize(
    ("token", "says"),
    [
        *((token, "tokens that the model does not have") for token in (999_999, -1, (1 << 63) - 1, -(1 << 63))),
        *((token, "invalid request body: Expected `int`") for token in (1 << 63, 1 << 64, 10**30, -(10**30))),
    ],
)
def test_error_tokens_that_the_model_does_not_have(clever: FakeServer, token: int, says: str) -> None:
    reply = clever.post("/api/generate", {"model": "clever", "prompt": "say:yes;", "context": [token]})
    assert reply.status_code == 400
    assert says in reply.json()["error"]
