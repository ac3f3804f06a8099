"""A proxy in the environment is for other machines, as in Go: this machine's server and registry are reached directly."""

from __future__ import annotations

import json
import socket
import threading
from pathlib import Path

import pytest

from tests.conftest import Cli, DockerRegistry

NOBODY = "http://127.0.0.1:1"


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "all_proxy"])
def test_the_local_server_is_asked_directly(cli: Cli, served_url: str, variable: str) -> None:
    assert "models" in json.loads(cli.ok("ps", "--json", OLLAMA_HOST=served_url, **{variable: NOBODY}))


def test_a_local_registry_is_asked_directly(cli: Cli, tiny_gguf: Path, docker_registry: DockerRegistry) -> None:
    name = f"{docker_registry.host}/crew/proxy:v1"
    cli.ok("create", name, "-f", "-", stdin=f"FROM {tiny_gguf}\n")
    pushed = cli.ok("push", name, http_proxy=NOBODY)
    cli.ok("rm", name)
    assert cli.ok("pull", name, http_proxy=NOBODY) == pushed


def test_error_another_machines_server_is_asked_by_the_proxy(cli: Cli) -> None:
    asked: list[bytes] = []

    def refuse(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            asked.append(connection.recv(1 << 16))
            connection.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        proxy = threading.Thread(target=refuse, args=(listener,), daemon=True)
        proxy.start()
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        said = cli.error(4, "ps", OLLAMA_HOST="corral.invalid:80", http_proxy=address)
        proxy.join(30)
    assert asked[0].startswith(b"GET http://corral.invalid")
    assert "403 Forbidden" in said
