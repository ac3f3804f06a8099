"""Registries behind a proxy: one that passes requests on, and one that only makes tunnels."""

from __future__ import annotations

import http.client
import select
import socket
import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.conftest import PASSWORD, USER, Cli, DockerRegistry


class _Proxy(BaseHTTPRequestHandler):
    """It takes every name for that of one registry."""

    protocol_version = "HTTP/1.1"
    upstream: str
    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(f"{self.command} {self.path}")
        parts = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        connection = http.client.HTTPConnection(self.upstream)
        connection.request(
            self.command, parts._replace(scheme="", netloc="").geturl(), body, dict(self.headers.items())
        )
        reply = connection.getresponse()
        content = reply.read()
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)
        connection.close()

    do_HEAD = do_POST = do_PUT = do_PATCH = do_GET  # noqa: N815

    def do_CONNECT(self) -> None:
        self.asked.append(f"{self.command} {self.path}")
        host, _, port = self.upstream.rpartition(":")
        with socket.create_connection((host, int(port))) as upstream:
            self.send_response(200)
            self.end_headers()
            ends = {self.connection: upstream, upstream: self.connection}
            while True:
                for one in select.select(list(ends), [], [], 30)[0]:
                    data = one.recv(1 << 16)
                    if not data:
                        self.close_connection = True
                        return
                    ends[one].sendall(data)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Quiet."""


@contextmanager
def proxy(upstream: str) -> Generator[tuple[str, list[str]]]:
    """One that runs while the block does: its address, and what it was asked."""
    asked: list[str] = []
    kind = type("Proxying", (_Proxy,), {"upstream": upstream, "asked": asked})
    with ThreadingHTTPServer(("127.0.0.1", 0), kind) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def small(cli: Cli, tiny_gguf: Path) -> Cli:
    cli.ok("create", "small", "-f", "-", stdin=f"FROM {tiny_gguf}\nSYSTEM Be kind.\n")
    return cli


def goes_and_comes(cli: Cli, name: str, *options: str, **variables: str) -> None:
    """A push, and a pull of what was pushed, which exists nowhere else."""
    plain = name.removeprefix("http://")
    cli.ok("cp", "small", plain)
    digest = cli.ok("push", name, *options, **variables).split()[1]
    cli.ok("rm", "small", plain)
    assert cli.ok("pull", name, *options, **variables).split()[1] == digest
    cli.ok("verify", "--deep")


def test_plain_http_is_passed_on(small: Cli, docker_registry: DockerRegistry) -> None:
    with proxy(docker_registry.host) as (address, asked):
        goes_and_comes(small, "http://registry.example/proxied/plain:v1", HTTP_PROXY="", http_proxy=address)
    assert any(line.startswith("PUT http://registry.example/v2/proxied/plain/manifests/v1") for line in asked)


def test_tls_goes_through_a_tunnel(small: Cli, tls_registry: DockerRegistry, tmp_path: Path) -> None:
    with proxy(tls_registry.host) as (address, asked):
        variables = {"HTTPS_PROXY": address, "DOCKER_CONFIG": str(tmp_path / "docker")}
        login = ("login", "registry.example", "-u", USER, "--password-stdin", "--insecure")
        small.ok(*login, stdin=PASSWORD, **variables)
        goes_and_comes(small, "registry.example/proxied/tls:v1", "--insecure", **variables)
    assert {line for line in asked if line.startswith("CONNECT")} == {"CONNECT registry.example:443"}
    assert not any(PASSWORD in line for line in asked)


def test_error_no_proxy_means_none(small: Cli, docker_registry: DockerRegistry) -> None:
    with proxy(docker_registry.host) as (address, asked):
        name = "http://registry.invalid/proxied/none:v1"
        small.error(4, "pull", name, http_proxy=address, NO_PROXY="registry.invalid", CORRAL_RETRIES="0")
    assert asked == []


def test_error_a_proxy_that_is_not_there_is_the_one_that_is_named(small: Cli) -> None:
    said = small.error(4, "pull", "registry.example/x/y", HTTPS_PROXY="http://127.0.0.1:1", CORRAL_RETRIES="0")
    assert "it is the proxy that fails" in said
