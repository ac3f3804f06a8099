"""Golden conversations: what each client sends, and in the reply what it reads. Each test is called after its client."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.runtime.conftest import FakeServer, Serve
from tests.runtime.http.conversations import CONTEXT, GOLDEN, requests_of, send

ULM = {"city": "Ulm"}


def calls_of(chunks: list[dict[str, Any]]) -> list[tuple[str, Any]]:
    """The tool calls of a streamed chat."""
    calls = [call for chunk in chunks for call in chunk["message"].get("tool_calls", ())]
    return [(call["function"]["name"], call["function"]["arguments"]) for call in calls]


def deltas(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What a client that reads the first choice sees, which there may not be."""
    return [event["choices"][0]["delta"] for event in events if event["choices"]]


ALL = [(path.stem, name) for path in GOLDEN for name in requests_of(path.stem)]
REFUSED = {"delete": 404, "embed_failing": 404, "billing": 404}
"""Requests that are to fail, by their names."""


@pytest.mark.parametrize(("client", "name"), ALL, ids=[f"{client}-{name}" for client, name in ALL])
def test_each_request_is_understood(server: FakeServer, client: str, name: str) -> None:
    reply = send(server, client, name)
    wanted = 204 if name.startswith("preflight") else REFUSED.get(name, 200)
    assert reply.status == wanted, reply.body


def test_ollama_webui_lite(server: FakeServer) -> None:
    for name in ("preflight_chat", "preflight_delete"):
        allowed = send(server, "ollama_webui_lite", name).headers
        assert allowed["access-control-allow-origin"] == "http://localhost:3000"
        assert "content-type" in allowed["access-control-allow-headers"].lower()
        assert {"POST", "DELETE"} <= set(allowed["access-control-allow-methods"].split(","))
    reply = send(server, "ollama_webui_lite", "chat")
    assert reply.headers["access-control-allow-origin"] == "http://localhost:3000"
    *chunks, last = reply.lines()
    assert all(chunk["done"] is False for chunk in chunks)
    assert "".join(chunk["message"]["content"] for chunk in chunks) == "one two"
    for name in ("total_duration", "load_duration", "prompt_eval_count", "prompt_eval_duration", "eval_count"):
        assert type(last[name]) is int
    assert send(server, "ollama_webui_lite", "title").good()["response"] == "A title"
    assert "not found" in send(server, "ollama_webui_lite", "delete").json()["error"]


def test_open_webui(serve: Serve, models: Path) -> None:
    with serve(models=models) as server:
        assert "version" in send(server, "open_webui", "verify").good()
        assert {"clever:latest", "embed:latest"} <= {
            one["model"] for one in send(server, "open_webui", "tags").good()["models"]
        }
        *chunks, last = send(server, "open_webui", "chat").lines()
        assert "".join(chunk["message"]["content"] for chunk in chunks) == "one two"
        assert last["done_reason"] == "stop"
        assert type(last["eval_duration"]) is type(last["prompt_eval_duration"]) is int
        assert send(server, "open_webui", "chat_text_plain").good()["message"]["content"] == "one two"
        (loaded,) = send(server, "open_webui", "ps").good()["models"]
        assert loaded["model"] == "clever:latest"
        assert datetime.fromisoformat(loaded["expires_at"]).timestamp() > 0
        unloaded = send(server, "open_webui", "unload").good()
        assert (unloaded["done"], unloaded["done_reason"]) == (True, "unload")
        assert send(server, "open_webui", "ps").good() == {"models": []}


def test_open_webui_embeds_and_passes_openais_requests_on(server: FakeServer) -> None:
    first, second = send(server, "open_webui", "embed").good()["embeddings"]
    assert len(first) == len(second) > 0
    assert "not found" in send(server, "open_webui", "embed_failing").json()["error"]
    *events, usage = send(server, "open_webui", "openai_chat").events()
    assert "".join(delta.get("content", "") for delta in deltas(events)) == "one two"
    assert (usage["choices"], usage["usage"]["total_tokens"] > 0) == ([], True)
    assert send(server, "open_webui", "openai_embeddings").good()["data"][0]["object"] == "embedding"


