"""Transport: HTTP to one registry, by the OCI distribution spec 1.1. Foreign exceptions end here.

Every response is bounded: manifests by MAX_MANIFEST_BYTES, blobs by their descriptor, error bodies by 64 KiB.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast
from urllib.parse import urlsplit

import requests

from ..store.digest import Digest
from ..store.errors import InvalidDigestError, MismatchError, shown
from ..store.manifest import MANIFEST_TYPE, MAX_MANIFEST_BYTES
from ..store.name import Name
from .errors import UNSOUND, RegistryError
from .remote import Access
from .tokens import Authorization
from .wire import Wire

OCI_MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
LIST_TYPE = "application/vnd.docker.distribution.manifest.list.v2+json"
MANIFEST_TYPES = (MANIFEST_TYPE, OCI_MANIFEST_TYPE, OCI_INDEX_TYPE, LIST_TYPE)

_MAX_ERROR = 64 << 10
_MAX_REDIRECTS = 5


@dataclass(frozen=True, slots=True)
class RemoteManifest:
    """A manifest as a registry sent it."""

    raw: bytes
    media_type: str
    """By its Content-Type, without parameters."""

    @property
    def digest(self) -> Digest:
        """The sha256 of its bytes."""
        return Digest.of(self.raw)


class Registry:
    """One repository of one registry, as a name gives it."""

    def __init__(
        self, name: Name, *, insecure: bool = False, access: Access | None = None, actions: str = "pull"
    ) -> None:
        access = access or Access()
        self._name = name
        self.host = access.host(name.host)
        """The registry that is asked, which for Ollama's names may be another."""
        remote = access.remote(self.host)
        if insecure:
            remote = replace(remote, insecure=True)
        self._wire = Wire(self.host, remote, identity=str(name), scheme=name.scheme)
        scope = f"repository:{name.repository}:{actions}"
        self._authorization = Authorization(self._wire, access, (scope,), name.repository)

    def __enter__(self) -> Registry:
        return self

    def __exit__(self, *_: object) -> None:
        self._wire.close()

    def manifest(self, reference: str, types: Sequence[str] = MANIFEST_TYPES) -> RemoteManifest:
        """The manifest, as it comes; any of the media types will do.

        Raises RegistryError, with status 404 when there is none, MismatchError when they are not those of the digest that
        the registry sends along.
        """
        reply = self.send("GET", f"manifests/{reference}", headers={"Accept": ", ".join(types)})
        raw = b"".join(self._wire.body(reply, MAX_MANIFEST_BYTES + 1))
        if len(raw) > MAX_MANIFEST_BYTES:
            raise RegistryError(f"{self._name}: manifest of more than {MAX_MANIFEST_BYTES} bytes")
        self._check_promise(raw, reply.headers.get("Docker-Content-Digest"))
        media_type = reply.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        return RemoteManifest(raw, media_type)

    def _check_promise(self, raw: bytes, promised: str | None) -> None:
        if promised is None:
            return
        try:
            algorithm = Digest.parse(promised).algorithm
        except InvalidDigestError:
            raise RegistryError(
                f"{self._name}: Docker-Content-Digest is {shown(promised)}, which is no digest"
            ) from None
        got = f"{algorithm}:{hashlib.new(algorithm, raw).hexdigest()}"
        if got != promised:
            raise MismatchError(f"{self._name}: manifest from {self.host}", expected=promised, got=got, hint=UNSOUND)

    def put_manifest(self, reference: str, raw: bytes, media_type: str = MANIFEST_TYPE) -> requests.Response:
        """Store a manifest under a tag or its digest. Raises RegistryError, also when the registry keeps something else."""
        digest = str(Digest.of(raw))
        reply = self.ask("PUT", f"manifests/{reference}", data=raw, headers={"Content-Type": media_type})
        stored = reply.headers.get("Docker-Content-Digest", digest)
        if stored != digest:
            raise RegistryError(f"{self._name}: sent manifest {digest}, the registry stored {shown(stored)}")
        return reply

    def has_blob(self, digest: Digest) -> bool:
        """Whether the repository has the blob."""
        return self.ask("HEAD", f"blobs/{digest}", also_ok=(404,)).status_code != 404

    def blob(self, digest: Digest, size: int) -> Iterator[bytes]:
        """The blob's bytes in pieces, one more than `size` at most; the caller compares size and digest."""
        return self._wire.body(self.send("GET", f"blobs/{digest}"), size + 1)

    def upload(self, digest: Digest, size: int, chunks: Iterable[bytes]) -> None:
        """Store a blob, in one request once the registry has said where to. Raises RegistryError.

        `chunks` is begun anew when the registry wants a newer token than the one it was sent with.
        """
        begun = self.ask("POST", "blobs/uploads/", headers={"Content-Length": "0"})
        location = begun.headers.get("Location")
        if not location:
            raise RegistryError(f"{self._name}: the registry gave no upload location")
        url = self._wire.joined(begun.url, location)
        separator = "&" if urlsplit(url).query else "?"
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
        self.ask("PUT", f"{url}{separator}digest={digest}", data=_Sized(chunks, size), headers=headers)

    def ask(self, method: str, path: str, **options: Any) -> requests.Response:
        """The reply to a request whose body is not wanted."""
        reply = self.send(method, path, **options)
        self._wire.drain(reply)
        return reply

    def send(self, method: str, path: str, *, also_ok: tuple[int, ...] = (), **options: Any) -> requests.Response:
        """The reply with its body unread, after redirects; `path` is seen from the repository. Raises RegistryError."""
        url = self._wire.joined(f"{self._wire.base}{self._name.repository}/", path)
        reply = self._request(method, url, **options)
        for _ in range(_MAX_REDIRECTS):
            if method not in ("GET", "HEAD") or not reply.is_redirect:
                break
            self._wire.drain(reply)
            url = self._wire.joined(url, reply.headers["Location"])
            reply = self._request(method, url, **options)
        if not 200 <= reply.status_code < 300 and reply.status_code not in also_ok:
            raise self._refusal(method, path, reply)
        return reply

    def _request(
        self, method: str, url: str, *, headers: dict[str, str] | None = None, **options: Any
    ) -> requests.Response:
        """The reply to one request. Only the registry itself gets the login, and only its 401 is answered."""
        if not self._wire.is_own(url):
            return self._wire.send(method, url, headers=headers, **options)
        return self._authorization.send(method, url, headers=headers or {}, **options)

    def _refusal(self, method: str, path: str, reply: requests.Response) -> RegistryError:
        what = path.partition("?")[0].removeprefix(f"{self._wire.base}{self._name.repository}/")
        try:
            body = b"".join(self._wire.body(reply, _MAX_ERROR))
            entries = cast("list[dict[str, str]]", json.loads(body)["errors"])
            said = "; ".join(f"{entry.get('code')}: {entry.get('message')}" for entry in entries)
        except (ValueError, KeyError, TypeError, AttributeError, RegistryError):
            said = reply.reason
        hint = "see that the name and tag are right" if reply.status_code == 404 else None
        if reply.status_code in (401, 403) and self._wire.is_own(reply.url):
            hint = self._authorization.hint()
        message = f"{self._name}: {method} {what}: {reply.status_code} {shown(said, 400)[1:-1]}"
        return RegistryError(message, status=reply.status_code, hint=hint)


class _Sized:
    """An iterable body with a known length, which requests then sends without chunked encoding."""

    def __init__(self, chunks: Iterable[bytes], size: int) -> None:
        self._chunks = chunks
        self._size = size

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._chunks)
