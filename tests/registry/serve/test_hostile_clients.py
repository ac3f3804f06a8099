"""Clients that lie, stall, leave or ask for too much: each gets its error, nothing is left of it, and others go on."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from corral.registry.serve.uploads import Uploads
from corral.runtime.http.limits import Limits
from corral.runtime.http.oci import Door
from corral.runtime.http.registry_app import anybody, make_registry_app

from corral import Store
from tests.registry.serve.conftest import Serving
from tests.registry.serve.documents import BLOB, CONFIG, MANIFEST, NONE, digest, image
from tests.registry.serve.wire import Reply, Wire, bare, begun, located
from tests.runtime.http.running import received, running

D = digest(BLOB)
UPLOADS = "/v2/crew/x/blobs/uploads/"
MOST_OPEN = 1024


def files(serving: Serving) -> dict[str, str]:
    """The store's files, but for locks that are held for moments."""
    return {name: content for name, content in serving.cli.files().items() if not name.endswith("/lock")}


def begin(wire: Wire) -> str:
    reply = wire.ask("POST", UPLOADS)
    assert reply.status == 202
    return located(reply)


def until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while True:
        with suppress(FileNotFoundError):  # it looks at files that go this moment
            if is_so():
                return
        assert time.monotonic() < deadline
        time.sleep(0.02)


def upload_file(serving: Serving) -> Path:
    (found,) = (serving.models / ".corral" / "oci" / "uploads").iterdir()
    return found


def rest(serving: Serving, upload: str, blob: bytes) -> tuple[bytes, dict[str, str]]:
    """What a client has still to send, by what the server says that it has, and where that belongs."""
    reply = serving.wire.ask("GET", upload)
    assert reply.status == 204
    last = int(reply.headers["range"].removeprefix("0-"))
    size = upload_file(serving).stat().st_size
    assert last == max(size - 1, 0)
    return blob[size:], {"Content-Range": f"{size}-{len(blob) - 1}"}


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
@pytest.mark.parametrize("headers", [{"Content-Length": "6000000"}, {"Transfer-Encoding": "chunked"}], ids=str)
def test_a_part_whose_client_leaves_is_gone_on_with(own: Serving, method: str, headers: dict[str, str]) -> None:
    wire, blob = own.wire, os.urandom(6_000_000)
    upload = begin(wire)
    end = f"{upload}?digest={digest(blob)}"
    with bare(own.host) as connection:
        size = b"" if "Content-Length" in headers else b"2dc6c0\r\n"
        connection.sendall(begun(own.host, method, end, headers) + size + blob[:3_000_000])
        until(lambda: upload_file(own).stat().st_size >= 1 << 20)
    missing, where = rest(own, upload, blob)
    assert len(missing) < 5_000_000
    assert wire.ask("PUT", end, missing, where).status == 201
    assert wire.ask("GET", f"/v2/crew/x/blobs/{digest(blob)}").body == blob


def test_of_a_blob_in_one_post_whose_client_leaves_nothing_stays(own: Serving) -> None:
    begin(own.wire)
    upload_file(own).unlink()
    before = files(own)
    with bare(own.host) as connection:
        connection.sendall(begun(own.host, "POST", f"{UPLOADS}?digest={D}", {"Content-Length": "26"}) + BLOB[:10])
        until(lambda: files(own) != before)
    until(lambda: files(own) == before)
    assert own.wire.ask("HEAD", f"/v2/crew/x/blobs/{D}").status == 404


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"Content-Length": "10"}, BLOB),
        ({"Transfer-Encoding": "chunked"}, b"a\r\n" + BLOB[:10] + b"\r\nzz\r\n"),
        ({"Transfer-Encoding": "chunked"}, b"a\r\n" + BLOB[:10] + b"\r\n" + b"f" * 40 + b"\r\n"),
        ({"Content-Length": "10", "Content-Range": "0-9"}, BLOB),
    ],
    ids=["more than said", "a chunk of no size", "a chunk of any size", "more than said and ranged"],
)
def test_error_a_body_that_goes_on(own: Serving, headers: dict[str, str], body: bytes) -> None:
    wire = own.wire
    upload = begin(wire)
    with bare(own.host) as connection:
        connection.sendall(begun(own.host, "PATCH", upload, headers) + body)
        assert b" 400 Bad Request" in received(connection)
    missing, where = rest(own, upload, BLOB)
    assert missing in (BLOB, BLOB[10:])
    assert wire.ask("PUT", f"{upload}?digest={D}", missing, where).status == 201


