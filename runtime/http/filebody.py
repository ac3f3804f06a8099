"""FileBody: a file, or a range of it, as a reply (RFC 9110, part 14)."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Mapping
from pathlib import Path

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")
_PIECE = 1 << 20


class FileBody(Response):
    """Gives a file of `size` bytes, whose content its `etag` names, in constant memory."""

    def __init__(self, path: Path, size: int, *, etag: str, headers: Mapping[str, str]) -> None:
        super().__init__(
            headers={**headers, "ETag": etag, "Accept-Ranges": "bytes"}, media_type="application/octet-stream"
        )
        self._path = path
        self._size = size
        self._etag = etag

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 ASGI
        """ASGI."""
        request = Headers(scope=scope)
        start, stop = 0, self._size
        if self._etag in _listed(request.get("if-none-match", "")):
            self.status_code, stop = 304, 0
        elif (found := _RANGE.fullmatch(request.get("range", ""))) and request.get(
            "if-range", self._etag
        ) == self._etag:
            start, stop = _interval(found, self._size)
            if start < stop:
                self.status_code = 206
                self.headers["Content-Range"] = f"bytes {start}-{stop - 1}/{self._size}"
            elif any(found.groups()):
                self.status_code, start, stop = 416, 0, 0
                self.headers["Content-Range"] = f"bytes */{self._size}"
            else:
                start, stop = 0, self._size
        if self.status_code != 304:
            self.headers["Content-Length"] = str(stop - start)
        descriptor = await asyncio.to_thread(os.open, self._path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            if scope["method"] != "HEAD":
                os.posix_fadvise(descriptor, start, stop - start, os.POSIX_FADV_SEQUENTIAL)
                while start < stop:
                    piece = await asyncio.to_thread(os.pread, descriptor, min(_PIECE, stop - start), start)
                    if not piece:  # it is shorter than it was: the client sees that not all came
                        raise EOFError(f"{self._path}: {start} bytes, expected {stop}")
                    start += len(piece)
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            os.close(descriptor)


def _listed(etags: str) -> list[str]:
    return [etag.strip().removeprefix("W/") for etag in etags.split(",")]


def _interval(found: re.Match[str], size: int) -> tuple[int, int]:
    """The first byte, and the one behind the last; nothing is between them where that cannot be had."""
    first, last = found.groups()
    if not first:
        return (max(0, size - int(last)), size) if last else (0, 0)
    return int(first), min(int(last) + 1, size) if last else size
