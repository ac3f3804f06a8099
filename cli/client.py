"""Client: a running server's HTTP API, for the verbs that need one. What it replies is checked before it is believed."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, NotRequired, TypedDict, TypeVar
from urllib.parse import urlsplit

import msgspec

from ..store.errors import (
    BugError,
    CorralError,
    InputError,
    IntegrityError,
    MachineError,
    ModelNotFoundError,
    RemoteError,
)
from .settings import Settings


class Listed(TypedDict):
    """What is read of an entry of /api/tags."""

    name: str
    digest: str
    size: int
    modified_at: datetime


class Tags(TypedDict):
    """The body of /api/tags."""

    models: list[Listed]


class Loaded(TypedDict):
    """What is read of an entry of /api/ps."""

    name: str
    digest: str
    size: int
    size_vram: int
    context_length: int
    expires_at: datetime


class Processes(TypedDict):
    """The body of /api/ps."""

    models: list[Loaded]


class Details(TypedDict):
    """What is read of the `details` of /api/show."""

    family: str
    parameter_size: str
    quantization_level: str


class Shown(TypedDict):
    """What is read of the body of /api/show."""

    details: Details
    model_info: dict[str, Any]
    capabilities: list[str]


class Generated(TypedDict):
    """A line of /api/generate."""

    response: str
    done: bool


class Content(TypedDict):
    """What is read of a message."""

    content: str


class Chatted(TypedDict):
    """A line of /api/chat."""

    message: Content
    done: bool


_T = TypeVar("_T")


class Client:
    """One server. Where a `shape` is given, a reply is of this shape or a RemoteError; it is returned as it came.

    An API key in the environment is sent along. Raises InputError for one that cannot be.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        settings = Settings.from_environment()
        self._key = settings.text("API_KEY")
        if not self._key.isascii() or not self._key.isprintable():
            raise InputError(f"{settings.variable('API_KEY')}: no API key: it holds letters that no key has")

    def get(self, path: str, shape: type[_T]) -> Any:
        """The JSON body of a GET."""
        return self._read(self._send("GET", path, None, stream=False).content, shape)

    def post(self, path: str, body: dict[str, Any], shape: type[_T] = dict) -> Any:
        """The JSON body of a POST's reply."""
        return self._read(self._send("POST", path, body, stream=False).content, shape)

    def stream(self, path: str, body: dict[str, Any], shape: type[_T]) -> Iterator[Any]:
        """The NDJSON lines of a POST's reply. Raises RemoteError for an error line."""
        import requests

        try:
            with self._send("POST", path, body, stream=True) as reply:
                for raw in reply.iter_lines(chunk_size=None):
                    if said := _error(raw):
                        raise _fault(raw, said)
                    yield self._read(raw, shape)
        except requests.RequestException as cause:
            raise RemoteError(f"{self.url}: the reply broke off: {cause}") from cause

    def _read(self, raw: bytes, shape: type[_T]) -> Any:
        try:
            value = msgspec.json.decode(raw)
            msgspec.convert(value, shape)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as cause:
            hint = "is it a model server that listens there?"
            raise RemoteError(f"{self.url}: the reply cannot be read: {cause}", hint=hint) from None
        return value

    def _send(self, method: str, path: str, body: dict[str, Any] | None, *, stream: bool) -> Any:
        import requests

        from ..registry.trust import is_loopback

        file = _file_of(self.url)
        # A proxy cannot reach this machine's own server. "" keeps requests from looking for one.
        direct = {"http": "", "https": ""} if file or is_loopback(urlsplit(self.url).netloc) else None
        if file:
            from .unix_socket import session_to

            session, base = session_to(file), "http://localhost"
        else:
            session, base = requests.Session(), self.url
        try:
            with session:
                reply = session.request(
                    method,
                    base + path,
                    json=body,
                    stream=stream,
                    timeout=(5, None),
                    proxies=direct,
                    auth=self._signed if self._key else None,
                )
        except requests.exceptions.SSLError as cause:
            hint = "name a file with the authorities to trust by REQUESTS_CA_BUNDLE"
            raise RemoteError(f"{self.url}: no TLS with the server: {cause}", hint=hint) from cause
        except requests.ConnectionError:
            raise RemoteError(
                f"{self.url}: could not connect to the server", hint="start it with: corral serve"
            ) from None
        except requests.RequestException as cause:
            raise RemoteError(f"{self.url}: the request failed: {cause}") from cause
        if reply.ok:
            return reply
        said = _error(reply.content)
        if said is None:
            raise RemoteError(f"{self.url}: {method} {path}: {reply.status_code} {reply.reason}")
        if reply.status_code == 404 and body:
            raise ModelNotFoundError(str(body.get("model")))
        raise InputError(said) if reply.status_code == 400 else _fault(reply.content, said)

    def _signed(self, request: Any) -> Any:
        # As requests' `auth`, which does not look for a login in ~/.netrc then, and sends it to no other host.
        request.headers["Authorization"] = f"Bearer {self._key}"
        return request


def _file_of(url: str) -> Path | None:
    """The file of a unix socket."""
    return Path(url.removeprefix("unix://")) if url.startswith("unix://") else None


def _error(raw: bytes) -> str | None:
    """The text of an error body, or None for anything else."""
    try:
        return msgspec.json.decode(raw, type=_ErrorBody)["error"]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _fault(raw: bytes, said: str) -> CorralError:
    """The error, as whose fault a Corral server says it is; of any other server it is the server's."""
    kinds = {"integrity": IntegrityError, "machine": MachineError, "bug": BugError}
    body = msgspec.json.decode(raw, type=_ErrorBody)
    return kinds.get(body.get("kind", ""), RemoteError)(said, hint=body.get("hint"))


class _ErrorBody(TypedDict):
    error: str
    kind: NotRequired[str]
    hint: NotRequired[str]


def is_listening(url: str) -> bool:
    """Whether somebody answers at the address."""
    parts = urlsplit(url)
    try:
        if file := _file_of(url):
            from .unix_socket import connect

            connect(file, 0.5).close()
            return True
        with socket.create_connection((parts.hostname or "127.0.0.1", parts.port or 80), timeout=0.5):
            return True
    except OSError:
        return False
