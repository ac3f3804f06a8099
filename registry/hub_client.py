"""Hub client: the HTTP client that huggingface_hub uses here, and what its exceptions mean.

huggingface_hub follows redirects anywhere, reads bodies of any length and waits as long as it is told to; hooks in the client
that it is given set the same bounds as everywhere in this room. Xet transfers are a library's of their own: no hook sees
those, and what they bring is looked at when it is here.

This module imports huggingface_hub, which reads its settings (HF_TOKEN, HF_HOME, HF_ENDPOINT, ...) from the environment as it
is imported, so only a pull from the Hub may import it.
"""

from __future__ import annotations

import logging
import re
import socket
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import httpx2
from huggingface_hub import constants, get_session, set_client_factory
from huggingface_hub.errors import (
    EntryNotFoundError,
    FileMetadataError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
)

from ..store.errors import CorralError, InputError, MismatchError, StoreError, shown
from .errors import RegistryError, reason
from .trust import Origin, Place, check_way, is_in_reach, place_of

_MAX_REPLY = 32 << 20
"""Bytes of a reply that is not a file: some 20,000 files can be listed in it."""
_MAX_WAIT = 60
"""Seconds: how long the Hub may have one wait."""
_MAX_REDIRECTS = 10
_TIMEOUT = httpx2.Timeout(60.0, connect=10.0)
_LOOPBACK = ("all://localhost", "all://127.0.0.1", "all://[::1]")
_RESET = re.compile(r";\s*t\s*=\s*(\d+)")
_SECRET = re.compile(r"\?\S*|(?<=Bearer )[^\s'\"]+")
"""In an address what makes it a key, and in a header the key."""


@dataclass(frozen=True, slots=True)
class _Job:
    """What is being done by this thread."""

    identity: str
    size: int | None
    """Bytes of the file that is fetched; None while what is asked for is no file."""


_job: ContextVar[_Job | None] = ContextVar("_job", default=None)
"""None where somebody else in this process uses the library, whose business is not ours to judge."""


@contextmanager
def at_work(identity: str, *, size: int | None = None) -> Generator[None]:
    """Talk to the Hub through its library in the block, about `identity`; no file in it may be larger than `size` bytes.

    Raises RegistryError for all that the Hub refuses or fails in, MismatchError for a file that is too long, StoreError.
    """
    _prepare()
    token = _job.set(_Job(identity, size))
    try:
        yield
    except CorralError:
        raise
    except Exception as cause:
        raise _translated(cause, identity) from cause
    finally:
        _job.reset(token)


@cache
def _prepare() -> None:
    """Have the library be careful and quiet; once, for the process."""
    # It would ask the Hub which programs run it, to tell the Hub.
    constants.HF_HUB_DISABLE_TELEMETRY = True
    # Ten times as much, as it is, goes through memory several times at once, and is lost when a connection breaks.
    constants.DOWNLOAD_CHUNK_SIZE = 1 << 20
    _hub()  # first of all: whether there can be one
    logging.getLogger("huggingface_hub").setLevel(logging.CRITICAL)
    set_client_factory(partial(_client, tuple(get_session().event_hooks["request"])))


def _client(own: Sequence[Any]) -> httpx2.Client:
    return httpx2.Client(
        headers={"Accept-Encoding": "identity"},
        event_hooks={"request": [*own, _check_request], "response": [_check_reply]},
        follow_redirects=True,
        max_redirects=_MAX_REDIRECTS,
        timeout=_TIMEOUT,
        # A proxy cannot reach this machine's own servers.
        mounts=dict.fromkeys(_LOOPBACK),
    )


@cache
def _hub() -> Origin:
    try:
        return Origin.parse(constants.ENDPOINT)
    except ValueError as cause:
        raise InputError(f"HF_ENDPOINT: {shown(constants.ENDPOINT)} is no address: {cause}") from None


def hub_host() -> str:
    """The Hub's host."""
    return _hub().host


def _is_hub(origin: Origin) -> bool:
    return origin in (_hub(), Origin("https", "huggingface.co", 443), Origin("https", "hf.co", 443))


def _check_request(request: httpx2.Request) -> None:
    """Raise RegistryError where a reply must not have led; take the token out where it must not be seen."""
    job = _job.get()
    if job is None:
        return
    try:
        target = Origin.parse(str(request.url))
        if target == _hub():
            return
        check_way(target, _hub(), home := _home())
        for place in _places(target):
            if not is_in_reach(place, home):
                raise ValueError(f"it leads to a {place} address")
    except ValueError as cause:
        url = shown(_SECRET.sub("…", str(request.url)))
        message = f"{job.identity}: the location {url} is not followed: {cause}"
        raise RegistryError(message) from None
    if not _is_hub(target):
        request.headers.pop("Authorization", None)


def _places(target: Origin) -> set[Place]:
    """The networks that a host may be in; none where that cannot be told, as behind a proxy."""
    place = place_of(target.host)
    if place is not None:
        return {place}
    try:
        found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    except OSError:
        return set()
    return {place for entry in found if (place := place_of(str(entry[4][0])))}


@cache
def _home() -> Place:
    places = _places(_hub())
    return places.pop() if len(places) == 1 else "public"


