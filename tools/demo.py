"""The main job, shown with the command line: create, show, push, rm, gc, pull, serve, ask over HTTP, stop.

It uses a store and ports of its own and leaves nothing running.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import requests

ROOT = Path(__file__).parent.parent
CORRAL = Path(sys.executable).parent / "corral"


def corral(*arguments: str, env: dict[str, str]) -> str:
    """Print a command as a user would type it, run it, show its output and return it."""
    print(f"\n$ corral {shlex.join(arguments)}", flush=True)
    done = subprocess.run([CORRAL, *arguments], cwd=ROOT, env=env, check=True, stdout=subprocess.PIPE, text=True)
    print(done.stdout, end="", flush=True)
    return done.stdout


def free_port() -> int:
    """A port nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@contextmanager
def running(
    command: list[str | Path], log: Path, env: dict[str, str] | None = None
) -> Generator[subprocess.Popen[bytes]]:
    """A server while the block runs; its output goes to `log`."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=env)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Until the server answers; its log is the error when it does not."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            requests.get(url, timeout=5)
        except requests.ConnectionError:
            time.sleep(0.05)
        else:
            return
    sys.exit(f"{url} does not answer:\n{log.read_text()}")


def ship(env: dict[str, str], folder: Path) -> None:
    """Push to a registry, of another store; remove, collect, pull back."""
    port = free_port()
    there = env | {"OLLAMA_MODELS": str(folder / "shared")}
    log = folder / "registry.log"
    print(f"\n$ OLLAMA_MODELS=shared corral registry serve --host 127.0.0.1:{port} &", flush=True)
    with running([CORRAL, "registry", "serve", "--host", f"127.0.0.1:{port}"], log, there) as process:
        wait_for(f"http://127.0.0.1:{port}/v2/", process, log)
        print(log.read_text(), end="")
        remote = f"127.0.0.1:{port}/crew/pirate:v1"
        corral("cp", "pirate", remote, env=env)
        pushed = corral("push", remote, env=env)
        corral("rm", "pirate", remote, env=env)
        corral("gc", env=env)
        pulled = corral("pull", remote, env=env)
        if pulled != pushed:
            sys.exit("the digest pulled is not the digest pushed")
        print("# digest-identical")
        corral("cp", remote, "pirate", env=env)


def ask(url: str, question: str) -> None:
    """Stream one answer over HTTP."""
    body = {"model": "pirate", "messages": [{"role": "user", "content": question}]}
    print(f"\n$ curl -N {url}/api/chat -d {shlex.quote(json.dumps(body))}", flush=True)
    last: dict[str, int] = {}
    with requests.post(f"{url}/api/chat", json=body, stream=True, timeout=300) as reply:
        reply.raise_for_status()
        for line in reply.iter_lines(chunk_size=None):
            chunk = json.loads(line)
            if "error" in chunk:
                sys.exit(chunk["error"])
            print(chunk["message"]["content"], end="", flush=True)
            last = chunk
    speed = last["eval_count"] / last["eval_duration"] * 1e9
    print(f"\n# {last['eval_count']} tokens, {speed:.1f} tokens/s")


def main() -> None:
    """Everything, in order."""
    # An end from outside runs the same clean-up as Ctrl-C and a failure do.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    with tempfile.TemporaryDirectory(prefix="corral-demo-") as name:
        folder = Path(name)
        port = free_port()
        # What the user has set for a store and server of their own must not reach the demo's.
        env = {name: value for name, value in os.environ.items() if not name.startswith(("OLLAMA_", "CORRAL_"))}
        env |= {"OLLAMA_MODELS": str(folder / "models"), "OLLAMA_HOST": f"127.0.0.1:{port}"}
        corral("create", "pirate", "-f", "examples/pirate/Modelfile", env=env)
        corral("show", "pirate", env=env)
        ship(env, folder)
        corral("list", env=env)
        print(f"\n$ OLLAMA_HOST=127.0.0.1:{port} corral serve &", flush=True)
        log = folder / "serve.log"
        with running([CORRAL, "serve"], log, env) as process:
            wait_for(f"http://127.0.0.1:{port}/", process, log)
            print(log.read_text(), end="")
            ask(f"http://127.0.0.1:{port}", "Where did you bury the treasure?")
            corral("ps", env=env)
            corral("stop", "pirate", env=env)
    print("\n# done; nothing is left running")


if __name__ == "__main__":
    main()
