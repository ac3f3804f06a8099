"""Engines side by side: Corral's worker alone, Corral by HTTP and llama-server, each as something that streams an answer.

All get the same file, the same raw prompts and the same number of threads. What is compared is measured by turns in one
run, so that all meet the same machine.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import math
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from corral.runtime.engine.process import Worker
from corral.runtime.engine.protocol import Chunk, LoadOptions, Sampling

CORRAL = Path(sys.executable).parent / "corral"
MODEL = (Path(__file__).parent.parent / "build" / "models" / "SmolLM2-135M-Instruct.Q4_1.gguf").resolve()
_TOPICS = [
    "dragon",
    "river",
    "clock",
    "garden",
    "winter",
    "letter",
    "engine",
    "island",
    "mirror",
    "forest",
    "tower",
    "painter",
    "sailor",
    "bridge",
    "lantern",
    "map",
]
_PLACES = ["old", "quiet", "northern", "hidden", "crowded", "golden", "broken", "distant"]


@dataclass(slots=True)
class Trace:
    """One answer as its reader saw it; times are perf_counter's."""

    started: float
    times: list[float] = field(default_factory=list[float])
    """When each piece of text came."""
    tokens: int = 0

    @property
    def first(self) -> float:
        """Seconds to the first text."""
        return self.times[0] - self.started if self.times else math.inf

    @property
    def gaps(self) -> list[tuple[float, float]]:
        """For each piece but the first: when it came, and seconds since the one before."""
        return [(later, later - earlier) for earlier, later in zip(self.times, self.times[1:], strict=False)]


class Engine(Protocol):
    """Something that answers prompts."""

    async def answer(self, prompt: str, tokens: int, trace: Trace) -> None:
        """Stream a greedy answer into the trace."""
        ...


class CorralWorker:
    """The worker process without a server."""

    def __init__(self, worker: Worker, num_ctx: int) -> None:
        self._worker = worker
        self._num_ctx = num_ctx

    async def answer(self, prompt: str, tokens: int, trace: Trace) -> None:
        """See Engine."""
        replies = self._worker.generate(
            prompt,
            sampling=Sampling(temperature=0, repeat_penalty=1),
            stop=[],
            num_predict=tokens,
            num_ctx=self._num_ctx,
            num_keep=0,
        )
        async for reply in replies:
            if isinstance(reply, Chunk):
                trace.times.append(time.perf_counter())
            else:
                trace.tokens = reply.tokens


@dataclass(frozen=True, slots=True)
class HttpEngine:
    """A server: what it is asked, and how it says that it is done."""

    port: int
    path: str
    body: Callable[[str, int], dict[str, Any]]
    text: str
    """The field with the text."""
    tokens: Callable[[dict[str, Any]], int]
    """The tokens of the answer, in the last message."""

    async def answer(self, prompt: str, tokens: int, trace: Trace) -> None:
        """See Engine."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 24)
        body = json.dumps(self.body(prompt, tokens)).encode()
        head = (
            f"POST {self.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nConnection: close\r\n"
        )
        writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        last: dict[str, Any] = {}
        try:
            while line := await reader.readline():  # NDJSON and SSE alike; the rest is headers and chunk sizes
                message = line.removeprefix(b"data: ").strip()
                if message.startswith(b"{"):
                    last = json.loads(message)
                    assert "error" not in last, last
                    if last.get(self.text):
                        trace.times.append(time.perf_counter())
        finally:
            writer.close()
        trace.tokens = self.tokens(last)


def served_by(port: int) -> HttpEngine:
    """Corral, with the model `bench`, asked without a template."""
    return HttpEngine(
        port=port,
        path="/api/generate",
        body=lambda prompt, tokens: {
            "model": "bench",
            "prompt": prompt,
            "raw": True,
            "options": {"temperature": 0, "repeat_penalty": 1, "num_predict": tokens},
        },
        text="response",
        tokens=lambda last: last["eval_count"],
    )


@dataclass(frozen=True, slots=True)
class Seats:
    """How every engine is started."""

    model: Path
    threads: int
    slots: int
    num_ctx: int
    """Context per slot, in tokens."""


@asynccontextmanager
async def corral_worker(seats: Seats) -> AsyncGenerator[Engine]:
    """A worker of this process's own."""
    options = LoadOptions(num_ctx=seats.num_ctx, slots=seats.slots, num_thread=seats.threads)
    worker = await Worker.start("bench", str(seats.model), options)
    try:
        yield CorralWorker(worker, seats.num_ctx)
    finally:
        await worker.close()


