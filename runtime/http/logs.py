"""Logs: a line for each request, with an id that the client may give and is told; as text, or as JSON for programs.

What was asked and answered is never logged, nor are keys; of the path only the route, which has none of the client's words.
"""

from __future__ import annotations

import json
import logging
import re
import secrets
import time
from collections.abc import Callable
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = logging.getLogger("corral.access")
_ID = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
_GONE = 499
"""What a client is counted as that left before its answer began."""
_notes: ContextVar[dict[str, Any] | None] = ContextVar("notes", default=None)


def annotate(**notes: str | float) -> None:
    """Have the line of the request that is being served say more; outside of one it is nothing."""
    if (of_request := _notes.get()) is not None:
        of_request.update(notes)


def _unheard(_: str, __: str, ___: int, ____: float) -> None:
    pass


class AccessLog:
    """ASGI middleware, around everything: gives each request its id and, when it is over, tells of it and writes its line."""

    def __init__(self, app: ASGIApp, *, on_end: Callable[[str, str, int, float], None] = _unheard) -> None:
        """`on_end` is told the route's path ("" for none), the method, the status and the seconds it took."""
        self._app = app
        self._on_end = on_end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        given: bytes = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
        request_id = given if _ID.fullmatch(given) else secrets.token_hex(12).encode()
        scope.setdefault("state", {})["request_id"] = request_id.decode()
        notes: dict[str, Any] = {}
        _notes.set(notes)  # each request is a task of its own, so that nobody else sees it
        status = _GONE

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", request_id)]
            await send(message)

        try:
            await self._app(scope, receive, sending)
        except Exception:
            status = 500 if status == _GONE else status
            raise
        finally:
            route: str = getattr(scope.get("route"), "path", "")
            seconds = time.perf_counter() - started
            self._on_end(route, scope["method"], status, seconds)
            if log.isEnabledFor(logging.INFO):
                _write(scope, route, {"status": status, "seconds": round(seconds, 6), **notes})


def _write(scope: Scope, route: str, fields: dict[str, Any]) -> None:
    client = scope.get("client")
    entry: dict[str, Any] = {
        "request_id": scope["state"]["request_id"],
        "method": scope["method"],
        "route": route or None,
        "client": client[0] if client else "unix",
        **fields,
    }
    words = (entry["client"], entry["method"], route or "-", entry["status"], entry["seconds"], entry["request_id"])
    log.info('%s "%s %s" %s %.3fs %s', *words, extra={"fields": entry})


class JsonLines(logging.Formatter):
    """Each record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """logging's hook."""
        when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        entry: dict[str, Any] = {"time": when, "level": record.levelname.lower(), "logger": record.name}
        fields: dict[str, Any] | None = getattr(record, "fields", None)
        entry |= {"message": record.getMessage()} if fields is None else fields
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False, default=str)


def use_json() -> None:
    """Write JSON from now on wherever logs go; of Corral's own also what is no warning, as the lines of requests."""
    for handler in logging.getLogger().handlers:
        handler.setFormatter(JsonLines())
    ours = logging.getLogger("corral")
    ours.setLevel(min(ours.getEffectiveLevel(), logging.INFO))
