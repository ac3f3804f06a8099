"""FileBody: a file, or a range of it, as a reply (RFC 9110, parts 13 and 14)."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Mapping
from typing import BinaryIO

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from .sendfile import EXTENSION

_RANGE = re.compile(r"bytes=([0-9]{0,99})-([0-9]{0,99})", re.IGNORECASE)
_PIECE = 1 << 20


class FileBody(Response):
    """Gives an open file, whose content its `etag` names, in constant memory, and closes it."""

    def __init__(self, file: BinaryIO, *, etag: str, headers: Mapping[str, str]) -> None:
        super().__init__(
            headers={**headers, "ETag": etag, "Accept-Ranges": "bytes"}, media_type="application/octet-stream"
        )
        self._file = file
        self._size = os.fstat(file.fileno()).st_size
        self._etag = etag

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        with self._file:
            start, stop = self._chosen(scope["method"], Headers(scope=scope))
            if self.status_code != 304:
                self.headers["Content-Length"] = str(stop - start)
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            leaving = asyncio.ensure_future(_left(receive))
            try:
                by_kernel = scope.get("extensions", {}).get(EXTENSION, {}).get("send")
                if scope["method"] == "GET" and by_kernel and stop - start > _PIECE:
                    await by_kernel(self._file.fileno(), start, stop)
                elif scope["method"] == "GET":
                    await self._give(start, stop, send, leaving)
                await send({"type": "http.response.body", "body": b""})
            finally:
                leaving.cancel()
                await asyncio.gather(leaving, return_exceptions=True)

    def _chosen(self, method: str, headers: Headers) -> tuple[int, int]:
        """The first byte to give, and the one behind the last, by which the reply's status and headers are set."""
        if names_one("if-none-match", {self._etag}, headers):
            self.status_code = 304
            return 0, 0
        wanted = _RANGE.fullmatch(headers.get("range", "")) if method == "GET" else None
        if not wanted or not any(wanted.groups()) or headers.get("if-range", self._etag) != self._etag:
            return 0, self._size
        start, stop = _interval(wanted, self._size)
        if start >= stop:
            self.status_code = 416
            self.headers["Content-Range"] = f"bytes */{self._size}"
            return 0, 0
        self.status_code = 206
        self.headers["Content-Range"] = f"bytes {start}-{stop - 1}/{self._size}"
        return start, stop

    async def _give(self, start: int, stop: int, send: Send, leaving: asyncio.Future[None]) -> None:
        descriptor = self._file.fileno()
        os.posix_fadvise(descriptor, start, stop - start, os.POSIX_FADV_SEQUENTIAL)
        while start < stop:
            if leaving.done() and leaving.exception() is None:  # what is sent to who has left is taken without a word
                return
            piece = await asyncio.to_thread(os.pread, descriptor, min(_PIECE, stop - start), start)
            if not piece:  # it is shorter than it was: the client sees that not all came
                raise EOFError(f"{self._file.name}: {start} bytes, expected {stop}")
            start += len(piece)
            await send({"type": "http.response.body", "body": piece, "more_body": True})


def names_one(header: str, etags: set[str], headers: Headers) -> bool:
    """Whether a condition of the request, If-Match or If-None-Match, names one of the etags that something has now."""
    said = {one.strip().removeprefix("W/") for one in ",".join(headers.getlist(header)).split(",")}
    return bool(etags) and ("*" in said or not etags.isdisjoint(said))


def _interval(found: re.Match[str], size: int) -> tuple[int, int]:
    """The first byte, and the one behind the last; nothing is between them where that cannot be had."""
    first, last = found.groups()
    if not first:
        return max(0, size - int(last)), size
    return int(first), min(int(last) + 1, size) if last else size


async def _left(receive: Receive) -> None:
    """Until the client leaves. Raises ClientDisconnect where a body was promised that does not come."""
    while (await receive())["type"] != "http.disconnect":
        pass