def test_error_a_body_of_two_lengths(own: Serving) -> None:
    upload = begin(own.wire)
    with bare(own.host) as connection:
        both = {"Content-Length": "4", "Transfer-Encoding": "chunked"}
        connection.sendall(begun(own.host, "PATCH", upload, both) + b"0\r\n\r\nGET /v2/ HTTP/1.1\r\n\r\n")
        assert received(connection).startswith(b"HTTP/1.1 400 ")
    assert upload_file(own).stat().st_size == 0


@pytest.mark.parametrize("is_streamed", [True, False])
def test_error_a_blob_that_is_too_large(tmp_path: Path, *, is_streamed: bool) -> None:
    with (
        running(make_registry_app(Store(tmp_path), Door(anybody), max_blob=20)) as server,
        Wire(f"127.0.0.1:{server.port}") as wire,
    ):
        upload = begin(wire)
        assert wire.ask("PATCH", upload, BLOB[:10]).status == 202
        reply = wire.ask("PATCH", upload, (BLOB[10:18], BLOB[18:]) if is_streamed else BLOB[10:])
        assert (reply.status, reply.code) == (413, "SIZE_INVALID")
        assert wire.ask("GET", upload).headers["range"] == "0-9"
        assert wire.ask("PUT", f"{upload}?digest={digest(BLOB[:20])}", BLOB[10:20]).status == 201


def test_error_a_blob_that_has_no_room(own: Serving) -> None:
    wire = own.wire
    upload = begin(wire)
    with bare(own.host) as connection:
        connection.sendall(begun(own.host, "PATCH", upload, {"Content-Length": str(1 << 43)}))
        assert connection.recv(65536).startswith(b"HTTP/1.1 507 ")
    assert wire.ask("PUT", f"{upload}?digest={D}", BLOB).status == 201


def test_error_who_stops_sending_is_not_waited_for(tmp_path: Path) -> None:
    app = make_registry_app(Store(tmp_path), Door(anybody))
    with running(Limits(app, body_seconds=0.5), head_seconds=0.5) as server, Wire(f"127.0.0.1:{server.port}") as wire:
        host = wire.host
        upload = begin(wire)
        with bare(host) as head, bare(host) as body, bare(host) as manifest:
            head.sendall(b"POST /v2/crew/x/blobs/uploads/ HTTP/1.1\r\nHost: x\r\n")
            body.sendall(begun(host, "PATCH", upload, {"Content-Length": "26"}) + BLOB[:10])
            manifest.sendall(begun(host, "PUT", "/v2/crew/x/manifests/v1", {"Content-Length": "26"}) + BLOB[:10])
            assert wire.ask("GET", "/v2/").status == 200
            assert received(head) == b""
            assert received(body).startswith(b"HTTP/1.1 408 ")
            assert received(manifest).startswith(b"HTTP/1.1 408 ")
        assert wire.ask("GET", upload).headers["range"] == "0-9"
        assert wire.ask("PUT", f"{upload}?digest={D}", BLOB[10:]).status == 201


def test_error_more_uploads_than_may_be_open(own: Serving) -> None:
    wire = own.wire
    begun_ones = [begin(wire) for _ in range(MOST_OPEN)]
    for _ in range(76):
        refused = wire.ask("POST", UPLOADS)
        assert (refused.status, refused.code) == (429, "TOOMANYREQUESTS")
        assert int(refused.headers["retry-after"]) > 0
    assert wire.ask("PUT", f"{begun_ones[0]}?digest={D}", BLOB).status == 201
    assert wire.ask("PATCH", begun_ones[1], BLOB[:10]).status == 202
    begin(wire)
    uploads = list((own.models / ".corral" / "oci" / "uploads").iterdir())
    assert len(uploads) == MOST_OPEN
    for path in uploads:
        if path.stat().st_size == 0:
            os.utime(path, (0, 0))
    time.sleep(1.1)  # it looks once a second
    begin(wire)  # the empty ones expired long ago
    assert len(list((own.models / ".corral" / "oci" / "uploads").iterdir())) == 2
    Uploads(Store(own.models), expiry=-1).expire()
    assert list((own.models / ".corral" / "oci" / "uploads").iterdir()) == []
    assert wire.ask("PUT", f"{begun_ones[1]}?digest={D}", BLOB[10:]).status == 404


