"""The registry server against Debian's docker-registry in the same run: bytes a second pushed and pulled of a large blob by 1
and 8 clients, requests a second of a small manifest, and the server's peak memory.

Prints one JSON line. Aims: at or above docker-registry for bytes, half of it or more for small requests. Limit: 150 MB.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

CORRAL = Path(sys.executable).parent / "corral"
TYPE = "application/vnd.oci.image.manifest.v1+json"
CLIENTS, SECONDS = (1, 8), 3.0
PEAK = 150e6
_PIECE = 1 << 20


@contextmanager
def ours(folder: Path) -> Generator[tuple[int, int]]:
    """Port and process of our server."""
    environment = {**os.environ, "HOME": str(folder), "OLLAMA_MODELS": str(folder / "models")}
    command = [CORRAL, "registry", "serve", "--host", "127.0.0.1:0"]
    server = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        assert server.stderr is not None
        address = re.search(r"127\.0\.0\.1:(\d+)", server.stderr.readline())
        assert address
        yield int(address[1]), server.pid
    finally:
        server.terminate()
        server.communicate()


@contextmanager
def dockers(folder: Path) -> Generator[tuple[int, int]]:
    """The same of docker-registry's."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    config = folder / "config.yml"
    config.write_text(
        f"version: 0.1\nlog: {{level: error}}\nhttp: {{addr: '127.0.0.1:{port}'}}\n"
        f"storage: {{filesystem: {{rootdirectory: {folder / 'data'}}}}}\n"
    )
    program = shutil.which("docker-registry")
    if not program:
        sys.exit(
            "no docker-registry on this machine: `make registry` unpacks Debian's; put build/tools/usr/bin on PATH"
        )
    server = subprocess.Popen([program, "serve", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                time.sleep(0.05)
        yield port, server.pid
    finally:
        server.terminate()
        server.wait()


def upload(connection: HTTPConnection, repository: str, digest: str) -> str:
    """Begin an upload; where the blob goes."""
    connection.request("POST", f"/v2/{repository}/blobs/uploads/")
    reply = connection.getresponse()
    reply.read()
    where = urlsplit(reply.headers["Location"])
    return f"{where.path}?{f'{where.query}&digest={digest}'.lstrip('&')}"


def push(port: int, repository: str, blob: Path, digest: str) -> None:
    """Send a blob in one request, its bytes by the kernel."""
    connection = HTTPConnection("127.0.0.1", port)
    connection.putrequest("PUT", upload(connection, repository, digest))
    connection.putheader("Content-Length", str(blob.stat().st_size))
    connection.putheader("Content-Type", "application/octet-stream")
    connection.endheaders()
    with blob.open("rb") as file:
        connection.sock.sendfile(file)
    reply = connection.getresponse()
    assert reply.status == 201, (reply.status, reply.read())
    reply.read()
    connection.close()


def pull(port: int, repository: str, digest: str, size: int) -> None:
    """Fetch a blob, and look at none of it."""
    connection = HTTPConnection("127.0.0.1", port)
    connection.request("GET", f"/v2/{repository}/blobs/{digest}")
    reply = connection.getresponse()
    assert reply.status == 200, reply.status
    buffer, came = bytearray(_PIECE), 0
    while count := reply.readinto(buffer):
        came += count
    assert came == size
    connection.close()


def together(count: int, work: Callable[[int], None]) -> float:
    """Seconds that so many clients take at once."""
    failed: list[BaseException] = []

    def run(number: int) -> None:
        try:
            work(number)
        except BaseException as error:  # noqa: BLE001 raised below
            failed.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
    return time.perf_counter() - started


def requests_a_second(port: int, repository: str) -> float:
    """Of a small manifest, one after the other on one connection."""
    connection, config = HTTPConnection("127.0.0.1", port), b"{}"
    digest = f"sha256:{hashlib.sha256(config).hexdigest()}"
    connection.request("PUT", upload(connection, repository, digest), config)
    connection.getresponse().read()
    descriptor = {"mediaType": "application/vnd.oci.empty.v1+json", "digest": digest, "size": len(config)}
    manifest = {"schemaVersion": 2, "mediaType": TYPE, "config": descriptor, "layers": [descriptor]}
    path = f"/v2/{repository}/manifests/v1"
    connection.request("PUT", path, json.dumps(manifest), {"Content-Type": TYPE})
    reply = connection.getresponse()
    assert reply.status == 201, reply.read()
    reply.read()
    count, started = 0, time.perf_counter()
    while time.perf_counter() - started < SECONDS:
        connection.request("GET", path, headers={"Accept": TYPE})
        reply = connection.getresponse()
        assert reply.status == 200
        reply.read()
        count += 1
    connection.close()
    return count / (time.perf_counter() - started)


def peak(pid: int) -> float:
    """The most memory that a process had, in bytes."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) * 1024


def measure(port: int, blobs: list[tuple[Path, str]], turn: int) -> dict[str, float]:
    """One round: MB/s by clients, and requests a second."""
    found: dict[str, float] = {}
    size = blobs[0][0].stat().st_size
    for clients in CLIENTS:
        repository = f"bench/of{clients}/{turn}"
        share = blobs[:clients]
        found[f"push_{clients}"] = (
            sum(path.stat().st_size for path, _ in share)
            / together(clients, lambda number: push(port, repository, *share[number]))  # noqa: B023 joined at once
            / 1e6
        )
        found[f"pull_{clients}"] = (
            size
            * clients
            / together(clients, lambda number: pull(port, repository, share[0][1], size))  # noqa: B023, ARG005
            / 1e6
        )
    found["manifests"] = requests_a_second(port, f"bench/small/{turn}")
    return found


def blobs_of(folder: Path, size: int, turn: int) -> list[tuple[Path, str]]:
    """A large blob and seven of an eighth, all random."""
    found: list[tuple[Path, str]] = []
    for number in range(max(CLIENTS)):
        path = folder / f"blob{number}"
        hashed = hashlib.sha256()
        with path.open("wb") as file:
            block = os.urandom(_PIECE)
            for piece in range((size if number == 0 else size // 8) // _PIECE):
                data = b"%16d%16d" % (turn, piece) + block[32:]
                hashed.update(data)
                file.write(data)
        found.append((path, f"sha256:{hashed.hexdigest()}"))
    return found


def main() -> None:
    """All rounds, the two servers in turns."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int, default=1000, help="of the blob, in MiB")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    rounds: dict[str, list[dict[str, float]]] = {"corral": [], "docker": []}
    most = 0.0
    for turn in range(options.rounds):
        for who, server in (("corral", ours), ("docker", dockers)):
            with tempfile.TemporaryDirectory() as text:
                folder = Path(text)
                blobs = blobs_of(folder, options.size << 20, turn)
                (folder / "server").mkdir()
                with server(folder / "server") as (port, pid):
                    rounds[who].append(measure(port, blobs, turn))
                    most = max(most, peak(pid)) if who == "corral" else most
    median = {
        who: {key: statistics.median(one[key] for one in all_) for key in all_[0]} for who, all_ in rounds.items()
    }
    ratios = {key: round(median["corral"][key] / median["docker"][key], 2) for key in median["corral"]}
    rounded = {who: {key: round(value) for key, value in found.items()} for who, found in median.items()}
    print(json.dumps({"bench": "registry", "ratios": ratios, "peak_mb": round(most / 1e6, 1), **rounded}))
    if most > PEAK:
        sys.exit(f"the server took {most / 1e6:.0f} MB, at most {PEAK / 1e6:.0f} are allowed")


if __name__ == "__main__":
    main()
