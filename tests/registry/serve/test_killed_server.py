"""The server is killed in mid-upload: what came stays, is gone on with after a restart, and nothing is damaged."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Generator
from contextlib import contextmanager

import pytest
import requests

from tests.conftest import CORRAL, Cli, free_port
from tests.registry.serve.documents import MANIFEST, artifact, digest, upload
from tests.registry.serve.table import held, row
from tests.registry.serve.wire import Wire, bare, begun, located


@contextmanager
def started(cli: Cli) -> Generator[tuple[str, subprocess.Popen[bytes]]]:
    """A server of the store, that answers."""
    host = f"127.0.0.1:{free_port()}"
    command = [CORRAL, "registry", "serve", "--host", host]
    process = subprocess.Popen(command, env=cli.environment, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while True:
            assert process.poll() is None
            assert time.monotonic() < deadline
            try:
                requests.get(f"http://{host}/v2/", timeout=5)
                break
            except requests.ConnectionError:
                time.sleep(0.05)
        yield host, process
    finally:
        process.kill()
        process.wait(20)


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_an_upload_goes_on_after_the_server_was_killed(cli: Cli, algorithm: str) -> None:
    blob, uploads = os.urandom(12 << 20), cli.models / ".corral" / "oci" / "uploads"
    with started(cli) as (host, process), Wire(host) as wire:
        location = located(wire.ask("POST", "/v2/crew/x/blobs/uploads/"))
        assert wire.ask("PATCH", location, blob[: 1 << 20], {"Content-Range": f"0-{(1 << 20) - 1}"}).status == 202
        with bare(host) as connection:
            head = begun(host, "PATCH", location, {"Content-Length": str(11 << 20)})
            connection.sendall(head + blob[1 << 20 : 8 << 20])
            (file,) = uploads.iterdir()
            deadline = time.monotonic() + 30
            while file.stat().st_size < 3 << 20:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            process.send_signal(signal.SIGKILL)
            process.wait(20)
    with started(cli) as (host, _), Wire(host) as wire:
        size = int(wire.ask("GET", location).headers["range"].removeprefix("0-")) + 1
        assert 3 << 20 <= size < 12 << 20
        whole = digest(blob, algorithm)
        assert wire.ask("PATCH", location, blob[:100], {"Content-Range": "0-99"}).status == 416
        rest = {"Content-Range": f"{size}-{len(blob) - 1}"}
        assert wire.ask("PUT", f"{location}?digest={whole}", blob[size:], rest).status == 201
        assert wire.ask("GET", f"/v2/crew/x/blobs/{whole}").body == blob
        assert held(row("empty", upload(b"{}", to="crew/x")), host) == ""
        assert wire.ask("PUT", "/v2/crew/x/manifests/v1", artifact(), {"Content-Type": MANIFEST}).status == 201
    assert list(uploads.iterdir()) == []
    cli.ok("verify", "--deep")
    with started(cli) as (host, _), Wire(host) as wire:
        assert wire.ask("GET", "/v2/crew/x/manifests/v1").body == artifact()
        assert wire.ask("GET", f"/v2/crew/x/blobs/{digest(blob)}").body == blob