@pytest.mark.parametrize("client", ["open_webui", "lobechat"])
def test_a_pull_that_fails_ends_with_an_error_line(server: FakeServer, client: str) -> None:
    *_, last = send(server, client, "pull").lines()
    assert "cannot reach 127.0.0.1:1" in last["error"]


def test_dify(server: FakeServer) -> None:
    assert send(server, "dify", "validate").good()["eval_count"] == 5
    reply = send(server, "dify", "chat")
    chunks = reply.lines()
    assert not any("response" in chunk for chunk in chunks)
    kinds = [name for chunk in chunks for name in ("content", "tool_calls") if chunk["message"].get(name)]
    assert kinds == sorted(kinds), "content after the calls would be lost"
    assert calls_of(chunks) == [("weather", ULM)]
    assert "".join(chunk["message"].get("thinking", "") for chunk in chunks) == "Hm."
    (loaded,) = [one for one in server.get("/api/ps")["models"] if one["name"] == "clever:latest"]
    assert datetime.fromisoformat(loaded["expires_at"]).year > 2100, "-1 is for ever"
    assert send(server, "dify", "completion").good()["response"] == "one two"
    assert len(send(server, "dify", "embed").good()["embeddings"]) == 1


def test_dify_calls_a_tools_answer_by_the_id_of_the_call(server: FakeServer) -> None:
    by_id = send(server, "dify", "after_a_tool").good()
    messages = requests_of("dify")["after_a_tool"]["body"]["messages"]
    by_name = send(server, "dify", "after_a_tool", messages=[*messages[:2], messages[2] | {"tool_name": "weather"}])
    assert by_id["prompt_eval_count"] == by_name.good()["prompt_eval_count"]


def test_lobechat(server: FakeServer) -> None:
    assert "clever:latest" in {one["name"] for one in send(server, "lobechat", "list").good()["models"]}
    reply = send(server, "lobechat", "chat")
    assert reply.headers["access-control-allow-origin"] == "app://next"
    chunks = reply.lines()
    assert calls_of(chunks[:-1]) == [("weather", ULM)]
    assert all(isinstance(chunk["message"]["content"], str) for chunk in chunks)
    assert len(send(server, "lobechat", "a_tool_nobody_called").content()) == 2
    with ThreadPoolExecutor(16) as crowd:
        waiting = [crowd.submit(send, server, "lobechat", "embeddings") for _ in range(32)]
        vectors = [one.result().good()["embedding"] for one in waiting]
    assert all(vector == vectors[0] != [] for vector in vectors)


def test_nextchat(server: FakeServer) -> None:
    assert "clever:latest" in {one["id"] for one in send(server, "nextchat", "models").good()["data"]}
    seen = deltas(send(server, "nextchat", "chat").events())
    assert "".join(delta.get("content", "") for delta in seen) == "Wait."
    assert "".join(delta.get("reasoning_content", "") for delta in seen) == "Hm."
    (call,) = [call for delta in seen for call in delta.get("tool_calls", ())]
    assert (call["type"], call["function"]) == ("function", {"name": "weather", "arguments": '{"city":"Ulm"}'})
    assert send(server, "nextchat", "newer_model_names").good()["choices"][0]["message"]["content"] == "one two"


def test_nextchat_reads_one_call_of_a_chunk(server: FakeServer) -> None:
    calls = [
        delta["tool_calls"] for delta in deltas(send(server, "nextchat", "two_calls").events()) if "tool_calls" in delta
    ]
    assert [len(some) for some in calls] == [1, 1]
    assert [(some[0]["index"], bool(some[0]["id"])) for some in calls] == [(0, True), (1, True)]


def test_page_assist(server: FakeServer) -> None:
    assert send(server, "page_assist", "is_running").body == b"Ollama is running"
    models = {one["name"]: one for one in send(server, "page_assist", "tags").good()["models"]}
    assert models["embed:latest"]["details"]["families"] == ["bert"], "by which it is hidden from chats"
    assert models["clever:latest"]["details"]["families"] == ["llama"]
    assert send(server, "page_assist", "chat").content() == "one two"
    assert len(send(server, "page_assist", "embed").good()["embeddings"]) == 2
    assert "not found" in send(server, "page_assist", "delete").json()["error"]


