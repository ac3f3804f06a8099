"""How long two concurrent streams take through `corral serve`, as a ratio to one stream's time in the same run.

Prints one JSON line. Limit: 1.75; 2 would be no gain from sharing a decode.
"""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import requests

ROUNDS = 7
TOKENS = 96
CORRAL = Path(sys.executable).parent / "corral"
MODEL = Path(__file__).parent.parent / "build" / "models" / "SmolLM2-135M-Instruct.Q4_1.gguf"


def stream(url: str, topic: str) -> None:
    """One answer, read to its end."""
    body = {
        "model": "smol",
        "messages": [{"role": "user", "content": f"Tell me a long story about {topic}."}],
        "options": {"temperature": 0, "num_predict": TOKENS},
    }
    with requests.post(f"{url}/api/chat", json=body, stream=True, timeout=600) as reply:
        last = json.loads(list(reply.iter_lines())[-1])
    assert (last["done"], last["eval_count"]) == (True, TOKENS), last


def seconds(url: str, topics: list[str]) -> float:
    """Ask for all topics at once; the time until the last answer is complete."""
    threads = [threading.Thread(target=stream, args=(url, topic)) for topic in topics]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - started


def main() -> None:
    """Measure by turns, so that both meet the same machine."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "HOME": folder, "OLLAMA_MODELS": f"{folder}/models", "OLLAMA_HOST": "127.0.0.1:0"}
        create = [CORRAL, "create", "smol", "-f", "-"]
        subprocess.run(create, env=environment, input=f"FROM {MODEL}\n".encode(), check=True, capture_output=True)
        server = subprocess.Popen([CORRAL, "serve"], env=environment, stderr=subprocess.PIPE, text=True)
        try:
            assert server.stderr is not None
            address = re.match(r"Listening on (\S+) ", server.stderr.readline())
            assert address
            url = f"http://{address[1]}"
            stream(url, "rain")  # loads
            times: dict[str, list[float]] = {"one": [], "two": []}
            for _ in range(ROUNDS):
                times["one"].append(seconds(url, ["a dragon"]))
                times["two"].append(seconds(url, ["a dragon", "the sea"]))
        finally:
            server.terminate()
            server.wait(30)
    medians = {name: statistics.median(values) for name, values in times.items()}
    ratio = medians["two"] / medians["one"]
    print(
        json.dumps(
            {
                "bench": "concurrency",
                "ratio": round(ratio, 2),
                "limit": 1.75,
                "cores": os.cpu_count(),
                **{name: round(value, 3) for name, value in medians.items()},
            }
        )
    )


if __name__ == "__main__":
    main()
