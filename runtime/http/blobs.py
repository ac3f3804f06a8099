"""Blobs: what clients upload for the models that they create of it: HEAD and POST /api/blobs/{digest} (spec part 7.9).

Nothing needs an uploaded blob until a model is made of it. So that no collection takes it, each is under a lease of its own
until then, or for a day.
"""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Iterable
from contextlib import ExitStack
from itertools import islice

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ...store.digest import Digest
from ...store.errors import FileError, InputError, MachineError, MismatchError, shown
from ...store.gc import DEFAULT_AGE
from ...store.ingest import Ingest, Written
from ...store.local import Store
from ...store.manifest import Descriptor
from .errors import NoRoomError, answering, managing_error
from .stream import BodyTooLargeError, announced, pour

_DIGEST = re.compile(r"sha256[:-]([0-9a-fA-F]{64})")
_MOST = 256
"""Leases at once; the oldest give way."""


def read_digest(text: str) -> Digest:
    """A digest as clients write it: with a dash, as files of blobs are called, and in capitals too. Raises InputError."""
    found = _DIGEST.fullmatch(text)
    if not found:
        raise InputError("invalid digest format", hint="a digest is sha256: and 64 hex digits")
    return Digest("sha256", found[1].lower())


class Uploads:
    """The handlers, and the leases on what was uploaded. `max_bytes` bounds a blob, 0 does not."""

    def __init__(self, store: Store, *, max_bytes: int = 0) -> None:
        self._store = store
        self._max_bytes = max_bytes
        self._guard = threading.Lock()
        self._leases: dict[Digest, ExitStack] = {}

    def routes(self) -> list[Route]:
        """Method and path of every handler."""
        path = "/api/blobs/{digest}"
        return [
            Route(path, answering(self.look, managing_error), methods=["HEAD"]),
            Route(path, answering(self.upload, managing_error), methods=["POST"]),
        ]

    async def look(self, request: Request) -> Response:
        """Whether a blob is here and need not be sent."""
        text = request.path_params["digest"]
        if await asyncio.to_thread(self._store.blobs.size, read_digest(text)) is None:
            return JSONResponse({"error": f"blob {shown(text)} not found"}, 404)
        return Response()

    async def upload(self, request: Request) -> Response:
        """Take a blob in: 201; or 200 where it is here, without a look at what is sent."""
        digest = read_digest(request.path_params["digest"])
        size = announced(request)
        with ExitStack() as stack:
            lender = await asyncio.to_thread(Store, self._store.root)
            lease = stack.enter_context(ExitStack())
            await asyncio.to_thread(lease.enter_context, lender.writing())
            is_new = not await asyncio.to_thread(self._is_here, lender, digest)
            if is_new:
                self._check(size or 0)
                ingest = stack.enter_context(await asyncio.to_thread(_ingest, lender, size))
                await pour(request, ingest.write, self._check)
                is_new = (await asyncio.to_thread(_committed, ingest, digest)).is_new
            self._keep(digest, lease.pop_all())
        return Response(status_code=201 if is_new else 200)

    def used(self, digests: Iterable[Digest]) -> None:
        """A model was made of the blobs. Those that were uploaded for it are let go; what no model needs is removed."""
        with self._guard:
            ended = {digest: self._leases.pop(digest) for digest in set(digests) & self._leases.keys()}
        for lease in ended.values():
            lease.close()
        if ended:
            self._store.discard(ended)

    def close(self) -> None:
        """End all leases; what was uploaded stays for a collection to find."""
        with self._guard:
            for lease in self._leases.values():
                lease.close()
            self._leases.clear()

    def _is_here(self, lender: Store, digest: Digest) -> bool:
        """Whether the blob is here, and here to stay."""
        lender.blobs.leases.add(digest)
        size = self._store.blobs.size(digest)
        return size is not None and self._store.blobs.is_kept(Descriptor("", digest, size))

    def _check(self, size: int) -> None:
        if 0 < self._max_bytes < size:
            raise BodyTooLargeError(f"a blob of more than {self._max_bytes} bytes")

    def _keep(self, digest: Digest, lease: ExitStack) -> None:
        with self._guard:
            outdated = [self._leases.pop(digest, None)]
            surplus = max(0, len(self._leases) + 1 - _MOST)
            outdated += [self._leases.pop(oldest) for oldest in list(islice(self._leases, surplus))]
            self._leases[digest] = lease
        for old in outdated:
            if old:
                old.close()
        asyncio.get_running_loop().call_later(DEFAULT_AGE, self._expire, digest, lease)

    def _expire(self, digest: Digest, lease: ExitStack) -> None:
        if self._leases.get(digest) is lease:
            asyncio.get_running_loop().run_in_executor(None, self.used, [digest])


def _ingest(store: Store, size: int | None) -> Ingest:
    try:
        return store.blobs.ingest(size)
    except FileError:
        raise
    except MachineError as error:
        raise NoRoomError(f"there is no room for a blob of {size} bytes", hint=error.hint) from None


def _committed(ingest: Ingest, digest: Digest) -> Written:
    try:
        return ingest.commit("", expected=digest)
    except MismatchError as error:
        raise InputError(f'digest mismatch, expected "{error.expected}", got "{error.got}"') from None