@pytest.mark.parametrize("bomb", [b"[", b'{"a":', b'{"layers":[', b"0,"], ids=["lists", "objects", "layers", "numbers"])
def test_error_four_mebibytes_of_json_are_refused_soon(own: Serving, bomb: bytes) -> None:
    raw = bomb * ((4 << 20) // len(bomb))
    raw = b"[" + raw[:-2] + b"0]" if bomb == b"0," else raw
    before, started = files(own), time.monotonic()
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(own.wire.ask, "PUT", "/v2/crew/x/manifests/v1", raw) for _ in range(4)]
        replies = [one.result() for one in asked]
    assert {(reply.status, reply.code) for reply in replies} <= {(400, "MANIFEST_INVALID"), (413, "SIZE_INVALID")}
    assert time.monotonic() - started < 10
    assert files(own) == before


def test_error_what_is_refused_leaves_no_file_behind(own: Serving) -> None:
    wire = own.wire
    for blob in (BLOB, CONFIG):
        assert wire.ask("PUT", f"{begin(wire)}?digest={digest(blob)}", blob).status == 201
    assert wire.ask("PUT", "/v2/crew/x/manifests/v1", image(), {"Content-Type": MANIFEST}).status == 201
    before = files(own)
    assert wire.ask("PUT", f"{begin(wire)}?digest={NONE}", b"something else").code == "DIGEST_INVALID"
    assert wire.ask("POST", f"{UPLOADS}?digest={NONE}", b"something else").code == "DIGEST_INVALID"
    assert wire.ask("POST", f"{UPLOADS}?digest=sha512:{'0' * 128}", b"something else").code == "DIGEST_INVALID"
    assert wire.ask("PUT", f"/v2/crew/x/manifests/{NONE}", image()).code == "DIGEST_INVALID"
    assert wire.ask("PUT", "/v2/crew/x/manifests/-", image()).code == "MANIFEST_INVALID"
    assert wire.ask("PUT", "/v2/crew/x/manifests/v2", image(schemaVersion=1)).code == "MANIFEST_INVALID"
    assert wire.ask("PUT", "/v2/crew/y/manifests/v1", image()).code == "MANIFEST_BLOB_UNKNOWN"
    assert wire.ask("DELETE", located(wire.ask("POST", f"{UPLOADS}?mount={NONE}&from=crew/y"))).status == 204
    assert wire.ask("POST", "/v2/crew/../x/blobs/uploads/").code == "NAME_INVALID"
    assert files(own) == before


def test_of_two_parts_at_once_one_is_taken(own: Serving) -> None:
    wire, size = own.wire, 8 << 20
    upload = begin(wire)
    parts = [bytes([letter]) * size for letter in b"ab"]

    def send(part: bytes) -> Reply:
        return own.wire.ask("PATCH", upload, part, {"Content-Range": f"0-{size - 1}"})

    with ThreadPoolExecutor(2) as pool:
        replies = list(pool.map(send, parts))
    assert sorted(reply.status for reply in replies) == [202, 416]
    (taken,) = (part for part, reply in zip(parts, replies, strict=True) if reply.status == 202)
    assert wire.ask("PUT", f"{upload}?digest={digest(taken)}").status == 201


def test_error_a_part_while_another_is_still_coming(own: Serving) -> None:
    wire = own.wire
    upload = begin(wire)
    with bare(own.host) as slow:
        slow.sendall(begun(own.host, "PATCH", upload, {"Content-Length": "26"}) + BLOB[:10])
        deadline = time.monotonic() + 20
        while wire.ask("PATCH", upload, b"x").status != 409:  # the slow one may come second at first
            assert time.monotonic() < deadline
            upload = begin(wire)
            slow.sendall(BLOB[10:])
            slow.recv(65536)
            slow.sendall(begun(own.host, "PATCH", upload, {"Content-Length": "26"}) + BLOB[:10])
        slow.sendall(BLOB[10:])
        assert slow.recv(65536).startswith(b"HTTP/1.1 202 ")
    assert wire.ask("PUT", f"{upload}?digest={D}").status == 201


def test_a_blob_is_given_to_the_end_to_who_takes_it_slowly(own: Serving) -> None:
    wire, blob = own.wire, os.urandom(24 << 20)
    assert wire.ask("PUT", f"{begin(wire)}?digest={digest(blob)}", blob).status == 201
    with bare(own.host) as slow:
        slow.sendall(begun(own.host, "GET", f"/v2/crew/x/blobs/{digest(blob)}", {"Connection": "close"}))
        first = slow.recv(100)
        assert wire.ask("DELETE", f"/v2/crew/x/blobs/{digest(blob)}").status == 202
        Store(own.models).collect(older_than=0)
        assert (first + received(slow)).partition(b"\r\n\r\n")[2] == blob