def _check_reply(reply: httpx2.Response) -> None:
    """Raise RegistryError for a reply that cannot be used, and bound the body of one that can."""
    job, host = _job.get(), reply.request.url.host
    if job is None:
        return
    encoding = reply.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise RegistryError(f"{job.identity}: the reply of {host} is packed ({shown(encoding)})")
    if (seconds := _wait(reply)) > _MAX_WAIT:
        raise RegistryError(
            f"{job.identity}: {host} answered {reply.status_code}, and to wait {shown(str(seconds), 20)[1:-1]} seconds",
            status=reply.status_code,
            hint="try again then; one who has logged in with HF_TOKEN is let through more often",
        )
    # The library makes a file's name of the one, and shows the other the token.
    for name in ("ETag", "X-Linked-Etag"):
        if "/" in (etag := reply.headers.get(name, "").removeprefix("W/")):
            raise RegistryError(f"{job.identity}: {host} sent the checksum {shown(etag)}")
    link = reply.links.get("xet-auth", {}).get("url")
    for route in filter(None, (link, reply.headers.get("X-Xet-Refresh-Route"))):
        if not _leads_to_hub(route):
            raise RegistryError(f"{job.identity}: the location {shown(_SECRET.sub('…', route))} is not shown the token")
    is_file = reply.status_code in (200, 206) and not str(reply.request.url).startswith(f"{constants.ENDPOINT}/api/")
    limit = _MAX_REPLY if job.size is None or not is_file else job.size
    assert isinstance(reply.stream, httpx2.SyncByteStream)
    reply.stream = _Bounded(reply.stream, limit, job, host)


def _wait(reply: httpx2.Response) -> int:
    """The seconds that a reply asks for before one tries again."""
    if reply.status_code < 400:
        return 0
    said = reply.headers.get("Retry-After", "").strip()
    reset = _RESET.search(reply.headers.get("RateLimit", "")) if reply.status_code == 429 else None
    # Longer numbers are refused anyway, before anybody computes with them.
    return max(int(text[:12]) for text in ("0", reset[1] if reset else "0", said if said.isdecimal() else "0"))


def _leads_to_hub(url: str) -> bool:
    try:
        return _is_hub(Origin.parse(url))
    except ValueError:
        return False


class _Bounded(httpx2.SyncByteStream):
    """A body that breaks off with an error when it is too long."""

    def __init__(self, body: httpx2.SyncByteStream, limit: int, job: _Job, host: str) -> None:
        self._body = body
        self._limit = limit
        self._job = job
        self._host = host

    def __iter__(self) -> Iterator[bytes]:
        done = 0
        for chunk in self._body:
            done += len(chunk)
            if done > self._limit:
                raise MismatchError(
                    f"{self._job.identity}: the reply of {self._host}",
                    expected=f"at most {self._limit} bytes",
                    got="more",
                    hint="the Hub and what it sends do not agree; try again, or tell the repository's owner",
                )
            yield chunk

    def close(self) -> None:
        self._body.close()


def _translated(cause: Exception, identity: str) -> CorralError:
    """What an exception of the library, or of one below it, means."""
    if isinstance(cause, LocalEntryNotFoundError) and isinstance(cause.__cause__, Exception):
        cause = cause.__cause__
    if isinstance(cause, HfHubHTTPError):
        return _refusal(cause, identity)
    if isinstance(cause, httpx2.TransportError):
        hint = "check the network and HF_ENDPOINT; with HF_HUB_OFFLINE=1 what Hugging Face's cache has is taken"
        return RegistryError(f"{identity}: cannot reach {hub_host()}: {_said(cause)}", hint=hint, is_passing=True)
    if isinstance(cause, HFValidationError):
        return InputError(f"{identity}: the Hub has no such names", hint="a repository is USER/REPOSITORY")
    if isinstance(cause, FileMetadataError):
        return not_the_hub(identity, "it does not say what a file is")
    if type(cause) is OSError and not cause.errno:  # it has another size
        message = f"{identity}: the transfer from {hub_host()} broke off"
        return RegistryError(message, hint="try again; what has come whole is not fetched again", is_passing=True)
    if isinstance(cause, OSError) and cause.errno and not isinstance(cause, ConnectionError):
        return StoreError(str(cause.filename or "the store"), "take in a download", cause)
    what = f"{type(cause).__name__}: {_said(cause)}"
    hint = "try again; another HF_ENDPOINT, or HF_HUB_DISABLE_XET=1, is another way to the same files"
    return RegistryError(f"{identity}: the download from {hub_host()} failed: {what}", hint=hint)


def not_the_hub(identity: str, why: str) -> RegistryError:
    """For replies that the Hub would not give."""
    hint = "check HF_ENDPOINT, and whether a proxy answers in the Hub's place"
    return RegistryError(f"{identity}: {hub_host()} does not answer as the Hub does: {why}", hint=hint)


def _refusal(cause: HfHubHTTPError, identity: str) -> RegistryError:
    # What the Hub says besides is left out: it is long, and might be anything.
    status = cause.response.status_code
    name = identity.partition(":")[0]
    if isinstance(cause, GatedRepoError):
        hint = f"accept the licence on the model's page, https://{name}, and set HF_TOKEN to a token of yours"
        return RegistryError(f"{identity}: the repository is gated", status=status, hint=hint)
    if status == 404 and isinstance(cause, EntryNotFoundError):
        return RegistryError(
            f"{identity}: a file that {hub_host()} lists is not there", status=status, hint="try again"
        )
    if status in (401, 403, 404) or isinstance(cause, RepositoryNotFoundError):
        hint = "check the name; for a private repository set HF_TOKEN to a token that may read it"
        return RegistryError(f"{identity}: not found on {hub_host()}, or not for you", status=status, hint=hint)
    passing = status in (408, 429) or status >= 500
    hint = "try again later" if passing else None
    return RegistryError(f"{identity}: {hub_host()} answered {status}", status=status, hint=hint, is_passing=passing)


def _said(cause: Exception) -> str:
    """An exception in a line, without secrets."""
    return _SECRET.sub("…", " ".join(reason(cause).split()))[:300]
