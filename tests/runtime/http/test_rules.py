"""The rules that hold for every client, by their numbers. Rule 12, on the lines of a pull, is tested in test_transfers."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from corral.runtime.engine.process import Worker
from corral.runtime.engine.protocol import LoadOptions
from corral.runtime.http.app import make_app
from corral.runtime.inference import EngineDefaults

from corral import Store
from tests.conftest import CORRAL, Cli, free_port
from tests.runtime.conftest import FakeServer, Serve, kill
from tests.runtime.http.conversations import CONTEXT
from tests.runtime.http.running import running
from tests.runtime.http.test_answers import THOUGHT, WEATHER, said
from tests.runtime.http.test_generate import lines

CHAT: dict[str, Any] = {"model": "clever", "messages": said(THOUGHT), "tools": [WEATHER]}
GENERATE: dict[str, Any] = {"model": "clever", "prompt": "say:<think>Hm.</think>Yes.;"}
BOTH = pytest.mark.parametrize(("path", "body"), [("/api/chat", CHAT), ("/api/generate", GENERATE)])
NEWEST_MINIMUM = (0, 13, 4)
"""Of all clients that ask for one."""


def filled(chunk: dict[str, Any]) -> list[str]:
    """Which kinds of things a chunk says."""
    holder = chunk.get("message", chunk)
    return [name for name in ("content", "response", "thinking", "tool_calls") if holder.get(name)]


@BOTH
def test_rule_1_the_last_chunk_carries_nothing_but_statistics(
    server: FakeServer, path: str, body: dict[str, Any]
) -> None:
    *chunks, last = lines(server.post(path, body))
    assert (last["done"], filled(last)) == (True, [])
    assert {kind for chunk in chunks for kind in filled(chunk)} >= {"thinking"}
    assert {"total_duration", "prompt_eval_count", "eval_count"} <= set(last)


@BOTH
def test_rule_2_one_kind_in_a_chunk(server: FakeServer, path: str, body: dict[str, Any]) -> None:
    kinds = [filled(chunk) for chunk in lines(server.post(path, body))[:-1]]
    assert {len(some) for some in kinds} == {1}
    assert len({some[0] for some in kinds}) > 1


def test_rule_3_every_chunk_of_a_chat_has_a_message_with_role_and_content(server: FakeServer) -> None:
    chunks = lines(server.post("/api/chat", CHAT))
    assert {kind for chunk in chunks for kind in filled(chunk)} == {"content", "thinking", "tool_calls"}
    for chunk in chunks:
        assert chunk["message"]["role"] == "assistant"
        assert isinstance(chunk["message"]["content"], str)
        assert isinstance(chunk["done"], bool)
        assert chunk["model"] == "clever"
        assert datetime.fromisoformat(chunk["created_at"])


@BOTH
def test_rule_4_no_error_key_while_all_is_well(server: FakeServer, path: str, body: dict[str, Any]) -> None:
    assert all('"error"' not in json.dumps(chunk) for chunk in lines(server.post(path, body)))


def test_rule_4_an_error_line_when_the_stream_dies(serve: Serve, models: Path) -> None:
    with serve(models=models, seconds=0.05) as server:
        with server.stream("/api/chat", {"model": "plain", "messages": said("x" * 200)}) as reply:
            found = reply.iter_lines()
            read = [json.loads(next(found))]
            kill(server.workers[0].pid)
            read += map(json.loads, found)
        assert [("error" in chunk) for chunk in read] == [False] * (len(read) - 1) + [True]
        assert not any(chunk.get("done") for chunk in read)


def test_rule_5_the_version_is_digits_and_dots_and_new_enough(server: FakeServer) -> None:
    version = server.get("/api/version")["version"]
    assert re.fullmatch(r"\d+(\.\d+)+", version)
    assert tuple(map(int, version.split("."))) >= NEWEST_MINIMUM
    assert "version" in server.get("/api/status")["corral"]
    assert server.ask("GET", "/").headers["Server"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/api/version", None, 200),
        ("GET", "/api/tags", None, 200),
        ("GET", "/api/ps", None, 200),
        ("GET", "/v1/models", None, 200),
        ("POST", "/api/show", {"model": "clever"}, 200),
        ("POST", "/api/chat", CHAT | {"stream": False}, 200),
        ("POST", "/api/generate", GENERATE | {"stream": False}, 200),
        ("POST", "/api/generate", {"model": "clever"}, 200),
        ("POST", "/api/embed", {"model": "embed", "input": "a"}, 200),
        ("POST", "/v1/chat/completions", CHAT, 200),
        ("POST", "/api/chat", b"{", 400),
        ("POST", "/api/chat", {"model": "nope", "messages": said("a")}, 404),
        ("POST", "/api/show", {"model": "nope"}, 404),
        ("DELETE", "/api/delete", {"model": "nope"}, 404),
        ("POST", "/api/embed", {"model": "plain", "input": "a"}, 501),
        ("POST", "/v1/chat/completions", {"model": "nope", "messages": said("a")}, 404),
        ("POST", "/v1/embeddings", b"", 400),
    ],
)
def test_rule_6_every_json_reply_says_that_it_is_one(
    server: FakeServer, method: str, path: str, body: object, status: int
) -> None:
    reply = server.ask(method, path, body)
    assert reply.status_code == status, reply.text
    assert reply.headers["Content-Type"].partition(";")[0] == "application/json"
    assert ("error" in reply.json()) == (status != 200)


@pytest.mark.parametrize("kind", ["text/event-stream", "text/plain; charset=utf-8", "x", "application/xml", None])
def test_rule_7_any_content_type_is_taken(server: FakeServer, kind: str | None) -> None:
    headers = {"Content-Type": kind} if kind else {}
    body = {"model": "plain", "messages": said("yes"), "stream": False}
    for path in ("/api/chat", "/v1/chat/completions"):
        assert server.ask("POST", path, body, **headers).status_code == 200
    assert server.ask("POST", "/api/show", {"name": "plain"}, **headers).status_code == 200


def test_rule_7_a_preflight_lets_the_usual_headers_pass(server: FakeServer) -> None:
    for method in ("POST", "DELETE"):
        asked = {"Origin": "http://localhost:1", "Access-Control-Request-Method": method}
        reply = server.ask("OPTIONS", "/api/chat", **asked, **{"Access-Control-Request-Headers": "accept"})
        assert reply.status_code == 204
        allowed = reply.headers["Access-Control-Allow-Headers"].lower().split(",")
        assert {"content-type", "accept", "authorization"} <= set(allowed)
        assert method in reply.headers["Access-Control-Allow-Methods"].split(",")


def test_rule_8_the_list_is_complete_and_typed(server: FakeServer, serve: Serve, tmp_path: Path) -> None:
    found = server.get("/api/tags")["models"]
    assert {one["name"] for one in found} == {f"{name}:latest" for name in ("clever", "plain", "fim", "jinja", "embed")}
    for one in found:
        assert one["model"] == one["name"]
        assert datetime.fromisoformat(one["modified_at"])
        assert type(one["size"]) is int
        assert re.fullmatch(r"[0-9a-f]{64}", one["digest"])
        details = one["details"]
        for name in ("parent_model", "format", "family", "parameter_size", "quantization_level"):
            assert isinstance(details[name], str)
        assert details["families"] == [details["family"]]
    with serve(models=tmp_path / "empty") as empty:
        assert empty.get("/api/tags") == {"models": []}


@pytest.mark.parametrize("name", ["clever", "plain", "fim", "jinja", "embed"])
@pytest.mark.parametrize("field", ["model", "name"])
def test_rule_9_show_tells_the_context_first(server: FakeServer, name: str, field: str) -> None:
    shown = server.post("/api/show", {field: name}).json()
    first, *others = [key for key in shown["model_info"] if "context_length" in key]
    assert first == f"{shown['model_info']['general.architecture']}.context_length"
    assert others, "a key that must not come first"
    assert isinstance(shown["capabilities"], list)


def test_rule_9_a_templates_text_is_shown_whoever_wrote_it(server: FakeServer) -> None:
    shown = server.post("/api/show", {"name": "jinja"}).json()
    assert "tools" in shown["template"]


def test_rule_10_a_smaller_context_loads_nothing_anew(serve: Serve, models: Path) -> None:
    with serve(models=models) as server:
        given: list[str] = []
        for options in ({"num_ctx": CONTEXT}, {"num_ctx": 256}, {}):
            body = {"model": "clever", "messages": said("yes"), "options": options}
            given.append(server.post("/api/chat", body).headers["X-Corral-Num-Ctx"])
        assert server.starts == ["clever:latest"]
        assert given[:2] == [str(CONTEXT), "256"]


def test_rule_10_what_does_not_fit_is_never_cut_in_silence(server: FakeServer) -> None:
    long = {"role": "user", "content": "word " * 100}
    body = {"model": "clever", "messages": [long, *said("yes")], "options": {"num_ctx": 256}}
    reply = server.post("/api/chat", body)
    assert "X-Corral-Truncated" in reply.headers
    assert "truncated" in lines(reply)[-1]
    refused = server.post("/api/chat", body | {"truncate": False})
    assert refused.status_code == 400


@pytest.mark.parametrize(
    "options",
    [
        {"repeat_penalty": 0},
        {"repeat_penalty": -2},
        {"frequency_penalty": -2, "presence_penalty": 0},
        {"tfs_z": 1, "mirostat": 0, "low_vram": True},
        {"max_retries": 3, "user": "ada", "temperature": None},
    ],
)
def test_rule_11_sloppy_numbers_do_not_kill(server: FakeServer, options: dict[str, object]) -> None:
    body = {"model": "plain", "messages": said("yes"), "stream": False, "options": options}
    reply = server.post("/api/chat", body)
    assert reply.status_code == 200, reply.text
    assert reply.json()["message"]["content"] == "yes"


@pytest.mark.parametrize("keep_alive", ["-1", "0", "300", "5m", -1, 300, 0.5])
def test_rule_11_keep_alive_in_any_spelling(server: FakeServer, keep_alive: object) -> None:
    body = {"model": "plain", "messages": said("yes"), "stream": False, "keep_alive": keep_alive}
    assert server.post("/api/chat", body).status_code == 200


def test_rule_13_the_root_and_the_lists_answer_while_a_model_loads(models: Path) -> None:
    loading, loaded = threading.Event(), threading.Event()

    async def start(name: str, _: str, options: LoadOptions) -> Worker:
        worker = await Worker.start(name, "fake:0", options)
        loading.set()
        while not loaded.is_set():
            await asyncio.sleep(0.01)
        return worker

    app = make_app(Store(models), EngineDefaults(), start=start)
    with running(app) as run, ThreadPoolExecutor(1) as pool:
        try:
            waiting = pool.submit(run.fake.post, "/api/chat", {"model": "plain", "messages": said("yes")})
            assert loading.wait(60)
            started = time.monotonic()
            for method in ("GET", "HEAD"):
                reply = run.fake.ask(method, "/")
                assert (reply.status_code, reply.text) == (200, "Ollama is running" if method == "GET" else "")
            for path in ("/api/tags", "/api/ps", "/api/version", "/v1/models"):
                assert run.fake.get(path)
            assert time.monotonic() - started < 3, "OpenHands gives up then"
            assert not waiting.done()
        finally:
            loaded.set()
        assert waiting.result(60).status_code == 200


def test_rule_14_it_says_that_it_listens(cli: Cli) -> None:
    port = free_port()
    process = subprocess.Popen(
        [CORRAL, "serve"],
        env=cli.environment | {"OLLAMA_HOST": f"127.0.0.1:{port}"},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        assert re.fullmatch(rf"Listening on 127\.0\.0\.1:{port} \(version \S+\)\n", process.stderr.readline())
    finally:
        process.terminate()
        process.wait(60)
        process.stderr.close()
