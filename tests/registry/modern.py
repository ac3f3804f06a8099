"""A registry in memory that does what distribution-spec 1.1 has and Debian's docker-registry has not: referrers, the deletion
of single tags, paging. What it does not do is the test's to say.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
EMPTY = "application/vnd.oci.empty.v1+json"


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@dataclass
class Repository:
    blobs: dict[str, bytes] = field(default_factory=dict[str, bytes])
    manifests: dict[str, tuple[str, bytes]] = field(default_factory=dict[str, tuple[str, bytes]])
    tags: dict[str, str] = field(default_factory=dict[str, str])


Answer = tuple[int, dict[str, str], bytes]


@dataclass
class Modern:
    """The registry's state, and what it can do."""

    host: str = ""
    repositories: dict[str, Repository] = field(default_factory=dict[str, Repository])
    has_referrers: bool = True
    filters: bool = True
    mounts: bool = True
    deletes_tags: bool = True
    deletes: bool = True
    has_etags: bool = False
    page: int = 1000
    """Entries on a page."""
    answer: Callable[[str, str], Answer | None] = lambda _, __: None
    """Put before what it does, for a method and a path."""
    changed: Callable[[], None] = lambda: None
    """Called before a manifest is stored."""
    seen: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    cancelled: int = 0

    def repository(self, name: str) -> Repository:
        return self.repositories.setdefault(name, Repository())

    def asked(self, method: str, part: str) -> list[str]:
        return [path for kind, path in self.seen if kind == method and part in path]

    def put_blob(self, name: str, data: bytes) -> dict[str, Any]:
        self.repository(name).blobs[digest_of(data)] = data
        return {"mediaType": EMPTY, "digest": digest_of(data), "size": len(data)}

    def put(self, name: str, document: dict[str, Any], *tags: str) -> str:
        """Store a manifest as it is; gives its digest."""
        raw = json.dumps(document).encode()
        repository = self.repository(name)
        repository.manifests[digest_of(raw)] = (document["mediaType"], raw)
        repository.tags |= dict.fromkeys(tags, digest_of(raw))
        return digest_of(raw)

    def artifact(self, name: str, text: bytes, *tags: str, subject: str = "", kind: str = "text/x") -> str:
        """Store an artifact that holds a text, and may refer to another; gives its digest."""
        document: dict[str, Any] = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": kind,
            "config": self.put_blob(name, b"{}"),
            "layers": [self.put_blob(name, text)],
            "annotations": {"note": text[:40].decode()},
        }
        if subject:
            size = len(self.repository(name).manifests.get(subject, ("", b"x"))[1])
            document["subject"] = {"mediaType": MANIFEST, "digest": subject, "size": size}
        return self.put(name, document, *tags)

    def referrers(self, name: str, subject: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for digest, (media_type, raw) in self.repository(name).manifests.items():
            document = json.loads(raw)
            if document.get("subject", {}).get("digest") == subject:
                part = {"mediaType": media_type, "digest": digest, "size": len(raw)}
                extra = {key: document[key] for key in ("artifactType", "annotations") if key in document}
                found.append(part | extra)
        return found


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    modern: Modern

    def do_GET(self) -> None:
        modern = self.modern
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        if len(body) < length:  # whoever sent it has gone
            self.close_connection = True
            return
        modern.seen.append((self.command, self.path))
        parts = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        answer = modern.answer(self.command, self.path)
        match = re.fullmatch(r"/v2/(.+?)/(manifests|blobs/uploads|blobs|tags|referrers)/(.*)", parts.path)
        if answer is None and match:
            name, kind, rest = match.groups()
            handle = getattr(self, f"_{self.command.lower()}_{kind.replace('/', '_')}", None)
            answer = handle(name, rest, query, body) if handle else None
        status, headers, reply = answer or (404, {}, b"")
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        if "Content-Length" not in headers:
            self.send_header("Content-Length", str(len(reply)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply)

    do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = do_GET  # noqa: N815

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):
            super().handle()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Quiet."""

    def _get_manifests(self, name: str, rest: str, query: dict[str, str], body: bytes) -> Answer | None:  # noqa: ARG002
        repository = self.modern.repository(name)
        digest = repository.tags.get(rest, rest)
        if digest not in repository.manifests:
            return None
        media_type, raw = repository.manifests[digest]
        etag = {"ETag": f'"{digest}"'} if self.modern.has_etags else {}
        return 200, {"Content-Type": media_type, "Docker-Content-Digest": digest, **etag}, raw

    _head_manifests = _get_manifests

    def _put_manifests(self, name: str, rest: str, query: dict[str, str], body: bytes) -> Answer:  # noqa: ARG002
        modern, repository = self.modern, self.modern.repository(name)
        modern.changed()
        document, digest = json.loads(body), digest_of(body)
        wanted = self.headers.get("If-Match")
        if wanted and wanted != f'"{repository.tags.get(rest)}"':
            return 412, {}, b""
        for part in [document.get("config"), *document.get("layers", [])]:
            if part and part["digest"] not in repository.blobs:
                return 400, {}, b'{"errors":[{"code":"MANIFEST_BLOB_UNKNOWN","message":"blob unknown"}]}'
        repository.manifests[digest] = (self.headers["Content-Type"], body)
        if ":" not in rest:
            repository.tags[rest] = digest
        subject = document.get("subject", {}).get("digest")
        return 201, {"OCI-Subject": subject} if subject and modern.has_referrers else {}, b""

    def _delete_manifests(self, name: str, rest: str, query: dict[str, str], body: bytes) -> Answer | None:  # noqa: ARG002
        repository = self.modern.repository(name)
        if not self.modern.deletes or (":" not in rest and not self.modern.deletes_tags):
            return 405, {}, b'{"errors":[{"code":"UNSUPPORTED","message":"no"}]}'
        if ":" not in rest:
            return (202, {}, b"") if repository.tags.pop(rest, None) else None
        repository.tags = {tag: digest for tag, digest in repository.tags.items() if digest != rest}
        return (202, {}, b"") if repository.manifests.pop(rest, None) else None

    def _get_blobs(self, name: str, rest: str, query: dict[str, str], body: bytes) -> Answer | None:  # noqa: ARG002
        data = self.modern.repository(name).blobs.get(rest)
        return None if data is None else (200, {"Content-Length": str(len(data))}, data)

    _head_blobs = _get_blobs

    def _post_blobs_uploads(self, name: str, rest: str, query: dict[str, str], body: bytes) -> Answer:  # noqa: ARG002
        source = self.modern.repository(query.get("from", "")).blobs
        if self.modern.mounts and query.get("mount") in source:
            self.modern.repository(name).blobs[query["mount"]] = source[query["mount"]]
            return 201, {"Location": f"/v2/{name}/blobs/{query['mount']}"}, b""
        return 202, {"Location": f"/v2/{name}/blobs/uploads/1?state=a"}, b""

    def _put_blobs_uploads(self, name: str, rest: str, query: dict[str, str], body: bytes) -> Answer:  # noqa: ARG002
        if query.get("state") != "a":
            return 400, {}, b""
        # It takes whatever it is sent: the client has to see that it is right.
        self.modern.repository(name).blobs[query["digest"]] = body
        return 201, {"Location": f"/v2/{name}/blobs/{query['digest']}"}, b""

    def _delete_blobs_uploads(self, name: str, rest: str, query: dict[str, str], body: bytes) -> Answer:  # noqa: ARG002
        self.modern.cancelled += 1
        return 204, {}, b""

    def _get_tags(self, name: str, rest: str, query: dict[str, str], body: bytes) -> Answer | None:  # noqa: ARG002
        if name not in self.modern.repositories:
            return None
        listed = sorted(self.modern.repository(name).tags)
        return self._page(
            f"/v2/{name}/tags/list", listed, query, lambda page: {"name": name, "tags": page}, "text/json"
        )

    def _get_referrers(self, name: str, rest: str, query: dict[str, str], body: bytes) -> Answer | None:  # noqa: ARG002
        if not self.modern.has_referrers:
            return None
        listed = self.modern.referrers(name, rest)
        kind = query.get("artifactType")
        if kind and self.modern.filters:
            listed = [part for part in listed if part.get("artifactType") == kind]
        document = {"schemaVersion": 2, "mediaType": INDEX}
        return self._page(self.path, listed, query, lambda page: document | {"manifests": page}, INDEX)

    def _page(
        self, path: str, listed: list[Any], query: dict[str, str], made: Callable[[list[Any]], Any], media_type: str
    ) -> Answer:
        start = int(query.get("start", 0))
        page = listed[start : start + self.modern.page]
        headers = {"Content-Type": media_type}
        if start + len(page) < len(listed):
            following = urlencode({**query, "start": start + len(page)})
            headers["Link"] = f'<{path.partition("?")[0]}?{following}>; rel="next"'
        return 200, headers, json.dumps(made(page)).encode()


@contextmanager
def modern_registry() -> Generator[Modern]:
    """One that runs while the block does."""
    modern = Modern()
    kind = type("Serving", (_Handler,), {"modern": modern})
    with ThreadingHTTPServer(("127.0.0.1", 0), kind) as server:
        server.daemon_threads = True
        modern.host = f"127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield modern
        finally:
            server.shutdown()
            thread.join()
