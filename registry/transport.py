"""Transport: HTTP to one registry, by the OCI distribution spec 1.1. Foreign exceptions end here.

Every response is bounded: manifests by MAX_MANIFEST_BYTES, blobs by their descriptor, error bodies by 64 KiB.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar, cast
from urllib.parse import quote, urlencode

import requests

from ..store.digest import Digest
from ..store.errors import InvalidDigestError, MismatchError, shown
from ..store.manifest import MANIFEST_TYPE, MAX_MANIFEST_BYTES, Descriptor
from ..store.name import Name
from .errors import UNSOUND, RegistryError
from .patience import PASSING, Tries, retry_after
from .ranges import Flight, check_range
from .remote import Access
from .tokens import Authorization
from .wire import Wire

OCI_MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
LIST_TYPE = "application/vnd.docker.distribution.manifest.list.v2+json"
MANIFEST_TYPES = (MANIFEST_TYPE, OCI_MANIFEST_TYPE, OCI_INDEX_TYPE, LIST_TYPE)

_MAX_ERROR = 64 << 10
_MAX_REDIRECTS = 5
_UNASKED = "it refused without asking for a login: it may be only for reading, or closed to this address; ask its owner"
_T = TypeVar("_T")


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
        self,
        name: Name,
        *,
        insecure: bool = False,
        access: Access | None = None,
        actions: str = "pull",
        mirror: str = "",
    ) -> None:
        access = access or Access()
        self._name = name
        self._origin = access.host(name.host)
        self._is_mirror = bool(mirror)
        self.host = mirror or self._origin
        """The registry that is asked, which for Ollama's names may be another."""
        remote = access.remote(self.host)
        if insecure and not mirror:
            remote = replace(remote, insecure=True)
        self.remote = remote
        self.patience = access.patience
        self._wire = Wire(
            self.host, remote, identity=str(name), patience=self.patience, scheme=None if mirror else name.scheme
        )
        self._access = access
        self._scope = f"repository:{name.repository}:{actions}"
        self._authorizations: dict[str, Authorization] = {}
        self._guard = threading.Lock()
        self._direct: dict[Digest, str] = {}
        """Where the registry has sent those who wanted these blobs."""

    @classmethod
    def sources(cls, name: Name, *, insecure: bool, access: Access | None) -> list[Registry]:
        """The mirrors of a name's registry, each with its own login, and at the end the registry itself."""
        origin = cls(name, insecure=insecure, access=access)
        return [*(cls(name, access=access, mirror=mirror) for mirror in origin.remote.mirrors), origin]

    @property
    def identity(self) -> str:
        """What an error is about: the name it was asked for."""
        return str(self._name)

    @property
    def repository(self) -> str:
        """The repository, as the registry knows it."""
        return self._name.repository

    def __enter__(self) -> Registry:
        return self

    def __exit__(self, *_: object) -> None:
        self._wire.close()

    def manifest(self, reference: str, types: Sequence[str] = MANIFEST_TYPES) -> RemoteManifest:
        """The manifest, as it comes; any of the media types will do.

        Raises RegistryError, with status 404 when there is none, MismatchError when they are not those of the digest that
        the registry sends along.
        """

        def fetched() -> RemoteManifest:
            reply = self.send_once("GET", f"manifests/{reference}", headers={"Accept": ", ".join(types)})
            raw = self.whole(reply, "manifest", MAX_MANIFEST_BYTES)
            self._check_promise(raw, reply.headers.get("Docker-Content-Digest"))
            media_type = reply.headers.get("Content-Type", "").partition(";")[0].strip().lower()
            return RemoteManifest(raw, media_type)

        return self._tried(fetched)

    def whole(self, reply: requests.Response, what: str, limit: int) -> bytes:
        """A reply's body, which is a `what`. Raises RegistryError when it has more than `limit` bytes."""
        raw = b"".join(self._wire.body(reply, limit + 1))
        if len(raw) > limit:
            raise RegistryError(f"{self._name}: {what} of more than {limit} bytes")
        return raw

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

    def small_blob(self, blob: Descriptor) -> bytes:
        """A blob whole, verified. Raises RegistryError, MismatchError."""
        raw = self._tried(lambda: b"".join(self.blob(blob.digest, blob.size)))
        got = Digest(blob.digest.algorithm, hashlib.new(blob.digest.algorithm, raw).hexdigest())
        if got != blob.digest:
            what = f"{self._name}: blob {blob.digest.short} from {self.host}"
            raise MismatchError(what, expected=str(blob.digest), got=str(got), hint=UNSOUND)
        return raw

    def begin_upload(self, mounted: Digest | None = None, source: str = "") -> requests.Response:
        """Have the registry name a place for a blob, 202; or have it take the blob from the repository `source`, 201."""
        if mounted is None:
            return self.ask("POST", "blobs/uploads/", headers={"Content-Length": "0"})
        query = urlencode({"mount": str(mounted), "from": source}, safe=":/")
        also = f"repository:{source}:pull"
        return self.ask("POST", f"blobs/uploads/?{query}", headers={"Content-Length": "0"}, also=also)

    def joined(self, base: str, location: str) -> str:
        """Where a location in a reply to `base` leads. Raises RegistryError where one must not go."""
        return self._wire.joined(base, location)

    @property
    def base(self) -> str:
        """The address of the registry's API."""
        return self._wire.base

    def drain(self, reply: requests.Response) -> None:
        """Take a body that is not wanted off the connection. Raises RegistryError."""
        self._wire.drain(reply)

    def sleep(self, seconds: float) -> None:
        """Leave the registry alone for a while, or until it is aborted."""
        self._wire.aborted.wait(seconds)

    def abort(self) -> None:
        """End whatever other threads wait for; nothing can be asked for afterwards."""
        self._wire.abort()

    def ask(self, method: str, path: str, **options: Any) -> requests.Response:
        """The reply to a request whose body is not wanted."""
        reply = self.send(method, path, **options)
        self._wire.drain(reply)
        return reply

    def open_blob(self, flight: Flight, blob: Descriptor) -> BlobStream:
        """The bytes that a flight is to bring, or the whole blob where ranges are not given. One try.

        Raises RegistryError, also where what comes cannot be what was asked for.
        """
        start, stop = flight.start, flight.stop  # which others may bring nearer meanwhile
        headers = {} if flight.is_whole else {"Range": f"bytes={start}-{stop - 1}"}
        reply = self._located(blob.digest, headers)
        if reply.status_code == 206 and not flight.is_whole:
            expected = stop - start
            try:
                check_range(reply.headers.get("Content-Range", ""), start, stop, blob.size)
            except ValueError as cause:
                reply.close()
                what = f"{self._name}: blob {blob.digest.short}: {cause}"
                raise RegistryError(what, status=416, is_passing=True) from None  # it has no ranges to speak of
        elif reply.status_code == 200:
            expected = blob.size
        else:
            raise self._refusal("GET", f"blobs/{blob.digest}", reply)
        length = reply.headers.get("Content-Length", str(expected))
        if length != str(expected):
            reply.close()
            what = f"{self._name}: blob {blob.digest.short} from {self.host}"
            raise MismatchError(what, expected=f"{expected} bytes", got=f"{shown(length)[1:-1]}", hint=UNSOUND)
        return BlobStream(reply, self._wire.body(reply, expected), is_whole=reply.status_code == 200)

    def _located(self, digest: Digest, headers: dict[str, str]) -> requests.Response:
        """The reply of whoever has the blob: where the registry sent one for it before, or the registry itself."""
        path = f"blobs/{digest}"
        if direct := self._direct.get(digest):
            reply = self._wire.send("GET", direct, headers=headers)
            if reply.status_code in (200, 206):
                return reply
            reply.close()
            self._direct.pop(digest, None)  # such addresses are good for a while only
        reply = self.send_once("GET", path, also_ok=(416,), headers=headers)
        if not self._wire.is_own(reply.url):
            self._direct[digest] = reply.url
        return reply

    def send(self, method: str, path: str, *, also_ok: tuple[int, ...] = (), **options: Any) -> requests.Response:
        """The reply with its body unread, after redirects; `path` is seen from the repository. Raises RegistryError.

        What may pass is waited for, unless the request has a body that comes in pieces.
        """
        if not isinstance(options.get("data", b""), bytes):
            return self.send_once(method, path, also_ok=also_ok, **options)
        return self._tried(lambda: self.send_once(method, path, also_ok=also_ok, **options))

    def _tried(self, action: Callable[[], _T]) -> _T:
        """What the action gives, once it does; what may pass is waited for. Raises RegistryError."""
        tries = Tries(self.patience)
        while True:
            try:
                return action()
            except RegistryError as error:
                wait = tries.wait(error.retry_after) if error.is_passing else None
                if wait is None:
                    raise
                self.sleep(wait)

    def send_once(self, method: str, path: str, *, also_ok: tuple[int, ...] = (), **options: Any) -> requests.Response:
        """What send() does, tried once."""
        url = self._wire.joined(f"{self._wire.base}{self._name.repository}/", path)
        if self._is_mirror:  # one may stand for several registries
            url += f"{'&' if '?' in url else '?'}ns={quote(self._origin)}"
        reply = self._request(method, url, **options)
        for _ in range(_MAX_REDIRECTS):
            # What is uploaded goes where it is sent too; a part is left to Upload.
            may_follow = method in ("GET", "HEAD") or (method != "PATCH" and reply.status_code in (307, 308))
            if not reply.is_redirect or not may_follow:
                break
            self._wire.drain(reply)
            url = self._wire.joined(url, reply.headers["Location"])
            reply = self._request(method, url, **options)
        if not 200 <= reply.status_code < 300 and reply.status_code not in also_ok:
            raise self._refusal(method, path, reply)
        return reply

    def _request(
        self, method: str, url: str, *, headers: dict[str, str] | None = None, also: str = "", **options: Any
    ) -> requests.Response:
        """The reply to one request, which may need one scope more. Only the registry itself gets the login."""
        if not self._wire.is_own(url):
            return self._wire.send(method, url, headers=headers, **options)
        return self._authorized(also).send(method, url, headers=headers or {}, **options)

    def _authorized(self, also: str) -> Authorization:
        """The way in to the repository, and to one scope more."""
        with self._guard:
            if also not in self._authorizations:
                scopes = (self._scope, also) if also else (self._scope,)
                self._authorizations[also] = Authorization(self._wire, self._access, scopes, self.repository)
            return self._authorizations[also]

    def _refusal(self, method: str, path: str, reply: requests.Response) -> RegistryError:
        codes: tuple[str, ...] = ()
        what = path.partition("?")[0].removeprefix(f"{self._wire.base}{self._name.repository}/")
        try:
            body = b"".join(self._wire.body(reply, _MAX_ERROR))
            entries = cast("list[dict[str, str]]", json.loads(body)["errors"])
            said = "; ".join(f"{entry.get('code')}: {entry.get('message')}" for entry in entries)
            codes = tuple(str(entry.get("code")) for entry in entries)
        except (ValueError, KeyError, TypeError, AttributeError, RegistryError):
            said = reply.reason
        hint = None
        if reply.status_code == 404:
            is_part = method == "GET" and what.startswith("blobs/")
            hint = (
                "the registry lacks a part of it; tell its owner" if is_part else "see that the name and tag are right"
            )
        if reply.status_code == 400 and self._wire.origin.is_plain:
            hint = 'if it speaks TLS, write https:// before the name, or "http = false" in config.toml'
        if reply.status_code in (401, 403) and self._wire.is_own(reply.url):
            way_in = self._authorized("")
            hint = way_in.hint() if reply.status_code == 401 or way_in.was_used else _UNASKED
        message = f"{self._name}: {method} {what}: {reply.status_code} {shown(said, 400)[1:-1]}"
        return RegistryError(
            message,
            status=reply.status_code,
            hint=hint,
            is_passing=reply.status_code in PASSING,
            retry_after=retry_after(reply.headers),
            codes=codes,
        )


class BlobStream:
    """A blob's bytes, or some of them, as they come. Use it as a context manager."""

    def __init__(self, reply: requests.Response, pieces: Iterator[bytes], *, is_whole: bool) -> None:
        self._reply = reply
        self._pieces = pieces
        self.is_whole = is_whole

    def __enter__(self) -> BlobStream:
        return self

    def __exit__(self, *_: object) -> None:
        self._reply.close()

    def __iter__(self) -> Iterator[bytes]:
        return self._pieces

    def break_off(self) -> None:
        """End it though another thread may be waiting for more."""
        with contextlib.suppress(ValueError, RuntimeError, OSError):  # it is over already
            self._reply.raw.shutdown()
