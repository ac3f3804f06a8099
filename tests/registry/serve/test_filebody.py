"""FileBody: who leaves is not read to, and who promised a body of his own is not waited for."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from corral.runtime.http.filebody import FileBody
from starlette.requests import ClientDisconnect

SIZE = 64 << 20


def given(path: Path, *, is_left: bool = False, stalls: bool = False) -> int:
    """How many bytes the client is given."""
    sent = 0

    async def receive() -> dict[str, Any]:
        if stalls:
            raise ClientDisconnect
        if not is_left:
            await asyncio.Event().wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        nonlocal sent
        sent += len(message.get("body", b""))
        await asyncio.sleep(0)

    async def give() -> None:
        scope: dict[str, Any] = {"type": "http", "method": "GET", "headers": []}
        await FileBody(path.open("rb"), etag='"x"', headers={})(scope, receive, send)

    asyncio.run(give())
    return sent


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    with path.open("wb") as made:
        made.truncate(SIZE)
    return path


def test_who_stays_gets_all(file: Path) -> None:
    assert given(file) == SIZE


def test_who_leaves_is_not_read_to(file: Path) -> None:
    assert given(file, is_left=True) <= 2 << 20


def test_who_sends_nothing_of_the_body_he_promised_gets_all(file: Path) -> None:
    assert given(file, stalls=True) == SIZE
