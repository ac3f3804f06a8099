"""For the registry client's tests: the real registry with TLS, behind nginx, behind a token service; and another host."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import ROOT, DockerRegistry, free_port, htpasswd, running_registry
from tests.registry.gatekeeper import Gatekeeper, gatekeeper


@pytest.fixture
def keeper(docker_registry: DockerRegistry) -> Generator[Gatekeeper]:
    """A token service with the real registry behind it."""
    with gatekeeper(docker_registry.host) as running:
        yield running


@pytest.fixture
def stranger(docker_registry: DockerRegistry) -> Generator[Gatekeeper]:
    """The same, on a host that has nothing to do with the first: it is `localhost`, which is not `127.0.0.1`."""
    with gatekeeper(docker_registry.host) as running:
        running.host = running.host.replace("127.0.0.1", "localhost")
        yield running


def openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True, timeout=60)


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a private authority `ca.pem`, and what it signed: `server.pem` and `client.pem`, each with its key."""
    folder = tmp_path_factory.mktemp("authority")
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    openssl(folder, "req", "-x509", *key, "-days", "2", "-subj", "/CN=Test CA", "-keyout", "ca.key", "-out", "ca.pem")
    (folder / "server.ext").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    (folder / "client.ext").write_text("extendedKeyUsage=clientAuth\n")
    for name in ("server", "client"):
        openssl(folder, "req", *key, "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
        signing = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", f"{name}.ext")
        openssl(folder, "x509", "-req", "-in", f"{name}.csr", "-days", "2", "-out", f"{name}.pem", *signing)
    return folder


@pytest.fixture(scope="session")
def tls_registry(authority: Path, tmp_path_factory: pytest.TempPathFactory) -> Generator[DockerRegistry]:
    """A real registry with TLS, for USER alone."""
    folder = tmp_path_factory.mktemp("tls")
    tls = f"tls: {{certificate: {authority}/server.pem, key: {authority}/server.key}}"
    with running_registry(folder, auth=htpasswd(folder), tls=tls) as running:
        yield running


@dataclass(frozen=True)
class Nginx:
    """A running nginx with a registry behind it."""

    host: str
    folder: Path

    def requests(self) -> list[tuple[str, str, int, int, str]]:
        """Those it has answered: method, path, status, bytes of the reply's body, Authorization."""
        lines = [line.split(" ", 5) for line in (self.folder / "access").read_text().splitlines()]
        return [(method, path, int(status), int(sent), login) for method, path, status, sent, _, login in lines]


NGINX = """
daemon off; master_process off; pid {folder}/pid; error_log {folder}/error warn;
events {{ worker_connections 256; }}
http {{
    log_format fields '$request_method $request_uri $status $body_bytes_sent - $http_authorization';
    access_log {folder}/access fields;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    scgi_temp_path {folder}/scgi; uwsgi_temp_path {folder}/uwsgi;
    server {{
        listen 127.0.0.1:{port};
        client_max_body_size 100m;
        location / {{
            {blobs}
            proxy_pass http://{registry};
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-Proto $scheme;
        }}
    }}
    {more}
}}
"""


@contextmanager
def running_nginx(folder: Path, registry: DockerRegistry, *, blobs: str = "", more: str = "") -> Generator[Nginx]:
    """One in front of the registry, with such a rule for what is asked of it and more servers.

    Without nginx the tests fail in CI, and elsewhere are skipped with this reason.
    """
    unpacked = ROOT / "build" / "tools"
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin:{unpacked / 'usr' / 'sbin'}")
    if program is None:
        reason = "no nginx: run `make registry`, or apt-get install nginx-light"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    libraries = [str(path) for path in unpacked.glob("**/lib/*-linux-*") if path.is_dir()]
    environment = {**os.environ, "LD_LIBRARY_PATH": ":".join(libraries)} if unpacked in Path(program).parents else None
    port = free_port()
    text = NGINX.format(folder=folder, port=port, registry=registry.host, blobs=blobs, more=more)
    (folder / "nginx.conf").write_text(text)
    command = [program, "-p", folder, "-e", folder / "error", "-c", folder / "nginx.conf"]
    process = subprocess.Popen(command, env=environment)
    try:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert process.poll() is None, (folder / "error").read_text()
            time.sleep(0.05)
        yield Nginx(f"127.0.0.1:{port}", folder)
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture(scope="session")
def nginx(docker_registry: DockerRegistry, tmp_path_factory: pytest.TempPathFactory) -> Generator[Nginx]:
    """nginx as it is usually put before a registry: it takes no body above 100 MB."""
    with running_nginx(tmp_path_factory.mktemp("nginx"), docker_registry) as running:
        yield running
