"""A double of the Hub: a real HTTP server that speaks as much of its protocol as a pull needs, and lies when it is told to.

A repository is a dict of paths and bytes. Files ending in .gguf are in LFS (their checksum is a SHA-256, and they come by
a redirect from a second server, the CDN), others are in git (SHA-1, served by the Hub itself). With `xet` those in LFS can be
had in chunks too, as Xet storage has them: the CDN says of which chunks a file is made, and gives those.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

REPOSITORY = "crew/parrot"
COMMIT = "c" * 40
_CHUNK = 1 << 16


class Seen(NamedTuple):
    """A request."""

    host: str
    """`hub` or `cdn`."""
    method: str
    path: str
    headers: dict[str, str]
    """By their names in lower case."""


class Reply(NamedTuple):
    """What is answered instead of the truth."""

    status: int
    headers: dict[str, str]
    body: bytes = b""


@dataclass
class Hub:
    """A running double."""

    files: dict[str, bytes]
    url: str = ""
    cdn: str = ""
    in_git: set[str] = field(default_factory=set[str])
    """GGUFs that are in git itself."""
    seen: list[Seen] = field(default_factory=list[Seen])
    listing: Callable[[dict[str, Any]], object] = lambda listing: listing
    """Changes what the list of files says."""
    answer: Callable[[Seen], Reply | None] = lambda _: None
    """Answers instead of the double, if it does."""
    content: Callable[[str, bytes], bytes] = lambda _, data: data
    """Changes the bytes of a file on their way."""
    drops: int = 0
    """How many of the next transfers break off in the middle."""
    token: str = ""
    """The token that is needed, if any."""
    xet: bool = False

    def is_lfs(self, path: str) -> bool:
        """Whether a file is outside git."""
        return path.endswith(".gguf") and path not in self.in_git

    def by_content(self, content: str) -> bytes:
        """The bytes that are sent for the file with this checksum."""
        path, data = next(item for item in self.files.items() if sha256(item[1]) == content)
        return self.content(path, data)

    def fetched(self) -> list[str]:
        """The files whose bytes were asked for."""
        return [seen.path.rpartition("/")[2] for seen in self.seen if seen.method == "GET" and "/api/" not in seen.path]

    def entries(self) -> dict[str, Any]:
        """The answer of the API."""
        siblings: list[dict[str, Any]] = []
        for path, data in self.files.items():
            entry: dict[str, Any] = {"rfilename": path, "size": len(data), "blobId": git_id(data)}
            if self.is_lfs(path):
                entry["lfs"] = {"sha256": sha256(data), "size": len(data), "pointerSize": 134}
            siblings.append(entry)
        return {"id": REPOSITORY, "modelId": REPOSITORY, "sha": COMMIT, "siblings": siblings}


def chunked(data: bytes) -> bytes:
    """A xorb: chunks, each behind a header that says how long it is, packed (here: not) and unpacked."""
    pieces: list[bytes] = []
    for start in range(0, len(data), _CHUNK):
        chunk = data[start : start + _CHUNK]
        length = len(chunk).to_bytes(3, "little")
        pieces.append(b"\0" + length + b"\0" + length + chunk)
    return b"".join(pieces)


def sha256(data: bytes) -> str:
    """As LFS names content."""
    return hashlib.sha256(data).hexdigest()


def git_id(data: bytes) -> str:
    """As git names content."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub
    host: str

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        seen = Seen(self.host, self.command, self.path, {name.lower(): text for name, text in self.headers.items()})
        self.hub.seen.append(seen)
        if instead := self.hub.answer(seen):
            self._reply(*instead)
        elif self.host == "cdn" and "/reconstructions/" in path:
            self._reconstruction(path)
        elif self.host == "cdn" and path.startswith("/xorb/"):
            self._xorb(path.rpartition("/")[2])
        elif self.host == "cdn":
            self._file(path.removeprefix("/"))
        elif self.hub.token and seen.headers.get("authorization") != f"Bearer {self.hub.token}":
            self._reply(401, {"X-Error-Code": "RepoNotFound"})
        elif path in (f"/api/models/{REPOSITORY}", f"/api/models/{REPOSITORY}/revision/main"):
            self._reply(
                200, {"Content-Type": "application/json"}, json.dumps(self.hub.listing(self.hub.entries())).encode()
            )
        elif "/xet-read-token/" in path:
            expires = {"X-Xet-Token-Expiration": str(int(time.time()) + 3600)}
            self._reply(200, {"X-Xet-Cas-Url": self.hub.cdn, "X-Xet-Access-Token": "xet"} | expires, b"{}")
        elif path.startswith(prefix := f"/{REPOSITORY}/resolve/{COMMIT}/"):
            self._resolve(path.removeprefix(prefix))
        else:
            code = "EntryNotFound" if "/resolve/" in path else "RepoNotFound"
            self._reply(404, {"X-Error-Code": code, "X-Repo-Commit": COMMIT})

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Quiet."""

    def _resolve(self, path: str) -> None:
        data = self.hub.files.get(path)
        if data is None:
            self._reply(404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT})
        elif self.hub.is_lfs(path):
            headers = {"X-Linked-Etag": f'"{sha256(data)}"', "X-Linked-Size": str(len(data)), "X-Repo-Commit": COMMIT}
            if self.hub.xet:
                route = f"{self.hub.url}/api/models/{REPOSITORY}/xet-read-token/{COMMIT}"
                headers |= {"X-Xet-Hash": sha256(data), "Link": f'<{route}>; rel="xet-auth"'}
            self._reply(302, headers | {"Location": f"{self.hub.cdn}/{path}?Signature=s3cret"})
        else:
            self._file(path, {"ETag": f'"{git_id(data)}"', "X-Repo-Commit": COMMIT})

    def _reconstruction(self, path: str) -> None:
        """A file is all the chunks of one xorb. There is a second version of this, for which 404 is an answer."""
        content = path.rpartition("/")[2]
        data = self.hub.by_content(content)
        xorb = chunked(data)
        chunks = {"start": 0, "end": -(-len(data) // _CHUNK)}
        place = {
            "range": chunks,
            "url": f"{self.hub.cdn}/xorb/{content}",
            "url_range": {"start": 0, "end": len(xorb) - 1},
        }
        document = {
            "offset_into_first_range": 0,
            "terms": [{"hash": content, "unpacked_length": len(data), "range": chunks}],
            "fetch_info": {content: [place]},
        }
        known = path.startswith("/v1/")
        self._reply(200 if known else 404, {"Content-Type": "application/json"}, json.dumps(document).encode())

    def _xorb(self, content: str) -> None:
        xorb = chunked(self.hub.by_content(content))
        self._reply(206, {"Content-Range": f"bytes 0-{len(xorb) - 1}/{len(xorb)}"}, xorb)

    def _file(self, path: str, headers: dict[str, str] | None = None) -> None:
        whole = self.hub.content(path, self.hub.files[path])
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")[0])
        headers = {"Accept-Ranges": "bytes", **(headers or {})}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(whole) - 1}/{len(whole)}"
        self._reply(206 if start else 200, headers, whole[start:])

    def _reply(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
        self.send_response(status)
        for name, text in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, text)
        self.end_headers()
        if self.command == "HEAD":
            return
        if self.hub.drops and status in (200, 206) and self.host == "cdn":
            self.hub.drops -= 1
            body = body[: len(body) // 2]
            self.close_connection = True
        self.wfile.write(body)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that has had enough is none."""


@contextmanager
def running_hub(files: dict[str, bytes]) -> Generator[Hub]:
    """The double, with one repository, while the block runs."""
    hub = Hub(files)
    servers: list[_Server] = []
    for host in ("hub", "cdn"):
        handler = type("Handler", (_Handler,), {"hub": hub, "host": host})
        servers.append(_Server(("127.0.0.1", 0), handler))
    for server in servers:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    hub.url, hub.cdn = (f"http://127.0.0.1:{server.server_port}" for server in servers)
    try:
        yield hub
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()
