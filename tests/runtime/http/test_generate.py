"""Generate and chat, in Ollama's dialect: replies, streams, loading and unloading."""

from __future__ import annotations

import json
import os
import re
from typing import Any

import pytest
import requests

from tests.runtime.conftest import FakeServer, Serve, eventually

CREATED = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z")
COUNTS = {"total_duration", "load_duration", "prompt_eval_count", "prompt_eval_duration", "eval_count", "eval_duration"}
PROMPT = "say:one € two;"
CASES: dict[str, dict[str, Any]] = {
    "/api/generate": {"model": "tiny", "prompt": PROMPT},
    "/api/chat": {"model": "tiny", "messages": [{"role": "user", "content": PROMPT}]},
}
BOTH = pytest.mark.parametrize("path", list(CASES))


def lines(reply: requests.Response) -> list[dict[str, Any]]:
    """The objects of an NDJSON reply, each on a line that is ended."""
    assert reply.status_code == 200, reply.text
    assert reply.headers["Content-Type"] == "application/x-ndjson"
    assert reply.content.endswith(b"\n")
    found = reply.content.split(b"\n")[:-1]
    assert all(found)
    return [json.loads(line) for line in found]


def text_of(chunk: dict[str, Any]) -> str:
    """A chunk's text, wherever its endpoint has it."""
    if "message" in chunk:
        assert chunk["message"]["role"] == "assistant"
        assert "response" not in chunk
        return chunk["message"]["content"]
    return chunk["response"]


@BOTH
def test_a_stream_is_chunks_and_then_the_counts(fake: FakeServer, path: str) -> None:
    *chunks, last = lines(fake.post(path, CASES[path]))
    assert "".join(map(text_of, chunks)) == "one € two"
    kind = "message" if path == "/api/chat" else "response"
    for chunk in chunks:
        assert set(chunk) == {"model", "created_at", kind, "done"}
        assert chunk["done"] is False
        assert chunk["model"] == "tiny"
        assert CREATED.fullmatch(chunk["created_at"])
    context = set[str]() if path == "/api/chat" else {"context"}
    assert set(last) == {"model", "created_at", kind, "done", "done_reason"} | COUNTS | context
    assert text_of(last) == ""
    assert (last["done"], last["done_reason"]) == (True, "stop")


@BOTH
def test_without_a_stream_the_reply_is_one_object(fake: FakeServer, path: str) -> None:
    reply = fake.post(path, CASES[path] | {"stream": False})
    assert reply.status_code == 200
    assert reply.headers["Content-Type"].startswith("application/json")
    whole = reply.json()
    assert text_of(whole) == "one € two"
    assert whole["done"] is True
    assert set(whole) >= COUNTS


@BOTH
def test_counts_are_whole_and_durations_are_nanoseconds_of_the_request(serve: Serve, path: str) -> None:
    with serve(seconds=0.01) as slow:
        cold, warm = (slow.post(path, CASES[path] | {"stream": False}).json() for _ in range(2))
    for whole in (cold, warm):
        assert all(type(whole[name]) is int and whole[name] >= 0 for name in COUNTS)
        assert whole["eval_count"] == len("one € two".encode()) + 1
        assert whole["eval_duration"] >= 0.01e9 * (whole["eval_count"] - 1)
        assert whole["prompt_eval_duration"] >= 0.01e9
        parts = whole["load_duration"] + whole["prompt_eval_duration"] + whole["eval_duration"]
        assert parts <= whole["total_duration"]
    template = "" if path == "/api/generate" else "<|im_start|>user\n<|im_end|>\n<|im_start|>assistant\n"
    assert cold["prompt_eval_count"] == warm["prompt_eval_count"] == len((PROMPT + template).encode()) + 1


@BOTH
def test_the_model_is_named_as_it_was_typed(fake: FakeServer, path: str) -> None:
    body = CASES[path] | {"model": "registry.ollama.ai/library/tiny:latest", "stream": False}
    assert fake.post(path, body).json()["model"] == "registry.ollama.ai/library/tiny:latest"


@BOTH
@pytest.mark.parametrize(
    "change",
    [
        {"stream": None},
        {"options": None, "keep_alive": None, "format": None, "think": None},
        {"options": {"temperature": None, "no_such_option": 1, "mirostat": 2, "num_predict": 50.7}},
        {"options": {}, "tools": [], "format": "", "think": False, "logprobs": False},
        {"unknown": {"deep": [1, 2]}, "stream": True},
        {"keep_alive": "5m"},
        {"keep_alive": -1},
        {"keep_alive": "300"},
    ],
)
def test_what_changes_nothing_is_taken(fake: FakeServer, path: str, change: dict[str, Any]) -> None:
    assert "".join(map(text_of, lines(fake.post(path, CASES[path] | change)))) == "one € two"


@BOTH
def test_field_names_are_read_in_any_case_and_any_content_type(fake: FakeServer, path: str) -> None:
    body = {name.upper(): value for name, value in CASES[path].items()} | {"Stream": False}
    reply = fake.ask("POST", path, body, **{"Content-Type": "text/event-stream"})
    assert text_of(reply.json()) == "one € two"


@BOTH
def test_what_follows_the_first_json_value_is_ignored(fake: FakeServer, path: str) -> None:
    body = json.dumps(CASES[path] | {"stream": False}).encode()
    assert text_of(fake.post(path, b"\xef\xbb\xbf \n" + body + b"\n{garbage").json()) == "one € two"


