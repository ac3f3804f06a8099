"""Upload: one blob on its way to a registry: in one request, or in chunks that can be gone on with.

By the OCI distribution spec 1.1, and what registries make of it (quirks.py): the place to go on is always the newest one that
the registry has named; how much it has is what its Range says, whatever its status; and where it has lost an upload, or
takes no chunks, the upload begins again.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit

import requests

from ..store.digest import Digest
from ..store.errors import shown
from .errors import RegistryError
from .journal import Journal
from .patience import Tries
from .quirks import MIB, UploadPolicy, acknowledged, part_size
from .transport import Registry

_LEAST_CHUNK = 4 * MIB
_MOST_CHUNK = 1024 * MIB
_COMMITTED = 20e6
"""Bytes a second."""
_FINAL = ("DIGEST_INVALID", "SIZE_INVALID", "DENIED", "UNAUTHORIZED")
"""What a registry says that no other way of sending would change."""


@dataclass(frozen=True, slots=True)
class Content:
    """What is sent."""

    digest: Digest
    size: int
    read: Callable[[int, int], Iterator[bytes]]
    """The bytes from the one position to before the other, in pieces; the last of all only if the digest holds."""


class _LostError(RegistryError):
    """The registry does not know the upload any more, or has it wrong."""


class _NoChunksError(RegistryError):
    """The registry takes blobs whole only."""


class Upload:
    """One blob, used once. What the registry says of itself on the way is heeded."""

    def __init__(
        self, registry: Registry, content: Content, policy: UploadPolicy, journal: Journal | None = None
    ) -> None:
        self._registry = registry
        self._content = content
        self._journal = journal
        self._is_ollamas = policy.is_ollamas
        self._may_chunk = policy.takes_chunks
        self._in_chunks = policy.takes_chunks and content.size > policy.whole_up_to
        self._chunk = policy.chunk
        self._most = _MOST_CHUNK
        self._tries = Tries(registry.patience)
        self._location = ""
        self._sent = 0
        """How many bytes the registry has acknowledged."""
        self._best = 0
        self._sums: list[bytes] = []
        self._is_mended = False

    def run(self) -> None:
        """Return when the registry has the blob. Raises RegistryError, and whatever reading it raises."""
        try:
            while True:
                try:
                    if not self._location and not self._resumed() and self._begun():
                        break
                    if self._in_chunks:
                        self._send_chunks()
                    else:
                        self._send_whole()
                    break
                except RegistryError as error:
                    self._begin_again(error)
                    if self._registry.has_blob(self._content.digest):  # only the reply was lost
                        break
        except BaseException:
            if not (self._in_chunks and self._journal):  # nobody goes on with it
                self._cancel()
            raise
        if self._journal:
            self._journal.end(self._content.digest)

    def _resumed(self) -> bool:
        """Whether an upload that broke off before can be gone on with."""
        known = self._journal.upload(self._content.digest) if self._journal and self._in_chunks else None
        if known:
            try:
                self._location = self._registry.joined(self._registry.base, known)
                self._sent = self._status()
            except RegistryError:
                self._forget()
        return bool(self._location)

    def _begun(self) -> bool:
        """Have the registry name a place; whether it took the blob from another repository instead."""
        digest = self._content.digest
        source = self._journal.elsewhere(digest) if self._journal else None
        if source and self._journal:
            try:
                reply = self._registry.begin_upload(digest, source)
            except RegistryError:
                self._journal.lost(digest, source)
            else:
                if reply.status_code == 201:
                    return True
                self._journal.lost(digest, source)
                self._take_location(reply)
                return False
        self._take_location(self._registry.begin_upload())
        return False

    def _take_location(self, reply: requests.Response) -> None:
        """Go on where the registry says, and in such pieces as it wants."""
        ollamas = reply.headers.get("Docker-Upload-Location")
        if ollamas and not self._is_ollamas:
            self._is_ollamas = self._in_chunks = True
            self._chunk = part_size(self._content.size)
        location = ollamas or reply.headers.get("Location")
        if location:
            self._location = self._registry.joined(reply.url, location)
        elif not self._location:
            raise RegistryError(f"{self._registry.identity}: the registry gave no upload location")
        least = reply.headers.get("OCI-Chunk-Min-Length", "")
        if least.isascii() and least.isdigit() and len(least) < 12:
            if int(least) > self._most:
                raise _NoChunksError(f"{self._registry.identity}: chunks of {least} bytes are wanted, and refused")
            self._chunk = max(self._chunk, int(least))

    def _send_whole(self) -> None:
        query = {"digest": str(self._content.digest)}
        self._send("PUT", self._with(query), 0, self._content.size, more_time=self._commits_in)

    def _send_chunks(self) -> None:
        while self._sent < self._content.size:
            start, stop = self._sent, min(self._sent + self._chunk, self._content.size)
            try:
                self._sent = self._patched(start, stop)
                if self._sent < stop:
                    self._wait(RegistryError(f"{self._registry.identity}: the registry takes no more of an upload"))
            except (_LostError, _NoChunksError):
                raise
            except RegistryError as error:
                self._sent = self._recovered(error, start)
            if self._sent > self._best:
                self._best = self._sent
                self._tries.got_on()
            if self._journal and self._location:
                self._journal.begin(self._content.digest, self._location)
            if not self._location:
                return
        query = {"digest": str(self._content.digest), **self._etag}
        self._registry.ask("PUT", self._with(query), data=b"", more_time=self._commits_in)

    def _patched(self, start: int, stop: int) -> int:
        """Send one chunk; how much the registry then has."""
        headers = {"Content-Range": f"{start}-{stop - 1}"}
        if self._is_ollamas:
            headers["X-Redirect-Uploads"] = "1"
        reply = self._send("PATCH", self._location, start, stop, headers, also_ok=(307,))
        if reply.status_code == 307:
            return self._sent_elsewhere(reply, start, stop)
        if reply.status_code == 201:
            # ECR ends the upload with its first chunk.
            if stop == self._content.size and self._registry.has_blob(self._content.digest):
                self._location = ""
                return stop
            raise _NoChunksError(f"{self._registry.identity}: the registry took a chunk for the whole blob")
        self._take_location(reply)
        if "Range" not in reply.headers:  # not all say it; the digest at the end tells
            return stop
        has = acknowledged(reply.headers["Range"])
        if has == 0 and stop == 1:
            return 1
        if has is None or not start <= has <= stop:
            said = shown(reply.headers["Range"])
            raise _LostError(f"{self._registry.identity}: sent bytes {start}-{stop - 1}, the registry has {said}")
        return has

    def _sent_elsewhere(self, reply: requests.Response, start: int, stop: int) -> int:
        """Ollama's registry has the part sent to a storage service, which is shown no login."""
        target = self._registry.joined(reply.url, reply.headers.get("Location", ""))
        ollamas = reply.headers.get("Docker-Upload-Location")
        if ollamas:
            self._location = self._registry.joined(reply.url, ollamas)
        self._send("PUT", target, start, stop)
        return stop

    def _recovered(self, error: RegistryError, start: int) -> int:
        """After a chunk that failed: how much the registry has. Raises what ends the upload, or this way of sending."""
        if error.status in (413, 416) and self._chunk > _LEAST_CHUNK:
            self._most = self._chunk = _LEAST_CHUNK if error.status == 416 else max(self._chunk // 4, _LEAST_CHUNK)
        elif error.is_passing:
            self._wait(error)
        elif error.status == 404:
            raise _LostError(str(error), status=404, hint=error.hint) from error
        else:
            is_first = start == 0 and not self._is_ollamas and error.status in (400, 405, 413, 415, 416, 501)
            raise _NoChunksError(str(error), status=error.status) if is_first else error
        return self._status()

    def _status(self) -> int:
        """How much the registry has, asked for it. Raises _LostError."""
        try:
            reply = self._registry.ask("GET", self._location)
        except RegistryError as error:
            raise _LostError(str(error), status=error.status, hint=error.hint) from error
        has = acknowledged(reply.headers.get("Range"))
        if reply.status_code != 204 or has is None or has > self._content.size:
            raise _LostError(f"{self._registry.identity}: the registry does not say what it has of an upload")
        self._take_location(reply)
        return has

    def _begin_again(self, error: RegistryError) -> None:
        """See how to go on after a failure. Raises the error where nothing would help."""
        is_final = error.status in (401, 403) or any(code in _FINAL for code in error.codes)
        if is_final and self._in_chunks and error.status == 400 and not self._is_mended:
            self._is_mended = True  # what was gone on with may have been damaged on its way
        elif is_final:
            self._cancel()
            self._forget()
            raise error
        elif isinstance(error, _NoChunksError):
            self._in_chunks = self._may_chunk = False
        elif not self._in_chunks and self._may_chunk and error.status in (400, 405, 413, 415, 501):
            self._in_chunks = True  # too large for one request, or parts are all it takes
        elif not isinstance(error, _LostError) and not error.is_passing and error.status != 404:
            raise error
        elif not self._in_chunks and self._may_chunk and error.status is None and self._content.size > self._chunk:
            self._in_chunks = True  # these can be gone on with
        self._wait(error)
        self._forget()

    def _wait(self, error: RegistryError) -> None:
        wait = self._tries.wait(error.retry_after, self._best)
        if wait is None:
            raise error
        self._registry.sleep(wait)

    def _forget(self) -> None:
        self._location, self._sent, self._sums = "", 0, []
        if self._journal:
            self._journal.end(self._content.digest)

    def _cancel(self) -> None:
        if self._location:
            with contextlib.suppress(RegistryError):
                self._registry.send_once("DELETE", self._location, also_ok=(404,)).close()

    @property
    def _commits_in(self) -> float:
        """The seconds that a registry may take to hash or move what it has got, beyond the usual."""
        return self._content.size / _COMMITTED

    @property
    def _etag(self) -> dict[str, str]:
        """The checksum of the parts' checksums, which Ollama's registry wants."""
        if not self._is_ollamas:
            return {}
        return {"etag": f"{hashlib.md5(b''.join(self._sums), usedforsecurity=False).hexdigest()}-{len(self._sums)}"}

    def _with(self, query: dict[str, str]) -> str:
        """The location with more in its query; what is there stays."""
        return f"{self._location}{'&' if urlsplit(self._location).query else '?'}{urlencode(query, safe=':')}"

    def _send(
        self,
        method: str,
        url: str,
        start: int,
        stop: int,
        headers: dict[str, str] | None = None,
        also_ok: tuple[int, ...] = (),
        more_time: float = 0.0,
    ) -> requests.Response:
        """One request with these bytes as its body."""
        body = _Body(self._content, start, stop, hashes=self._is_ollamas)
        sizes = {"Content-Type": "application/octet-stream", "Content-Length": str(stop - start)}
        data = body if stop > start else b""
        reply = self._registry.send_once(
            method, url, also_ok=also_ok, data=data, headers=sizes | (headers or {}), more_time=more_time
        )
        self._registry.drain(reply)
        if self._is_ollamas and reply.status_code != 307:
            self._sums.append(body.sum)
        return reply


class _Body:
    """Bytes of known length, which requests then sends without chunked encoding; read from the start each time."""

    def __init__(self, content: Content, start: int, stop: int, *, hashes: bool) -> None:
        self._content = content
        self._start = start
        self._stop = stop
        self._hashes = hashes
        self.sum = b""

    def __len__(self) -> int:
        return self._stop - self._start

    def __iter__(self) -> Iterator[bytes]:
        hashed = hashlib.md5(usedforsecurity=False)
        for piece in self._content.read(self._start, self._stop):
            if self._hashes:
                hashed.update(piece)
            yield piece
        self.sum = hashed.digest()
