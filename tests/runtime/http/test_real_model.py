"""The real server with a real model: what the double cannot show."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from tests.conftest import CORRAL, Cli, free_port, serving
from tests.runtime.conftest import PATIENCE, FakeServer, Serve, eventually, kill

ENDLESS = {"model": "smol", "prompt": "1, 2, 3, 4, 5, 6,", "raw": True, "options": {"num_ctx": 8192}}
HELLO = {"model": "smol", "prompt": "Say hello.", "stream": False, "options": {"num_predict": 4}}


@pytest.fixture(scope="module")
def real(models_folder: Path) -> Generator[FakeServer]:
    """`corral serve` with one slot."""
    with serving(Cli(models_folder, models_folder.parent), OLLAMA_NUM_PARALLEL="1") as url:
        yield FakeServer(url)


def worker_of(server: FakeServer) -> psutil.Process:
    """The worker process of a server that is one of our children."""
    address = server.url.removeprefix("http://")
    (process,) = [p for p in psutil.Process().children() if p.environ().get("OLLAMA_HOST") == address]
    (worker,) = [child for child in process.children() if "corral.runtime.engine.worker" in child.cmdline()]
    return worker


def is_resting(process: psutil.Process) -> bool:
    """Whether the process computes nothing."""
    before = process.cpu_times()
    time.sleep(0.3)
    return process.cpu_times().user - before.user < 0.1


def test_a_stream_left_early_frees_the_only_slot(real: FakeServer) -> None:
    with real.stream("/api/generate", ENDLESS) as reply:
        assert json.loads(next(reply.iter_lines()))["response"]
    assert real.post("/api/generate", HELLO).json()["eval_count"] > 0
    assert [entry["name"] for entry in real.get("/api/ps")["models"]] == ["smol:latest"]
    assert real.get("/api/tags")["models"]
    worker = worker_of(real)
    eventually(lambda: is_resting(worker))


def test_error_a_model_killed_in_a_stream_is_an_error_line_and_the_next_is_served(real: FakeServer) -> None:
    with real.stream("/api/generate", ENDLESS) as reply:
        lines = reply.iter_lines()
        assert json.loads(next(lines))["response"]
        kill(worker_of(real).pid)
        *_, last = lines
    assert "unexpectedly stopped: signal: SIGKILL" in json.loads(last)["error"]
    assert real.post("/api/generate", HELLO).json()["eval_count"] > 0
    assert real.ask("GET", "/").text == "Ollama is running"


def test_what_is_shown_is_what_the_model_reads_and_no_token_too_many(real: FakeServer) -> None:
    numbers = [f"{i}, " * 5 for i in range(60)]
    messages = [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(numbers[:-1])]

    def shown(num_ctx: int) -> str:
        body = {"model": "smol", "messages": messages, "_debug_render_only": True, "options": {"num_ctx": num_ctx}}
        return real.post("/api/chat", body).json()["_debug_info"]["rendered_template"]

    options = {"num_ctx": 512, "num_predict": 3}
    whole = real.post("/api/chat", {"model": "smol", "messages": messages, "stream": False, "options": options}).json()
    text = shown(512)
    raw = {"model": "smol", "prompt": text, "raw": True, "stream": False, "options": options}
    again = real.post("/api/generate", raw).json()
    assert whole["message"]["content"] == again["response"]
    tokens = whole["prompt_eval_count"]
    assert 400 < tokens == again["prompt_eval_count"] < 512
    assert "You are a helpful assistant." in text
    assert numbers[0] not in text
    assert numbers[-2] in text
    assert shown(tokens + 1) == text  # one is left to the answer
    assert len(shown(tokens)) < len(text)


def test_a_call_that_is_required_comes_in_whatever_form_the_model_has(
    serve: Serve, smollm2: Path, tmp_path: Path
) -> None:
    cli = Cli(tmp_path / "models", tmp_path)
    template = (
        "{{ if .Tools }}<|start|>developer<|message|>{{ .Tools }}<|end|>{{ end }}"
        "{{ range .Messages }}<|start|>{{ .Role }}<|channel|>final<|message|>{{ .Content }}<|end|>{{ end }}<|start|>assistant"
    )
    cli.ok("create", "harmony", "-f", "-", stdin=f'FROM {smollm2}\nTEMPLATE """{template}"""\n')
    city = {"properties": {"city": {"enum": ["Ulm", "Bonn"]}}, "required": ["city"], "additionalProperties": False}
    tools = [{"type": "function", "function": {"name": name, "parameters": city}} for name in ("rain", "snow")]
    body = {"model": "harmony", "messages": [{"role": "user", "content": "Hello!"}], "tools": tools, "temperature": 0}
    with serve(models=cli.models, is_real=True, num_thread=1) as server:
        for choice, names in (("required", ("rain", "snow")), (tools[1], ("snow",))):
            (answer,) = server.post("/v1/chat/completions", body | {"tool_choice": choice}).json()["choices"]
            (call,) = answer["message"]["tool_calls"]
            assert call["function"]["name"] in names
            assert json.loads(call["function"]["arguments"])["city"] in ("Ulm", "Bonn")
        described = [{"name": name, "input_schema": city} for name in ("rain", "snow")]
        (used,) = server.post(
            "/v1/messages", body | {"tools": described, "tool_choice": {"type": "any"}, "max_tokens": 99}
        ).json()["content"]
        assert used["name"] in ("rain", "snow")
        assert used["input"]["city"] in ("Ulm", "Bonn")


def test_strange_load_options_are_an_answer(real: FakeServer) -> None:
    for options in (
        {"num_thread": 10**6},
        {"num_batch": 1},
        {"num_batch": -1},
        {"num_ctx": 10**9, "num_batch": 10**9},
        {"num_gpu": -(10**12)},
    ):
        body = HELLO | {"options": {"num_predict": 2, "repeat_last_n": 2 * 10**9, "repeat_penalty": 1.1, **options}}
        assert real.post("/api/generate", body).json()["eval_count"] == 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_every_request_with_an_error_and_the_server_without_a_trace(
    models_folder: Path, number: signal.Signals
) -> None:
    port = free_port()
    environment = Cli(models_folder, models_folder.parent).environment | {"OLLAMA_HOST": f"127.0.0.1:{port}"}
    with subprocess.Popen([CORRAL, "serve"], env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("Listening on ")
        server = FakeServer(f"http://127.0.0.1:{port}")
        chat = {"model": "smol", "messages": [{"role": "user", "content": "Count to a million."}], "stream": True}
        asked = {"/api/generate": ENDLESS, "/api/chat": chat, "/v1/chat/completions": chat}
        streams = [server.stream(path, body) for path, body in asked.items()]
        begun = [reply.iter_lines() for reply in streams]
        assert all(next(lines) for lines in begun)
        workers = psutil.Process(process.pid).children()
        with socket.create_connection(("127.0.0.1", port)) as half_a_request:
            half_a_request.sendall(b"POST /api/chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{")
            server.get("/api/version")
            process.send_signal(number)
            lasts = [[line for line in lines if line][-1].removeprefix(b"data: ") for lines in begun]
            said = process.stderr.read()
        assert process.wait(PATIENCE) == 0
    errors = [json.loads(last)["error"] for last in lasts]
    assert [error if isinstance(error, str) else error["message"] for error in errors] == [
        "server is shutting down"
    ] * 3
    assert said in ("", "stopped\n")
    assert not any(worker.is_running() for worker in workers)


def test_error_weights_the_engine_refuses_are_an_error_and_the_server_goes_on(serve: Serve) -> None:
    with serve(is_real=True) as server:
        for path in ("/api/generate", "/api/chat", "/v1/chat/completions"):
            body = {"model": "tiny", "prompt": "hi", "messages": [{"role": "user", "content": "hi"}]}
            reply = server.post(path, body)
            assert reply.status_code == 500
            assert "model 'tiny:latest' cannot be loaded: " in reply.text
        assert server.get("/api/ps") == {"models": []}
        assert len(server.get("/api/tags")["models"]) == 3


def test_deterministic_answers_do_not_depend_on_company(models_folder: Path) -> None:
    prompts = ["Once upon a time", "The three largest cities are", "def main():", "1, 2, 3,"]

    with serving(Cli(models_folder, models_folder.parent), CORRAL_DETERMINISTIC="1") as url:
        server = FakeServer(url)

        def answer(prompt: str) -> str:
            options = {"num_predict": 12, "temperature": 0.8, "seed": 5}
            body = {"model": "smol", "prompt": prompt, "raw": True, "stream": False, "options": options}
            return server.post("/api/generate", body).json()["response"]

        alone = [answer(prompt) for prompt in prompts]
        with ThreadPoolExecutor(len(prompts)) as pool:
            assert list(pool.map(answer, prompts)) == alone


@pytest.mark.parametrize("asked", [{}, {"seed": 7}])
def test_several_answers_differ_though_the_seed_is_given(
    serve: Serve, smollm2: Path, tmp_path: Path, asked: dict[str, int]
) -> None:
    cli = Cli(tmp_path / "models", tmp_path)
    modelfile = f"FROM {smollm2}\nPARAMETER seed 5\nPARAMETER temperature 2\nPARAMETER num_predict 12\n"
    cli.ok("create", "seeded", "-f", "-", stdin=modelfile)
    body = {"model": "seeded", "messages": [{"role": "user", "content": "Tell me a story."}], "n": 3, **asked}
    with serve(models=cli.models, is_real=True, num_thread=1) as server:
        choices = server.post("/v1/chat/completions", body).json()["choices"]
    assert len({choice["message"]["content"] for choice in choices}) == 3
