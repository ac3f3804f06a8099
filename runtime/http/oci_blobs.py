"""Blobs of the registry server: given whole or in ranges, sent in one request or in several, mounted, removed."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TypeAlias

from starlette.requests import Request
from starlette.responses import Response

from ...registry.serve.catalog import Catalog, read_digest
from ...registry.serve.errors import ServingError
from ...registry.serve.uploads import Upload, Uploads
from ...store import locks
from ...store.digest import Digest
from ...store.errors import BlobNotFoundError, InvalidNameError
from ...store.repository import Repository
from .filebody import FileBody
from .oci_reply import HEADERS, refused
from .stream import announced, pour

Readable: TypeAlias = "Callable[[str | None], Iterator[Repository]]"
"""Of all repositories, or the one that is named, those that the client may read."""

_INTERVAL = re.compile(r"(?:bytes[= ])?([0-9]{1,18})-([0-9]{1,18})(?:/[0-9*]+)?")
"""Ollama's clients and the spec have no unit, others have."""
_EMPTY = {Digest(algorithm, hashlib.new(algorithm).hexdigest()) for algorithm in ("sha256", "sha512")}
_TRIES, _PAUSE = 30, 0.1
"""How often, and after how many seconds, an upload is asked for that somebody else is still writing to."""


class BlobHandlers:
    """The handlers."""

    def __init__(self, catalog: Catalog, uploads: Uploads) -> None:
        self._catalog = catalog
        self._uploads = uploads

    async def blob(self, request: Request, repository: Repository, text: str) -> Response:
        """Give a blob, or remove it from the repository."""
        digest = read_digest(text)
        if request.method == "DELETE":
            await asyncio.to_thread(self._catalog.delete_blob, repository, digest)
            return Response(status_code=202, headers=HEADERS)
        file = await asyncio.to_thread(self._catalog.open, repository, digest)
        headers = {
            **HEADERS,
            "Docker-Content-Digest": str(digest),
            # Ollama's clients take the reply to be a redirect, and ask for the blob's parts where this says.
            "Location": f"/v2/{repository}/blobs/{digest}",
        }
        return FileBody(file, etag=f'"{digest}"', headers=headers)

    async def upload(self, request: Request, repository: Repository, name: str) -> Response:
        """Go on with an upload, or say how far it is."""
        with await self._opened(repository, name) as upload:
            match request.method:
                case "GET":
                    return _state(repository, upload, 204)
                case "DELETE":
                    await asyncio.to_thread(upload.cancel)
                    return Response(status_code=204, headers=HEADERS)
                case "PATCH":
                    return await self._append(request, repository, upload)
                case _:
                    return await self._end(request, repository, upload)

    async def begin(self, request: Request, repository: Repository, readable: Readable) -> Response:
        """Begin an upload, unless the blob is here to be mounted, or comes with the request."""
        query = request.query_params
        if "mount" in query:
            digest, source = read_digest(query["mount"]), query.get("from")
            with suppress(InvalidNameError, BlobNotFoundError):
                if await asyncio.to_thread(self._mounted, repository, digest, source, readable):
                    return _made(repository, digest)
        digest = read_digest(query["digest"]) if "digest" in query else None
        is_whole = digest is not None and (
            digest in _EMPTY or announced(request) or "transfer-encoding" in request.headers
        )
        with await asyncio.to_thread(self._uploads.begin, repository) as upload:
            if not is_whole:
                return _state(repository, upload, 202)
            try:
                return await self._end(request, repository, upload)
            finally:
                await asyncio.to_thread(upload.cancel)

    def _mounted(self, repository: Repository, digest: Digest, source: str | None, readable: Readable) -> bool:
        return self._catalog.mount(repository, digest, readable(source))

    async def _opened(self, repository: Repository, name: str) -> Upload:
        for _ in range(_TRIES):
            with suppress(locks.BusyError):
                return await asyncio.to_thread(self._uploads.open, repository, name)
            await asyncio.sleep(_PAUSE)  # a connection that broke may not have been noticed yet
        raise ServingError("BLOB_UPLOAD_INVALID", "another request is writing to this upload", status=409)

    async def _append(self, request: Request, repository: Repository, upload: Upload) -> Response:
        if refusal := await self._receive(request, repository, upload):
            return refusal
        return _state(repository, upload, 202)

    async def _end(self, request: Request, repository: Repository, upload: Upload) -> Response:
        if "digest" not in request.query_params:
            raise ServingError("DIGEST_INVALID", "the query says no digest")
        digest = read_digest(request.query_params["digest"])
        if refusal := await self._receive(request, repository, upload):
            return refusal
        await asyncio.to_thread(upload.commit, repository, digest)
        return _made(repository, digest)

    async def _receive(self, request: Request, repository: Repository, upload: Upload) -> Response | None:
        """Write the body to the upload; a reply where it is not the part that comes next."""
        start, declared = upload.size, announced(request)
        if text := request.headers.get("content-range"):
            found = _INTERVAL.fullmatch(text.strip())
            first, last = map(int, found.groups()) if found else (-1, -1)
            if first != start or last < first:
                why = f"the upload has {start} bytes, so the next is {start}"
                return refused(ServingError("BLOB_UPLOAD_INVALID", why, status=416), _where(repository, upload))
            if declared not in (None, last - first + 1):
                raise ServingError("SIZE_INVALID", "Content-Range and Content-Length differ")
            declared = last - first + 1
        if declared:
            await asyncio.to_thread(upload.check, start + declared)

        def check(came: int) -> None:
            if declared is not None and came > declared:
                raise ServingError("SIZE_INVALID", f"more than the {declared} bytes that were declared")

        try:
            came = await pour(request, upload.write, check)
            if declared not in (None, came):
                raise ServingError("SIZE_INVALID", f"{came} bytes, {declared} were declared")
        except ServingError:
            await asyncio.to_thread(upload.truncate, start)
            raise
        return None


def _where(repository: Repository, upload: Upload) -> dict[str, str]:
    # As Distribution has it, no bytes are written like one.
    return {
        **HEADERS,
        "Location": f"/v2/{repository}/blobs/uploads/{upload.id}",
        "Range": f"0-{max(upload.size - 1, 0)}",
        "Docker-Upload-UUID": upload.id,
    }


def _state(repository: Repository, upload: Upload, status: int) -> Response:
    return Response(status_code=status, headers=_where(repository, upload))


def _made(repository: Repository, digest: Digest) -> Response:
    location = f"/v2/{repository}/blobs/{digest}"
    return Response(status_code=201, headers={**HEADERS, "Location": location, "Docker-Content-Digest": str(digest)})
