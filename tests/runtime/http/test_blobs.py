"""Uploaded blobs: nothing wrong ever gets in, nothing is left of what fails, and what came in stays until it is used."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
import requests
from corral.runtime.http.app import make_app
from corral.runtime.inference import EngineDefaults
from starlette.testclient import TestClient

from corral import Store
from tests.conftest import Cli, serving
from tests.runtime.conftest import PATIENCE, FakeServer, Serve, eventually

HELLO = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
"""The sha256 of `hello`."""
NONE = "0" * 64


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("uploads") / "models"


@pytest.fixture(scope="module")
def server(serve: Serve, models: Path) -> Generator[FakeServer]:
    with serve(models=models) as running:
        yield running


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def upload(server: FakeServer, data: bytes) -> str:
    digest = digest_of(data)
    assert server.ask("POST", f"/api/blobs/{digest}", data).status_code == 201
    return digest


def in_the_making(models: Path) -> list[Path]:
    return list((models / ".corral" / "ingest").iterdir())


def blobs(models: Path) -> set[str]:
    return {path.name for path in (models / "blobs").iterdir()} if (models / "blobs").exists() else set()


def opened(server: FakeServer, digest: str, length: int) -> socket.socket:
    """A connection that has said it will send so many bytes."""
    host, _, port = server.url.removeprefix("http://").partition(":")
    connection = socket.create_connection((host, int(port)), PATIENCE)
    connection.sendall(
        f"POST /api/blobs/{digest} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n".encode()
    )
    return connection


def test_a_blob_comes_in_once(server: FakeServer, models: Path) -> None:
    path = f"/api/blobs/sha256:{HELLO}"
    assert server.ask("HEAD", path).status_code == 404
    first = server.ask("POST", path, b"hello")
    assert (first.status_code, first.content) == (201, b"")
    assert server.ask("HEAD", path).status_code == 200
    assert server.ask("POST", path, b"hello").status_code == 200
    assert (models / "blobs" / f"sha256-{HELLO}").read_bytes() == b"hello"


@pytest.mark.parametrize("text", ["sha256:{}", "sha256-{}"])
@pytest.mark.parametrize("is_upper", [True, False])
def test_a_digest_may_be_written_as_a_blobs_file_is_and_in_capitals(
    server: FakeServer, models: Path, text: str, *, is_upper: bool
) -> None:
    data = f"{text}{is_upper}".encode()
    own = hashlib.sha256(data).hexdigest()
    path = f"/api/blobs/{text.format(own.upper() if is_upper else own)}"
    assert server.ask("POST", path, data).status_code == 201
    assert server.ask("HEAD", path).status_code == 200
    assert f"sha256-{own}" in blobs(models)
    assert not any(name != name.lower() for name in blobs(models))


@pytest.mark.parametrize(
    ("digest", "status"),
    [
        ("sha256:zz", 400),
        ("sha256", 400),
        (f"sha256:{NONE}0", 400),
        (f"sha256:{NONE[1:]}", 400),
        (f"sha512:{NONE}{NONE}", 400),
        (f"sha256_{NONE}", 400),
        (f"SHA256:{NONE}", 400),
        (f"sha256:{NONE}%0A", 400),
        (f"sha256:{NONE}%00", 400),
        (f"sha256:{NONE[1:]}%D9%A0", 400),
        ("sha256:..%2F..%2F..%2Fetc%2Fpasswd", 404),
        (f"sha256-..%2F{NONE[3:]}", 404),
        ("..", 404),
    ],
)
@pytest.mark.parametrize("method", ["HEAD", "POST"])
def test_error_a_digest_that_is_none(server: FakeServer, models: Path, method: str, digest: str, status: int) -> None:
    before = blobs(models)
    reply = requests.request(method, f"{server.url}/api/blobs/{digest}", data=b"x", timeout=PATIENCE)
    assert reply.status_code == status
    if method == "POST" and status == 400:
        assert reply.json()["error"] == "invalid digest format"
    assert blobs(models) == before
    assert in_the_making(models) == []


def test_error_content_of_another_digest_is_not_kept(server: FakeServer, models: Path) -> None:
    reply = server.ask("POST", f"/api/blobs/sha256:{NONE}", b"hellO")
    got = digest_of(b"hellO")
    assert reply.status_code == 400
    assert reply.json() == {"error": f'digest mismatch, expected "sha256:{NONE}", got "{got}"'}
    assert not blobs(models) & {f"sha256-{NONE}", got.replace(":", "-")}
    assert in_the_making(models) == []


@pytest.mark.parametrize("sent", [0, 1, 3 << 20])
def test_error_a_client_that_hangs_up_leaves_nothing(server: FakeServer, models: Path, sent: int) -> None:
    data = bytes(8 << 20)
    digest = digest_of(data)
    with opened(server, digest, len(data)) as connection:
        connection.sendall(data[:sent])
        eventually(lambda: len(in_the_making(models)) == 1)
    eventually(lambda: in_the_making(models) == [])
    assert server.ask("HEAD", f"/api/blobs/{digest}").status_code == 404


def test_error_a_chunked_body_that_is_cut_short_is_no_blob(server: FakeServer, models: Path) -> None:
    host, _, port = server.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), PATIENCE) as connection:
        head = f"POST /api/blobs/sha256:{HELLO[::-1]} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        connection.sendall(f"{head}5\r\nhello\r\n".encode())
        eventually(lambda: len(in_the_making(models)) == 1)
    eventually(lambda: in_the_making(models) == [])
    assert server.ask("HEAD", f"/api/blobs/sha256:{HELLO[::-1]}").status_code == 404


def test_a_blob_that_is_here_is_not_waited_for(server: FakeServer) -> None:
    digest = upload(server, b"already here")
    with opened(server, digest, 1 << 40) as connection:
        assert connection.recv(64).startswith(b"HTTP/1.1 200 ")


def test_a_client_that_sends_all_of_what_is_here_sees_the_reply(server: FakeServer) -> None:
    data = b"again" * (8 << 20)
    upload(server, data)

    def pieces() -> Iterator[bytes]:
        for start in range(0, len(data), 1 << 16):
            yield data[start : start + (1 << 16)]

    for body in (data, pieces()):
        reply = requests.post(f"{server.url}/api/blobs/{digest_of(data)}", data=body, timeout=PATIENCE)
        assert reply.status_code == 200


def test_error_a_blob_without_room_is_refused_before_it_comes(server: FakeServer, models: Path) -> None:
    with opened(server, f"sha256:{NONE}", 1 << 60) as connection:
        reply = b""
        while not reply.endswith(b"}"):
            reply += connection.recv(4096)
    assert reply.startswith(b"HTTP/1.1 507 ")
    assert b"there is no room for a blob of 1152921504606846976 bytes" in reply
    assert b"corral gc" in reply
    assert str(models).encode() not in reply
    assert in_the_making(models) == []


@pytest.mark.parametrize("is_chunked", [True, False])
def test_error_a_blob_above_the_limit(tmp_path: Path, *, is_chunked: bool) -> None:
    app = make_app(Store(tmp_path / "models"), EngineDefaults(), max_blob=4)
    body = b"hello"
    with TestClient(app, base_url="http://localhost") as client:
        reply = client.post(f"/api/blobs/sha256:{HELLO}", content=iter([body]) if is_chunked else body)
        assert (reply.status_code, reply.json()) == (413, {"error": "a blob of more than 4 bytes"})
        assert client.post(f"/api/blobs/{digest_of(b'hell')}", content=b"hell").status_code == 201
    assert blobs(tmp_path / "models") == {digest_of(b"hell").replace(":", "-")}


def test_many_uploads_of_one_blob_at_once(server: FakeServer, models: Path) -> None:
    data = b"many" * (1 << 18)
    path = f"/api/blobs/{digest_of(data)}"
    with ThreadPoolExecutor(50) as pool:
        replies = [pool.submit(server.ask, "POST", path, data) for _ in range(50)]
        statuses = [reply.result().status_code for reply in replies]
    assert set(statuses) <= {200, 201}
    assert 201 in statuses
    assert (models / "blobs" / digest_of(data).replace(":", "-")).read_bytes() == data
    assert in_the_making(models) == []


def test_a_damaged_copy_is_replaced(server: FakeServer, models: Path) -> None:
    digest = upload(server, b"to be damaged")
    file = models / "blobs" / digest.replace(":", "-")
    file.chmod(0o644)
    file.write_bytes(b"to be damagec")
    assert server.ask("POST", f"/api/blobs/{digest}", b"to be damaged").status_code == 201
    assert file.read_bytes() == b"to be damaged"


def test_what_was_uploaded_stays_until_a_model_is_made_of_it(serve: Serve, tmp_path: Path, tiny_gguf: Path) -> None:
    cli = Cli(tmp_path / "models", tmp_path)
    with serve(models=cli.models) as server:
        digest, unused = upload(server, tiny_gguf.read_bytes()), upload(server, b"never used")
        cli.ok("gc")
        body = {"model": "made", "files": {"tiny.gguf": digest}, "stream": False}
        assert server.post("/api/create", body).json() == {"status": "success"}
        cli.ok("gc")
        assert blobs(cli.models) >= {digest.replace(":", "-"), unused.replace(":", "-")}
        # From now on it is the model's, and goes with it.
        assert server.ask("DELETE", "/api/delete", {"model": "made"}).status_code == 200
        assert digest.replace(":", "-") not in blobs(cli.models)
    cli.ok("gc")
    assert blobs(cli.models) == set()


def test_the_oldest_uploads_give_way_when_there_are_very_many(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("corral.runtime.http.blobs._MOST", 2)
    cli = Cli(tmp_path / "models", tmp_path)
    with serve(models=cli.models) as server:
        names = [upload(server, text).replace(":", "-") for text in (b"a", b"b", b"c")]
        cli.ok("gc")
        assert blobs(cli.models) == set(names[1:])


def test_what_is_never_used_goes_after_a_while(serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("corral.runtime.http.blobs.DEFAULT_AGE", 0.3)
    with serve(models=tmp_path / "models") as server:
        upload(server, b"forgotten")
        assert len(blobs(tmp_path / "models")) == 1
        eventually(lambda: blobs(tmp_path / "models") == set())


def test_a_large_blob_takes_little_memory(cli: Cli) -> None:
    size, piece = 192 << 20, bytes(1 << 20)
    hashed = hashlib.sha256()
    for _ in range(size // len(piece)):
        hashed.update(piece)

    others = set(psutil.Process().children())  # servers of other tests
    with serving(cli) as url:
        (process,) = set(psutil.Process().children()) - others
        before, most = process.memory_info().rss, [0]

        def pieces() -> Iterator[bytes]:
            for _ in range(size // len(piece)):
                most[0] = max(most[0], process.memory_info().rss)
                yield piece

        reply = requests.post(f"{url}/api/blobs/sha256:{hashed.hexdigest()}", data=pieces(), timeout=PATIENCE)
        assert reply.status_code == 201
        assert most[0] - before < 48 << 20