@asynccontextmanager
async def corral_server(seats: Seats) -> AsyncGenerator[Engine]:
    """`corral serve` with the model in a store of its own."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            **os.environ,
            "HOME": folder,
            "OLLAMA_MODELS": f"{folder}/models",
            "OLLAMA_HOST": "127.0.0.1:0",
            "OLLAMA_NUM_PARALLEL": str(seats.slots),
            "OLLAMA_CONTEXT_LENGTH": str(seats.num_ctx),
            "OLLAMA_KEEP_ALIVE": "-1",
            "CORRAL_NUM_THREAD": str(seats.threads),
        }
        create = [CORRAL, "create", "bench", "-f", "-"]
        subprocess.run(create, env=environment, input=f"FROM {seats.model}\n".encode(), check=True, capture_output=True)
        server = subprocess.Popen([CORRAL, "serve"], env=environment, stderr=subprocess.PIPE, text=True)
        try:
            assert server.stderr is not None
            address = re.match(r"Listening on 127\.0\.0\.1:(\d+) ", server.stderr.readline())
            assert address
            yield served_by(int(address[1]))
        finally:
            _end(server)


@asynccontextmanager
async def llama_server(seats: Seats, program: Path, *extra: str) -> AsyncGenerator[Engine]:
    """llama.cpp's own server."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    threads = str(seats.threads)
    sizes = ["-c", str(seats.num_ctx * seats.slots), "-np", str(seats.slots), "-t", threads, "-tb", threads]
    command = [program, "-m", seats.model, *sizes, *extra, "--host", "127.0.0.1", "--port", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        await _until_healthy(server, port)
        yield HttpEngine(
            port=port,
            path="/completion",
            body=lambda prompt, tokens: {"prompt": prompt, "n_predict": tokens, "temperature": 0, "stream": True},
            text="content",
            tokens=lambda last: last["tokens_predicted"],
        )
    finally:
        _end(server)


async def _until_healthy(server: subprocess.Popen[bytes], port: int) -> None:
    while True:
        assert server.poll() is None, "llama-server ended before it was ready"
        with contextlib.suppress(OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
            answer = await reader.readline()
            writer.close()
            if b" 200 " in answer:
                return
        await asyncio.sleep(0.1)


def _end(server: subprocess.Popen[Any]) -> None:
    server.terminate()
    try:
        server.wait(30)
    finally:
        server.kill()
        if server.stderr:
            server.stderr.close()


async def started(stack: AsyncExitStack, seats: Seats, llama: Path | None, *extra: str) -> dict[str, Engine]:
    """All of them, each with one answer given, by their names in what is printed."""
    engines = {
        "worker": await stack.enter_async_context(corral_worker(seats)),
        "http": await stack.enter_async_context(corral_server(seats)),
    }
    if llama:
        engines["llama_server"] = await stack.enter_async_context(llama_server(seats, llama, *extra))
    for engine in engines.values():
        await engine.answer("Once upon a time", 4, Trace(time.perf_counter()))
    return engines


async def answers(engine: Engine, prompts: Sequence[str], tokens: int) -> list[Trace]:
    """All prompts at once."""
    traces = [Trace(time.perf_counter()) for _ in prompts]
    await asyncio.gather(*(engine.answer(p, tokens, trace) for p, trace in zip(prompts, traces, strict=True)))
    return traces


def story(number: int, turn: int = 0) -> str:
    """A beginning of about 45 tokens, another for each number and turn, of a story that goes on for long."""
    topic, place = _TOPICS[number % len(_TOPICS)], _PLACES[(number // len(_TOPICS) + turn) % len(_PLACES)]
    return (
        f"Chapter {number + 1}, part {turn + 1}. The {place} {topic}\n\nEverybody in the {place} village knew the story of "
        f"the {topic}, but nobody had ever told it from its beginning to its end. One evening late in autumn"
    )


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of them does not exceed."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def options(description: str) -> argparse.ArgumentParser:
    """What all the benches take."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--model", type=Path, default=MODEL)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--llama-server", type=Path, metavar="PATH")
    return parser
