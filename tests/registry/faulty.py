"""A registry in memory, to be spoilt: the OCI distribution API as Debian's docker-registry has it; and another host beside.

By itself it keeps the rules: it serves ranges, checks digests, takes an upload's bytes only at the newest Location it gave,
and wants a login. Faults go in between, see exchange.py.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from corral.store.manifest import MANIFEST_TYPE, Manifest

from tests.registry.exchange import Data, Dropped, Host, Reply, Request
from tests.registry.gatekeeper import BASIC

_PATH = re.compile(r"/v2/(?P<name>.+?)/(?P<kind>manifests|blobs/uploads|blobs|tags)/(?P<rest>[^/]*)")


@dataclass
class Upload:
    """One that was begun."""

    repository: str
    state: int = 0
    data: bytearray = field(default_factory=bytearray)
    hashed: Any = field(default_factory=hashlib.sha256)
    taker: Request | None = None
    """Whose bytes it takes; those of one before, whose connection its client has left, come too late."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, piece: bytes, giver: Request) -> None:
        with self.lock:
            if self.taker is not giver:
                raise Dropped
            self.data += piece
            self.hashed.update(piece)


@dataclass
class FaultyRegistry(Host):
    """What it holds, and how it is."""

    login: str = BASIC
    """The Authorization that lets one in; "" lets everybody in."""
    is_fickle: bool = True
    """Whether an upload's Location is good only until the next bytes come, and not after a part of them."""
    is_strict: bool = False
    """Whether it refuses bytes whose Content-Range does not go on where the last ones ended."""
    blobs: dict[str, Data] = field(default_factory=dict[str, Data])
    linked: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])
    """The repositories and the digests they have."""
    manifests: dict[tuple[str, str], tuple[str, bytes]] = field(
        default_factory=dict[tuple[str, str], tuple[str, bytes]]
    )
    """By repository and tag or digest: the media type and the bytes."""
    uploads: dict[str, Upload] = field(default_factory=dict[str, Upload])

    def hold(self, repository: str, tag: str, manifest: Manifest, contents: Iterable[Data]) -> None:
        """Have it hold this model."""
        self.manifests[repository, tag] = self.manifests[repository, str(manifest.digest)] = MANIFEST_TYPE, manifest.raw
        for data in contents:
            digest = digest_of(data)
            self.blobs[digest] = data
            self.linked.add((repository, digest))

    def sound(self, request: Request) -> Reply:
        """What it replies where no fault is."""
        if self.login and request.headers.get("authorization") != self.login:
            return refusal(401, "UNAUTHORIZED", {"WWW-Authenticate": 'Basic realm="faulty"'})
        if request.path == "/v2/":
            return Reply(200, body=b"{}")
        match = _PATH.fullmatch(request.path)
        if match is None:
            return refusal(404, "NAME_UNKNOWN")
        name, rest = match["name"], match["rest"]
        match match["kind"]:
            case "tags":
                tags = sorted(tag for where, tag in self.manifests if where == name and ":" not in tag)
                return Reply(
                    200, {"Content-Type": "application/json"}, json.dumps({"name": name, "tags": tags}).encode()
                )
            case "manifests":
                return self.manifest(request, name, rest)
            case "blobs":
                return self.blob(request, name, rest)
            case _:
                return self.upload(request, name, rest) if rest else self.begin(request, name)

    def manifest(self, request: Request, name: str, reference: str) -> Reply:
        """The manifests of a repository."""
        if request.method == "PUT":
            return self._put_manifest(request, name, reference)
        if (name, reference) not in self.manifests:
            return refusal(404, "MANIFEST_UNKNOWN")
        if request.method == "DELETE":
            del self.manifests[name, reference]
            return Reply(202)
        media_type, raw = self.manifests[name, reference]
        return Reply(200, {"Content-Type": media_type, "Docker-Content-Digest": digest_of(raw)}, raw)

    def _put_manifest(self, request: Request, name: str, reference: str) -> Reply:
        raw = request.whole()
        document = json.loads(raw)
        if any((name, blob["digest"]) not in self.linked for blob in (document["config"], *document["layers"])):
            return refusal(400, "MANIFEST_BLOB_UNKNOWN")
        digest = digest_of(raw)
        self.manifests[name, reference] = self.manifests[name, digest] = request.headers["content-type"], raw
        return Reply(201, {"Location": request.path, "Docker-Content-Digest": digest})

    def blob(self, request: Request, name: str, digest: str) -> Reply:
        """The blobs of a repository."""
        if (name, digest) not in self.linked:
            return refusal(404, "BLOB_UNKNOWN")
        if request.method == "DELETE":
            self.linked.discard((name, digest))
            return Reply(202)
        return ranged(request, self.blobs[digest], digest)

    def begin(self, request: Request, name: str) -> Reply:
        """A new upload, or a mount of what another repository has."""
        digest = request.query.get("mount", "")
        if digest and (request.query.get("from"), digest) in self.linked:
            return self.stored(name, digest)
        request.whole()
        key = secrets.token_hex(8)
        self.uploads[key] = Upload(name)
        return self.place(key, 202)

    def stored(self, name: str, digest: str) -> Reply:
        """The repository has the blob now."""
        self.linked.add((name, digest))
        return Reply(201, {"Location": f"/v2/{name}/blobs/{digest}", "Docker-Content-Digest": digest})

    def place(self, key: str, status: int) -> Reply:
        """Where an upload goes on, and how much of it is here."""
        upload = self.uploads[key]
        location = f"/v2/{upload.repository}/blobs/uploads/{key}?_state={upload.state}"
        return Reply(status, {"Location": location, "Range": f"0-{max(0, len(upload.data) - 1)}"})

    def upload(self, request: Request, name: str, key: str) -> Reply:
        """The steps of an upload."""
        upload = self.uploads.get(key)
        if upload is None or upload.repository != name:
            return refusal(404, "BLOB_UPLOAD_UNKNOWN")
        with upload.lock:
            if request.query.get("_state") != str(upload.state):
                return refusal(404, "BLOB_UPLOAD_INVALID")
            if request.method == "DELETE":
                del self.uploads[key]
                return Reply(204)
            upload.taker = request
            if request.method == "GET":
                return self.place(key, 204)
            start = re.match(r"(?:bytes )?(\d+)-", request.headers.get("content-range", ""))
            if self.is_strict and start and int(start[1]) != len(upload.data):
                return self.place(key, 416)
            upload.state += self.is_fickle
        for piece in request.pieces():
            upload.take(piece, request)
        if request.method == "PATCH":
            return self.place(key, 202)
        digest = f"sha256:{upload.hashed.hexdigest()}"
        if request.query.get("digest") != digest:
            return refusal(400, "DIGEST_INVALID")
        self.blobs[digest] = memoryview(upload.data)
        self.uploads.pop(key, None)
        return self.stored(name, digest)


