"""What the HTTP layer costs: requests a second of the listings by those of /api/version with 1,000 models, and how long the
very first listing takes; the server's CPU by its worker's for each token that is streamed, the time to the first byte by the
worker's own; and what 500 streams that wait for their turn take of memory, and add to the time of other requests.

Prints one JSON line. Limits: 50 listings a second; 100 MB for the streams that wait.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import os
import re
import statistics
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from corral.store.local import Store
from corral.store.manifest import SYSTEM, Manifest
from corral.store.name import Name
from engines import CORRAL, Seats, Trace, corral_worker, options, served_by, story

MODELS, WAITING, TOKENS = 1000, 500, 128
SECONDS = 3.0
_MB = 1e6


@contextmanager
def serving(model: Path, threads: int) -> Generator[tuple[int, psutil.Process]]:
    """A server with a model of these weights, and very many more of them, each with a name and a system text of its own."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            **os.environ,
            "HOME": folder,
            "OLLAMA_MODELS": f"{folder}/models",
            "OLLAMA_HOST": "127.0.0.1:0",
            "OLLAMA_MAX_QUEUE": str(2 * WAITING),
            "CORRAL_NUM_THREAD": str(threads),
        }
        create = [CORRAL, "create", "bench", "-f", "-"]
        subprocess.run(create, env=environment, input=f"FROM {model}\n".encode(), check=True, capture_output=True)
        add_models(Store(f"{folder}/models"))
        server = subprocess.Popen([CORRAL, "serve"], env=environment, stderr=subprocess.PIPE, text=True)
        try:
            assert server.stderr is not None
            address = re.match(r"Listening on 127\.0\.0\.1:(\d+) ", server.stderr.readline())
            assert address
            yield int(address[1]), psutil.Process(server.pid)
        finally:
            server.kill()
            server.communicate()


def add_models(store: Store) -> None:
    """As `create` would, but in no time."""
    first = store.find(Name.parse("bench")).manifest
    with store.writing():
        for number in range(1, MODELS):
            system = store.blobs.put(f"You are number {number}.".encode(), SYSTEM).blob
            store.tag(Name.parse(f"bench-{number}"), Manifest.build(first.config, [*first.layers, system]))


def listing(port: int) -> float:
    """Milliseconds of one, which must be whole."""
    started = time.perf_counter()
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/tags") as reply:
        assert len(json.load(reply)["models"]) == MODELS
    return 1000 * (time.perf_counter() - started)


def rate(port: int, path: str) -> float:
    """Requests a second, one after the other on one connection."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    count, started = 0, time.perf_counter()
    while time.perf_counter() - started < SECONDS or count < 2:
        connection.request("GET", path)
        reply = connection.getresponse()
        assert reply.status == 200, reply.status
        reply.read()
        count += 1
    connection.close()
    return count / (time.perf_counter() - started)


def cpu(processes: list[psutil.Process]) -> float:
    """Seconds they have computed, together."""
    return sum(sum(process.cpu_times()[:2]) for process in processes)


async def streaming(port: int, server: psutil.Process, model: Path, threads: int) -> dict[str, float]:
    """CPU by token, and the first byte, beside a worker alone."""
    engine, firsts = served_by(port), {"http": list[float](), "worker": list[float]()}
    await engine.answer(story(0), 4, Trace(time.perf_counter()))
    worker = server.children()
    before = cpu([server]), cpu(worker)
    for number in range(1, 5):
        trace = Trace(time.perf_counter())
        await engine.answer(story(number), TOKENS, trace)
        firsts["http"].append(trace.first)
    shares = cpu([server]) - before[0], cpu(worker) - before[1]
    async with corral_worker(Seats(model, threads, 4, 2048)) as alone:
        await alone.answer(story(0), 4, Trace(time.perf_counter()))
        for number in range(1, 5):
            trace = Trace(time.perf_counter())
            await alone.answer(story(number), TOKENS, trace)
            firsts["worker"].append(trace.first)
    return {
        "server_cpu/worker_cpu": round(shares[0] / shares[1], 3),
        "server_ms_per_token": round(1000 * shares[0] / (4 * TOKENS), 3),
        "first_byte/worker": round(statistics.median(firsts["http"]) / statistics.median(firsts["worker"]), 3),
    }


async def crowd(port: int, server: psutil.Process) -> dict[str, float]:
    """What streams that wait cost."""
    memory = server.memory_info().rss
    engine = served_by(port)
    waiting = [
        asyncio.create_task(engine.answer(story(number), 10_000, Trace(time.perf_counter())))
        for number in range(WAITING)
    ]
    try:
        while len(server.net_connections(kind="tcp4")) < WAITING:
            await asyncio.sleep(0.1)
        await asyncio.sleep(2)
        alone = await asyncio.to_thread(rate, port, "/api/version")
        grown = server.memory_info().rss - memory
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
    return {"waiting_mb": round(grown / _MB, 1), "version_ms": round(1000 / alone, 2)}


def measured(arguments: argparse.Namespace) -> dict[str, Any]:
    """Everything."""
    with serving(arguments.model, arguments.threads) as (port, server):
        rate(port, "/api/version")
        first = listing(port)
        rates = {path: rate(port, path) for path in ("/api/version", "/api/tags", "/v1/models")}
        found = asyncio.run(streaming(port, server, arguments.model, arguments.threads))
        waiting = asyncio.run(crowd(port, server))
    return {
        "requests_per_second": {path: round(number) for path, number in rates.items()},
        "tags/version": round(rates["/api/tags"] / rates["/api/version"], 4),
        "tags_per_second_limit": 50,
        "first_tags_ms": round(first),
        **found,
        **waiting,
        "waiting_mb_limit": 100,
        "version_ms_before": round(1000 / rates["/api/version"], 2),
    }


def main() -> None:
    """Measure and print."""
    arguments = options(__doc__ or "").parse_args()
    print(json.dumps({"bench": "api", "threads": arguments.threads, **measured(arguments)}))


if __name__ == "__main__":
    main()