@BOTH
def test_options_reach_the_engine(fake: FakeServer, path: str) -> None:
    stopped = fake.post(path, CASES[path] | {"stream": False, "options": {"stop": ["€"]}}).json()
    assert (text_of(stopped), stopped["done_reason"]) == ("one ", "stop")
    cut = fake.post(path, CASES[path] | {"stream": False, "options": {"num_predict": 3}}).json()
    assert (text_of(cut), cut["done_reason"], cut["eval_count"]) == ("one", "length", 3)


def test_the_modelfile_sets_options_and_a_request_overrides_them(fake: FakeServer) -> None:
    body = {"model": "twin", "prompt": "say:one two three;", "stream": False}
    own = fake.post("/api/generate", body).json()
    assert (own["response"], own["done_reason"]) == ("one two", "length")
    asked = fake.post("/api/generate", body | {"options": {"num_predict": 3}}).json()
    assert asked["response"] == "one"
    stopped = fake.post("/api/generate", body | {"prompt": "say:a<end>b;"}).json()
    assert stopped["response"] == "a"


def test_system_and_template_of_a_request_replace_the_models(fake: FakeServer) -> None:
    def prompt_tokens(model: str, **more: object) -> int:
        body = {"model": model, "prompt": "say:a;", "stream": False, **more}
        return fake.post("/api/generate", body).json()["prompt_eval_count"]

    assert prompt_tokens("twin", system="Be brief. Very.") - prompt_tokens("twin") == len(" Very.")
    assert prompt_tokens("tiny", template="<{{ .Prompt }}>") == len("<say:a;>") + 1
    assert prompt_tokens("twin", raw=True) == prompt_tokens("tiny") == len("say:a;") + 1


def test_a_conversation_is_continued_in_its_order(fake: FakeServer) -> None:
    messages = [
        {"role": "system", "content": "say:system;"},
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "two"},
        {"role": "USER", "content": [{"type": "text", "text": "thr"}, {"type": "text", "text": "ee"}]},
        {"role": "user", "content": None},
    ]
    body = {"model": "tiny", "messages": messages, "stream": False}
    assert text_of(fake.post("/api/chat", body).json()) == "system"


@BOTH
def test_without_a_prompt_the_model_is_loaded_and_unloaded(serve: Serve, path: str) -> None:
    with serve() as fake:
        loaded = fake.post(path, {"model": "tiny"})
        assert loaded.headers["Content-Type"].startswith("application/json")
        body = loaded.json()
        assert (body["done"], body["done_reason"], text_of(body)) == (True, "load", "")
        assert not COUNTS & set(body)
        assert [entry["name"] for entry in fake.get("/api/ps")["models"]] == ["tiny:latest"]
        unloaded = fake.post(path, {"model": "tiny", "keep_alive": 0, "prompt": "", "messages": []}).json()
        assert unloaded["done_reason"] == "unload"
        eventually(fake.is_idle)
        assert fake.post(path, {"model": "tiny", "keep_alive": "0"}).json()["done_reason"] == "unload"


@BOTH
def test_keep_alive_0_unloads_the_model_after_the_answer(serve: Serve, path: str) -> None:
    with serve() as fake:
        whole = fake.post(path, CASES[path] | {"keep_alive": 0, "stream": False}).json()
        assert text_of(whole) == "one € two"
        eventually(fake.is_idle)


@pytest.mark.parametrize("most", [0, 1, 3])
@pytest.mark.parametrize("asked", [-1, 0, 1, 2, 10**6])
def test_no_request_gets_more_threads_than_there_may_be(serve: Serve, most: int, asked: int) -> None:
    with serve(num_thread=most) as fake:
        fake.post("/api/generate", {"model": "tiny", "options": {"num_thread": asked}})
        assert fake.options[0].num_thread == (min(asked, most or len(os.sched_getaffinity(0))) if asked > 0 else most)


def test_a_twin_shares_the_loaded_model_and_its_keep_alive_0_unloads_it(serve: Serve) -> None:
    with serve() as fake:
        fake.post("/api/generate", {"model": "tiny"})
        fake.post("/api/generate", {"model": "twin"})
        assert fake.starts == ["tiny:latest"]
        assert {entry["name"] for entry in fake.get("/api/ps")["models"]} == {"tiny:latest", "twin:latest"}
        fake.post("/api/generate", {"model": "twin", "keep_alive": 0})
        eventually(fake.is_idle)


def test_a_larger_num_ctx_loads_the_model_anew_and_is_capped_at_what_it_was_trained_for(serve: Serve) -> None:
    with serve() as fake:
        for asked, loads, context in ((32, 1, 32), (64, 2, 64), (16, 2, 64), (10**9, 3, 256), (10**18, 3, 256)):
            fake.post("/api/generate", {"model": "tiny", "options": {"num_ctx": asked}})
            assert len(fake.starts) == loads
            assert fake.get("/api/ps")["models"][0]["context_length"] == context


def test_a_prompt_longer_than_the_context_is_cut_and_answered(fake: FakeServer) -> None:
    body = {"model": "tiny", "prompt": "x" * 1000 + "say:still;", "raw": True, "stream": False}
    whole = fake.post("/api/generate", body).json()
    assert whole["response"] == "still"
    assert whole["prompt_eval_count"] < 256