def test_chat_ollama(server: FakeServer) -> None:
    assert send(server, "chat_ollama", "is_running").status == 200
    assert send(server, "chat_ollama", "list").good()["models"]
    assert send(server, "chat_ollama", "chat").content() == "one two"


def test_continue(server: FakeServer) -> None:
    shown = send(server, "continue", "show").good()
    assert ".Suffix" in shown["template"]
    read = [re.fullmatch(r'(\S+)\s+("(?:[^"\\]|\\.)*"|\S+)', line) for line in shown["parameters"].splitlines()]
    assert all(read)
    pairs = sorted((found[1], found[2]) for found in read if found)
    assert pairs == [("num_ctx", "2048"), ("stop", '"<|im_end|>"'), ("stop", '"two words"')]
    assert send(server, "continue", "chat").content() == "one two"
    *chunks, last = send(server, "continue", "fim").lines()
    assert "".join(chunk["response"] for chunk in chunks) == "one two"
    assert last["done"] is True
    assert len(send(server, "continue", "embed").good()["embeddings"]) == 64


def test_zed(server: FakeServer) -> None:
    assert send(server, "zed", "show").good()["capabilities"] == ["completion", "tools", "thinking"]
    for chunk in send(server, "zed", "chat").lines():
        assert {"model", "created_at", "message", "done"} <= set(chunk)
        assert chunk["message"]["role"] == "assistant"
    assert send(server, "zed", "chat").content() == "one two"


def test_copilot(server: FakeServer) -> None:
    assert tuple(map(int, send(server, "copilot", "version").good()["version"].split("."))) >= (0, 6, 4)
    shown = send(server, "copilot", "show").good()
    information = shown["model_info"]
    assert information[f"{information['general.architecture']}.context_length"] == CONTEXT
    assert information["general.basename"] == "clever:latest", "the name that it shows"
    assert "general.basename" not in send(server, "litellm", "show").good()["model_info"]
    assert isinstance(shown["capabilities"], list)
    *events, usage = send(server, "copilot", "chat").events()
    assert "".join(delta.get("content", "") for delta in deltas(events)) == "one two"
    assert usage["usage"]["completion_tokens"] > 0


def test_litellm(server: FakeServer) -> None:
    assert send(server, "litellm", "tags").good()["models"][0]["name"]
    shown = send(server, "litellm", "show").good()
    assert "tools" in shown["template"].lower()
    assert next(value for key, value in shown["model_info"].items() if "context_length" in key) == CONTEXT
    *chunks, last = send(server, "litellm", "generate").lines()
    assert "".join(chunk["response"] for chunk in chunks) == "one two"
    assert last["response"] == ""
    assert (type(last["prompt_eval_count"]), type(last["eval_count"])) == (int, int)
    chunks = send(server, "litellm", "chat").lines()
    assert all({"message", "done", "model"} <= set(chunk) for chunk in chunks)
    assert calls_of(chunks) == [("weather", ULM)]
    assert chunks[-1]["done_reason"] == "stop"
    whole = send(server, "litellm", "bare_functions").good()
    assert calls_of([whole]) == [("weather", ULM)]
    assert isinstance(whole["message"]["content"], str)


def test_llama_index(server: FakeServer) -> None:
    information = send(server, "llama_index", "show").good()["model_info"]
    window = next(value for key, value in information.items() if "context_length" in key)
    assert window == CONTEXT == requests_of("llama_index")["chat"]["body"]["options"]["num_ctx"]
    reply = send(server, "llama_index", "chat")
    assert reply.good()["message"]["content"] == "one two"
    assert reply.headers["x-corral-num-ctx"] == str(CONTEXT)
    assert len(send(server, "llama_index", "embed").good()["embeddings"]) == 1


def test_langchain(server: FakeServer) -> None:
    assert any(one["model"].startswith("clever:") for one in send(server, "langchain", "list").good()["models"])
    *chunks, last = send(server, "langchain", "chat").lines()
    assert "".join(chunk["message"]["content"] for chunk in chunks) == "one two"
    assert last["done_reason"] == "stop"


def test_openhands(server: FakeServer) -> None:
    assert "clever:latest" in {one["name"] for one in send(server, "openhands", "tags").good()["models"]}
