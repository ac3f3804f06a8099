"""`corral serve`: what it is told, what it says, and how it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
from corral.cli.settings import Settings

from tests.conftest import CORRAL, Cli
from tests.runtime.http.running import received
from tests.runtime.http.test_server import make_certificate

PATIENCE = 60


@dataclass
class Served:
    """A running `corral serve`."""

    process: subprocess.Popen[str]
    first: str
    """The first line it said."""

    @property
    def port(self) -> int:
        """Where it listens."""
        found = re.search(r"Listening on [^ ]*:([0-9]+) \(version [0-9.]+\)", self.first)
        assert found, self.first
        return int(found[1])

    def rest(self) -> str:
        """What it said until it ended, which it did well."""
        assert self.process.stderr is not None
        said = self.process.stderr.read()
        assert self.process.wait(PATIENCE) == 0
        return said


@contextmanager
def serve(cli: Cli, *arguments: str, **variables: str) -> Generator[Served]:
    """It is ended with the block, if it has not before."""
    environment = cli.environment | {"OLLAMA_HOST": "127.0.0.1:0"} | variables
    with subprocess.Popen([CORRAL, "serve", *arguments], env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            yield Served(process, process.stderr.readline())
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait(PATIENCE)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_certificate(tmp_path_factory.mktemp("tls"), "server")


def test_tls(cli: Cli, certificate: tuple[Path, Path]) -> None:
    pem, key = map(str, certificate)
    ways: list[tuple[list[str], dict[str, str]]] = [
        (["--tls-cert", pem, "--tls-key", key], {}),
        ([], {"CORRAL_TLS_CERT": pem, "CORRAL_TLS_KEY": key}),
    ]
    for arguments, variables in ways:
        with serve(cli, *arguments, **variables) as served:
            where = f"https://localhost:{served.port}"
            assert requests.get(where, verify=pem, timeout=PATIENCE).text == "Ollama is running"
            asked = cli.ok("ps", "--json", OLLAMA_HOST=where, REQUESTS_CA_BUNDLE=pem)
            assert json.loads(asked) == {"models": []}
            assert "certificate verify failed" in cli.error(4, "ps", OLLAMA_HOST=where)


def test_a_host_that_says_https_without_a_certificate_is_warned_of(cli: Cli) -> None:
    with serve(cli, OLLAMA_HOST="https://127.0.0.1:0") as served:
        served.process.terminate()
        assert "plain http" in served.rest()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--tls-cert", "absent.pem"], 1, "TLS needs both"),
        (["--tls-key", "absent.pem"], 1, "TLS needs both"),
        (["--tls-cert", "absent.pem", "--tls-key", "absent.key"], 5, "absent.pem: cannot read"),
        (["--tls-cert", "/dev/zero", "--tls-key", "/dev/zero"], 1, "not a regular file"),
    ],
)
def test_error_tls_that_cannot_be(cli: Cli, arguments: list[str], code: int, words: str) -> None:
    assert words in cli.error(code, "serve", *arguments)


@pytest.mark.parametrize(("name", "value"), [("CORRAL_GRACE", "soon"), ("CORRAL_LOG_FORMAT", "xml")])
def test_error_variables_that_mean_nothing(cli: Cli, name: str, value: str) -> None:
    said = cli.error(1, "serve", OLLAMA_HOST="127.0.0.1:0", **{name: value})
    assert name in said
    assert value in said


def test_a_unix_socket(cli: Cli, tiny_gguf: Path, tmp_path: Path) -> None:
    cli.ok("create", "x", "-f", "-", stdin=f"FROM {tiny_gguf}\n")
    path = tmp_path / "corral.sock"
    host = f"unix://{path}"
    assert "could not connect" in cli.error(4, "ps", OLLAMA_HOST=host)
    with serve(cli, OLLAMA_HOST=host) as served:
        assert served.first.startswith(f"Listening on {host} (version ")
        assert path.stat().st_mode & 0o777 == 0o600
        assert json.loads(cli.ok("ps", "--json", OLLAMA_HOST=host)) == {"models": []}
        assert cli.ok("ps", "--json", OLLAMA_HOST=host, http_proxy="http://127.0.0.1:1")
        assert "x:latest" in cli.ok("list", OLLAMA_HOST=host)
        empty = Cli(tmp_path / "empty", cli.folder)
        assert "has 1 models" in empty.run("list", OLLAMA_HOST=host).stderr
        assert "another server is running there" in cli.error(5, "serve", OLLAMA_HOST=host)
    assert not path.exists()


@pytest.mark.parametrize(
    ("text", "url", "is_remote"),
    [
        ("unix:///run/corral.sock", "unix:///run/corral.sock", False),
        ("UNIX:///run/a b.sock", "unix:///run/a b.sock", False),
        ("ollama.com", "https://ollama.com:443", True),
        ("ollama.com:8080", "http://ollama.com:8080", True),
        ("https://localhost:8443", "https://localhost:8443", False),
    ],
)
def test_more_forms_of_ollama_host(text: str, url: str, *, is_remote: bool) -> None:
    settings = Settings({"OLLAMA_HOST": text})
    assert (settings.url, settings.is_remote) == (url, is_remote)


@pytest.mark.parametrize("text", ["unix://", "unix://run/x.sock", "unix://./x", "unix:///a\nb"])
def test_error_a_unix_socket_that_is_none(cli: Cli, text: str) -> None:
    for arguments in (["serve"], ["ps"]):
        assert "OLLAMA_HOST" in cli.error(1, *arguments, OLLAMA_HOST=text)


def test_systemd_is_told_of_the_start_and_the_end(cli: Cli, tmp_path: Path) -> None:
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address)
        manager.settimeout(PATIENCE)
        with serve(cli, NOTIFY_SOCKET=address) as served:
            assert manager.recv(100) == b"READY=1"
            assert requests.get(f"http://127.0.0.1:{served.port}/health", timeout=PATIENCE).json() == {"status": "ok"}
            served.process.terminate()
            assert manager.recv(100) == b"STOPPING=1"
            assert served.rest() == ""


def test_logs_in_json(cli: Cli) -> None:
    with serve(cli, CORRAL_LOG_FORMAT="json") as served:
        first = json.loads(served.first)
        assert first["message"].startswith("Listening on 127.0.0.1:")
        asked = {"X-Request-Id": "mine-1"}
        requests.post(
            f"http://127.0.0.1:{served.port}/api/chat?precious", b"{precious", headers=asked, timeout=PATIENCE
        )
        served.process.terminate()
        said = served.rest()
    (entry,) = [json.loads(line) for line in said.splitlines()]
    assert (entry["request_id"], entry["route"], entry["status"]) == ("mine-1", "/api/chat", 400)
    assert "precious" not in said


def test_logs_in_text_have_a_line_for_a_request_only_on_demand(cli: Cli) -> None:
    for variables, is_logged in (({}, False), ({"OLLAMA_DEBUG": "1"}, True)):
        with serve(cli, **variables) as served:
            assert served.process.stderr is not None
            said = served.first
            while "Listening on" not in said:
                said = served.process.stderr.readline()
            served.first = said
            requests.get(f"http://127.0.0.1:{served.port}/api/version", timeout=PATIENCE)
            served.process.terminate()
            assert ('127.0.0.1 "GET /api/version" 200' in served.rest()) is is_logged


@pytest.mark.parametrize(
    "signals", [[signal.SIGTERM, signal.SIGTERM], [signal.SIGTERM, signal.SIGINT], [signal.SIGINT]]
)
def test_signals(cli: Cli, signals: list[signal.Signals]) -> None:
    with serve(cli, "--grace", "60") as served, socket.create_connection(("127.0.0.1", served.port)) as half:
        half.sendall(b"POST /api/chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{")
        requests.get(f"http://127.0.0.1:{served.port}/", timeout=PATIENCE)
        began = time.monotonic()
        for number in signals:
            os.kill(served.process.pid, number)
            time.sleep(0.5)
        assert served.rest() in ("", "stopped\n")
        assert time.monotonic() - began < 20


def test_an_answer_is_finished_within_the_grace(cli: Cli) -> None:
    with serve(cli, CORRAL_GRACE="60") as served, socket.create_connection(("127.0.0.1", served.port)) as half:
        half.settimeout(PATIENCE)
        half.sendall(b"POST /api/chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{")
        requests.get(f"http://127.0.0.1:{served.port}/", timeout=PATIENCE)
        served.process.terminate()
        time.sleep(3)
        half.sendall(b"}")
        assert received(half).endswith(b'{"error":"model is required"}')
        assert served.rest() == ""