@dataclass
class Elsewhere(Host):
    """Another host, with blobs for whoever asks for them by their digest."""

    contents: dict[str, Data] = field(default_factory=dict[str, Data])
    linked: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])
    """The registry's, for what is sent here for a repository of it: the path's end is that repository."""

    def sound(self, request: Request) -> Reply:
        """A blob; or, to one that is sent here, that it was taken."""
        digest = request.path.rpartition("/")[2]
        if request.method in ("GET", "HEAD"):
            return ranged(request, self.contents[digest], digest) if digest in self.contents else refusal(404, "GONE")
        data, digest = request.whole(), request.query.get("digest", "")
        if request.method != "PUT" or digest_of(data) != digest:
            return refusal(400, "DIGEST_INVALID")
        self.contents[digest] = data
        self.linked.add((request.path.removeprefix("/upload/"), digest))
        return Reply(201)


def digest_of(data: Data) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def refusal(status: int, code: str, headers: dict[str, str] | None = None) -> Reply:
    """An error by the distribution spec."""
    body = json.dumps({"errors": [{"code": code, "message": code.lower()}]}).encode()
    return Reply(status, {"Content-Type": "application/json"} | (headers or {}), body)


def ranged(request: Request, data: Data, digest: str) -> Reply:
    """Content, or the range of it that is asked for."""
    view, etag = memoryview(data), f'"{digest}"'
    headers = {"Docker-Content-Digest": digest, "Content-Type": "application/octet-stream", "ETag": etag}
    headers["Accept-Ranges"] = "bytes"
    match = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("range", ""))
    if match is None or request.headers.get("if-range", etag) != etag:
        return Reply(200, headers, view)
    start, end = int(match[1]), min(int(match[2] or len(view)), len(view) - 1)
    if start > end:
        return Reply(416, {"Content-Range": f"bytes */{len(view)}"})
    return Reply(206, {**headers, "Content-Range": f"bytes {start}-{end}/{len(view)}"}, view[start : end + 1])
