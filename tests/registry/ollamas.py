"""A registry with the manners of Ollama's own: its blobs are elsewhere, by signed addresses, and go there in parts.

What it does not do is as much a part of it: no /v2/, no tags, no HEAD of a manifest, no blob in the body of the last PUT.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass, field

from corral.store.manifest import MANIFEST_TYPE

from tests.registry.exchange import Data, Host, Reply, Request
from tests.registry.faulty import FaultyRegistry, Upload, digest_of, ranged, refusal


@dataclass
class Storage(Host):
    """Where the bytes are: for whoever has a signed address, and for nobody who shows a login as well."""

    uses: int = 1_000_000
    """How many requests an address is good for."""
    contents: dict[str, Data] = field(default_factory=dict[str, Data])
    signed: dict[str, list[str | int]] = field(default_factory=dict[str, list[str | int]])
    """By signature: the method, the path, and how many requests are left."""
    parts: dict[str, dict[int, bytes]] = field(default_factory=dict[str, dict[int, bytes]])
    """By upload, and by number."""

    def sign(self, method: str, path: str) -> str:
        """An address that is good for a while."""
        signature = secrets.token_hex(16)
        self.signed[signature] = [method, path, self.uses]
        return f"http://{self.host}{path}?X-Amz-Expires=900&X-Amz-Signature={signature}"

    def sound(self, request: Request) -> Reply:
        """Content by its digest; a part of an upload by its number."""
        if "authorization" in request.headers:
            return refusal(400, "INVALID_ARGUMENT")
        grant = self.signed.get(request.query.get("X-Amz-Signature", ""))
        if grant is None or grant[:2] != [request.method, request.path] or grant[2] == 0:
            return refusal(403, "ACCESS_DENIED")
        grant[2] = int(grant[2]) - 1
        kind, name = request.path.split("/")[1:3]
        if kind == "blob":
            reply = ranged(request, self.contents[name], name)
            reply.headers.pop("Docker-Content-Digest", None)
            return reply
        data = request.whole()
        self.parts[name][int(request.path.rpartition("/")[2])] = data
        return Reply(200, {"ETag": f'"{hashlib.md5(data).hexdigest()}"'})


@dataclass
class OllamasRegistry(FaultyRegistry):
    """The registry before it."""

    storage: Storage = field(default_factory=Storage)
    redirects_parts: bool = True
    """Whether parts go to the storage, in any order, or are taken one after the other."""

    def sound(self, request: Request) -> Reply:
        """What it replies."""
        if request.path == "/v2/" or request.path.endswith("/tags/list"):
            return refusal(404, "NOT_FOUND")
        return super().sound(request)

    def manifest(self, request: Request, name: str, reference: str) -> Reply:
        """Manifests of one type, by tag, and no word of their digests."""
        is_wanted = MANIFEST_TYPE in request.headers.get("accept", "")
        if request.method not in ("GET", "PUT") or ":" in reference or (request.method == "GET" and not is_wanted):
            return refusal(404, "NOT_FOUND")
        if request.method == "PUT" and request.headers.get("content-type") != MANIFEST_TYPE:
            return refusal(400, "MANIFEST_INVALID")
        reply = super().manifest(request, name, reference)
        reply.headers.pop("Docker-Content-Digest", None)
        return reply

    def blob(self, request: Request, name: str, digest: str) -> Reply:
        """Where a blob is to be had."""
        reply = super().blob(request, name, digest)
        if request.method != "GET" or reply.status not in (200, 206):
            return reply
        return Reply(307, {"Location": self.storage.sign("GET", f"/blob/{digest}")})

    def begin(self, request: Request, name: str) -> Reply:
        """A new upload."""
        reply = super().begin(request, name)
        if reply.status == 202:
            reply.headers["Docker-Upload-Location"] = f"http://{self.host}{reply.headers.pop('Location')}"
            key = reply.headers["Docker-Upload-Location"].rpartition("/")[2].partition("?")[0]
            self.storage.parts[key] = {}
        return reply

    def upload(self, request: Request, name: str, key: str) -> Reply:
        """A part, or the end."""
        upload = self.uploads.get(key)
        if upload is None or request.query.get("_state") != str(upload.state):
            return refusal(404, "BLOB_UPLOAD_INVALID")
        with upload.lock:
            if request.method == "PATCH":
                return self._part(request, key, upload)
            return self._end(request, name, key) if request.method == "PUT" else refusal(405, "UNSUPPORTED")

    def _part(self, request: Request, key: str, upload: Upload) -> Reply:
        place = re.fullmatch(r"(\d+)-(\d+)", request.headers.get("content-range", ""))
        if place is None or int(place[2]) - int(place[1]) + 1 != request.length:
            return refusal(400, "RANGE_INVALID")
        parts = self.storage.parts[key]
        number = len(parts)
        parts[number] = b""
        upload.state += 1
        onward = f"http://{self.host}{self.place(key, 202).headers['Location']}"
        if self.redirects_parts and request.headers.get("x-redirect-uploads") == "1":
            address = self.storage.sign("PUT", f"/upload/{key}/{number}")
            return Reply(307, {"Location": address, "Docker-Upload-Location": onward})
        if int(place[1]) != sum(len(part) for part in parts.values()):
            return refusal(416, "RANGE_INVALID")
        parts[number] = request.whole()
        return Reply(202, {"Location": onward})

    def _end(self, request: Request, name: str, key: str) -> Reply:
        if request.length or "transfer-encoding" in request.headers:
            return refusal(400, "UNSUPPORTED")
        parts = [part for _, part in sorted(self.storage.parts.pop(key).items())]
        sums = b"".join(hashlib.md5(part).digest() for part in parts)
        if request.query.get("etag") != f"{hashlib.md5(sums).hexdigest()}-{len(parts)}":
            return refusal(400, "ETAG_INVALID")
        data = b"".join(parts)
        if request.query.get("digest") != digest_of(data):
            return refusal(400, "DIGEST_INVALID")
        self.blobs[digest_of(data)] = self.storage.contents[digest_of(data)] = data
        del self.uploads[key]
        return self.stored(name, digest_of(data))
