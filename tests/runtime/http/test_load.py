"""A server under load: clients that hang up, that send nonsense and that send too much, beside those who wait for answers."""

from __future__ import annotations

import contextlib
import json
import os
import random
import socket
import subprocess
import sys
import threading
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import requests

from tests.runtime.conftest import PATIENCE, FakeServer, eventually

SOAK = "CORRAL_SOAK" in os.environ
SEED = 8
CLIENTS = 8
COUNT = 10_000 if SOAK else 300
WARM = COUNT // 4
"""Requests after which memory is looked at for the first time."""
MORE_MEMORY = 1.05
TOO_MUCH = (128 << 20) + 1
PROGRAM = Path(__file__).parent / "fake_program.py"


@contextmanager
def serving(models: Path) -> Generator[tuple[FakeServer, psutil.Process]]:
    """A server in a process of its own."""
    command = [sys.executable, str(PROGRAM), str(models)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        port = int(process.stdout.readline())
        yield FakeServer(f"http://127.0.0.1:{port}"), psutil.Process(process.pid)
        process.communicate(timeout=PATIENCE)
    assert process.returncode == 0


def answered(url: str, word: str, path: str) -> None:
    """The right answer to one's own question."""
    body = {"model": "tiny", "messages": [{"role": "user", "content": f"say:{word};"}], "prompt": f"say:{word};"}
    reply = requests.post(url + path, json=body | {"stream": False}, timeout=PATIENCE)
    assert reply.status_code == 200, reply.text
    whole = reply.json()
    if path == "/v1/chat/completions":
        assert whole["choices"][0]["message"]["content"] == word
    else:
        assert (whole["response"] if path == "/api/generate" else whole["message"]["content"]) == word


def hung_up(port: int, chance: random.Random) -> None:
    """Gone at some point: before the request is whole, before the answer, or in its midst."""
    body = json.dumps({"model": "tiny", "prompt": "endless"}).encode()
    head = f"POST /api/generate HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
        whole = head + body
        connection.sendall(whole[: chance.choice([len(head) // 2, len(head), len(whole) - 3, *[len(whole)] * 5])])
        if chance.random() < 0.7:
            connection.settimeout(0.2)
            with contextlib.suppress(TimeoutError):
                for _ in range(chance.randrange(5)):
                    connection.recv(1 << 12)


def nonsense(url: str, chance: random.Random) -> None:
    """No request at all."""
    data = chance.choice([b"{", b"[1]", b'{"model": 5}', b"\xff\xfe", b"[" * 5000, b'{"model": "tiny"'])
    path = chance.choice(["/api/generate", "/api/chat", "/v1/chat/completions", "/v1/messages"])
    reply = requests.post(url + path, data=data, timeout=PATIENCE)
    assert reply.status_code == 400, reply.text
    assert "error" in reply.json()


def too_much(port: int) -> None:
    """A body larger than any may be; it is refused by what it says of itself, or when so much has come."""
    head = f"POST /api/chat HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {TOO_MUCH}\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
        connection.sendall(head)
        with contextlib.suppress(ConnectionError):  # it may hang up while this sends
            for _ in range(TOO_MUCH >> 20):
                connection.sendall(bytes(1 << 20))
            connection.sendall(b" ")
            assert connection.recv(1 << 12).startswith(b"HTTP/1.1 413 ")


def memory_of(process: psutil.Process) -> int:
    """Bytes of the server and its workers."""
    return sum(one.memory_info().rss for one in [process, *process.children(recursive=True)])


@pytest.mark.soak
def test_a_crowd_leaves_nothing_behind(fake_models: Path) -> None:
    numbers = iter(range(COUNT))
    guard = threading.Lock()
    sizes: list[int] = []
    with serving(fake_models) as (server, process):
        port = int(server.url.rpartition(":")[2])

        def client(number: int) -> None:
            chance = random.Random(SEED * 1000 + number)
            while True:
                with guard:
                    done = next(numbers, None)
                    if done == WARM:
                        sizes.append(memory_of(process))
                if done is None:
                    return
                kind = chance.random()
                if done % 250 == 9:
                    too_much(port)
                elif kind < 0.33:
                    hung_up(port, chance)
                elif kind < 0.45:
                    nonsense(server.url, chance)
                else:
                    word = f"answer {done} to {number}"
                    answered(server.url, word, chance.choice(["/api/generate", "/api/chat", "/v1/chat/completions"]))

        with ThreadPoolExecutor(CLIENTS) as pool:
            list(pool.map(client, range(CLIENTS)))

        def is_calm() -> bool:
            figures = requests.get(server.url + "/metrics", timeout=PATIENCE).text.splitlines()
            return {"corral_requests_waiting 0", "corral_requests_running 0"} <= set(figures)

        eventually(is_calm)
        for number in range(8):  # all slots are free
            answered(server.url, f"after all {number}", "/api/chat")
        sizes.append(memory_of(process))
    assert not SOAK or sizes[1] < MORE_MEMORY * sizes[0], sizes
