"""Transport: HTTP to one registry, by the OCI distribution spec 1.1. Foreign exceptions end here.

Every response is bounded: manifests by MAX_MANIFEST_BYTES, blobs by their descriptor, error bodies by 64 KiB.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
from collections.abc import Iterable, Iterator
from typing import Any, cast
from urllib.parse import urljoin, urlsplit

import requests
import urllib3.exceptions

from ..store.digest import Digest
from ..store.errors import InvalidDigestError, MismatchError, RemoteError, shown
from ..store.manifest import MANIFEST_TYPE, MAX_MANIFEST_BYTES
from ..store.name import Name

_TIMEOUT = (10.0, 60.0)
_CHUNK = 1 << 20
_MAX_ERROR = 64 << 10
_MAX_REDIRECTS = 5
UNSOUND = (
    "the registry's copy is damaged or was changed on the way, and nothing of it is kept; try again, or tell its owner"
)


class RegistryError(RemoteError):
    """A registry's refusal or failure."""

    def __init__(self, message: str, *, status: int | None = None, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.status = status


class Registry:
    """One repository of one registry, as a name gives it."""

    def __init__(self, name: Name, *, insecure: bool = False) -> None:
        self._name = name
        plain = name.scheme == "http" or (name.scheme is None and (insecure or is_loopback(name.host)))
        self._base = f"{'http' if plain else 'https'}://{name.host}/v2/{name.repository}/"
        self._session = _Session()
        # A proxy cannot reach this machine's own registry.
        self._session.trust_env = not is_loopback(name.host)
        self._session.headers.update({"User-Agent": "corral", "Accept-Encoding": "identity"})

    def __enter__(self) -> Registry:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    def manifest(self, reference: str) -> bytes:
        """The manifest's bytes, as they come.

        Raises RegistryError, with status 404 when there is none, MismatchError when they are not those of the digest that
        the registry sends along.
        """
        reply = self._send("GET", f"manifests/{reference}", headers={"Accept": MANIFEST_TYPE})
        raw = b"".join(self._chunks(reply, MAX_MANIFEST_BYTES + 1))
        if len(raw) > MAX_MANIFEST_BYTES:
            raise RegistryError(f"{self._name}: manifest of more than {MAX_MANIFEST_BYTES} bytes")
        self._check_promise(raw, reply.headers.get("Docker-Content-Digest"))
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
            raise MismatchError(
                f"{self._name}: manifest from {self._name.host}", expected=promised, got=got, hint=UNSOUND
            )

    def put_manifest(self, reference: str, raw: bytes, digest: Digest) -> None:
        """Store a manifest under a tag. Raises RegistryError, also when the registry keeps something else."""
        reply = self._ask("PUT", f"manifests/{reference}", data=raw, headers={"Content-Type": MANIFEST_TYPE})
        stored = reply.headers.get("Docker-Content-Digest", str(digest))
        if stored != str(digest):
            raise RegistryError(f"{self._name}: sent manifest {digest}, the registry stored {shown(stored)}")

    def has_blob(self, digest: Digest) -> bool:
        """Whether the repository has the blob."""
        return self._ask("HEAD", f"blobs/{digest}", also_ok=(404,)).status_code != 404

    def blob(self, digest: Digest, size: int) -> Iterator[bytes]:
        """The blob's bytes in pieces, one more than `size` at most; the caller compares size and digest."""
        return self._chunks(self._send("GET", f"blobs/{digest}"), size + 1)

    def upload(self, digest: Digest, size: int, chunks: Iterable[bytes]) -> None:
        """Store a blob, in one request once the registry has said where to. Raises RegistryError."""
        begun = self._ask("POST", "blobs/uploads/", headers={"Content-Length": "0"})
        location = begun.headers.get("Location")
        if not location:
            raise RegistryError(f"{self._name}: the registry gave no upload location")
        url = self._joined(begun.url, location)
        if urlsplit(url).netloc != urlsplit(self._base).netloc:
            raise RegistryError(f"{self._name}: the upload location is on another host, {shown(urlsplit(url).netloc)}")
        separator = "&" if urlsplit(url).query else "?"
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
        self._ask("PUT", f"{url}{separator}digest={digest}", data=_Sized(chunks, size), headers=headers)

    def _ask(self, method: str, path: str, **options: Any) -> requests.Response:
        """The reply to a request whose body is not wanted."""
        reply = self._send(method, path, **options)
        self._drain(reply)
        return reply

    def _send(self, method: str, path: str, *, also_ok: tuple[int, ...] = (), **options: Any) -> requests.Response:
        """The reply with its body unread, after redirects."""
        url = self._joined(self._base, path)
        reply = self._request(method, url, **options)
        for _ in range(_MAX_REDIRECTS):
            if method not in ("GET", "HEAD") or not reply.is_redirect:
                break
            self._drain(reply)
            url = self._joined(url, reply.headers["Location"])
            reply = self._request(method, url, **options)
        if not 200 <= reply.status_code < 300 and reply.status_code not in also_ok:
            raise self._refusal(method, path, reply)
        return reply

    def _request(self, method: str, url: str, **options: Any) -> requests.Response:
        try:
            return self._session.request(method, url, timeout=_TIMEOUT, stream=True, **options)
        except requests.exceptions.SSLError as cause:
            hint = "for a registry without TLS, write http:// before the name or use --insecure"
            raise RegistryError(f"{self._unreached(url)}: TLS failed: {_reason(cause)}", hint=hint) from cause
        except requests.RequestException as cause:
            hint = "check the name and the network; `corral list` shows the models that are here already"
            raise RegistryError(f"{self._unreached(url)}: {_reason(cause)}", hint=hint) from cause

    def _unreached(self, url: str) -> str:
        host = urlsplit(url).netloc.rpartition("@")[2] or self._name.host
        return f"{self._name}: cannot reach {shown(host)[1:-1]}"

    def _joined(self, base: str, location: str) -> str:
        try:
            return urljoin(base, location)
        except ValueError as cause:
            raise RegistryError(f"{self._name}: the location {shown(location)} is no address: {cause}") from None

    def _drain(self, reply: requests.Response) -> None:
        """Take a body that is not wanted off the connection, so that it can serve again; a long one ends it."""
        for _ in self._chunks(reply, _MAX_ERROR):
            pass

    def _refusal(self, method: str, path: str, reply: requests.Response) -> RegistryError:
        what = path.partition("?")[0].replace(self._base, "")
        try:
            body = b"".join(self._chunks(reply, _MAX_ERROR))
            entries = cast("list[dict[str, str]]", json.loads(body)["errors"])
            said = "; ".join(f"{entry.get('code')}: {entry.get('message')}" for entry in entries)
        except (ValueError, KeyError, TypeError, AttributeError, RegistryError):
            said = reply.reason
        hints = {
            401: "this registry wants a login, which is not supported yet",
            404: "see that the name and tag are right",
        }
        message = f"{self._name}: {method} {what}: {reply.status_code} {shown(said, 400)[1:-1]}"
        return RegistryError(message, status=reply.status_code, hint=hints.get(reply.status_code))

    def _chunks(self, reply: requests.Response, limit: int) -> Iterator[bytes]:
        """The body as it is on the wire, cut after `limit` bytes."""
        left = limit
        try:
            with reply:
                while left > 0 and (chunk := reply.raw.read(min(_CHUNK, left), decode_content=False)):
                    left -= len(chunk)
                    yield chunk
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as cause:
            message = f"{self._name}: the transfer from {self._name.host} broke: {_reason(cause)}"
            raise RegistryError(message, hint="try again; what has come whole is not fetched again") from cause


class _Session(requests.Session):
    """Leaves redirects to its caller: requests itself would read the whole body of each, however long."""

    def get_redirect_target(self, resp: requests.Response) -> str | None:  # noqa: ARG002
        """There is none to follow."""
        return None


class _Sized:
    """An iterable body with a known length, which requests then sends without chunked encoding."""

    def __init__(self, chunks: Iterable[bytes], size: int) -> None:
        self._chunks = chunks
        self._size = size

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._chunks)


def is_loopback(host: str) -> bool:
    """Whether `host`, which may have a port, is this machine under a name of its own."""
    bare = (host if host.endswith("]") else host.rpartition(":")[0] or host).strip("[]")
    try:
        return ipaddress.ip_address(bare).is_loopback
    except ValueError:
        return bare == "localhost"


def _reason(cause: BaseException) -> str:
    """The innermost cause, which is what a person can act on."""
    # Not by __context__, which leads on to whatever else was being handled when the request was made.
    while inner := [
        held for held in (cause.__cause__, *cause.args, getattr(cause, "reason", None)) if isinstance(held, Exception)
    ]:
        cause = inner[0]
    return (isinstance(cause, OSError) and cause.strerror) or str(cause) or type(cause).__name__
