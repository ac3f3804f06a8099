"""Client: a running server's HTTP API, for the verbs that need one."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from ..store.errors import InputError, MachineError, ModelNotFoundError, RemoteError


class Client:
    """One server."""

    def __init__(self, url: str) -> None:
        self.url = url

    def get(self, path: str) -> Any:
        """The JSON body of a GET."""
        return self._send("GET", path, None, stream=False).json()

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """The JSON body of a POST's reply."""
        return self._send("POST", path, body, stream=False).json()

    def stream(self, path: str, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """The NDJSON lines of a POST's reply. Raises RemoteError for an error line."""
        import requests

        try:
            with self._send("POST", path, body, stream=True) as reply:
                for raw in reply.iter_lines(chunk_size=None):
                    chunk = json.loads(raw)
                    if "error" in chunk:
                        raise RemoteError(chunk["error"])
                    yield chunk
        except (requests.RequestException, ValueError) as cause:
            raise RemoteError(f"{self.url}: the reply broke off: {cause}") from cause

    def _send(self, method: str, path: str, body: dict[str, Any] | None, *, stream: bool) -> Any:
        import requests

        try:
            reply = requests.request(method, self.url + path, json=body, stream=stream, timeout=(5, None))
        except requests.RequestException:
            raise MachineError(
                f"{self.url}: could not connect to the server", hint="start it with: corral serve"
            ) from None
        if reply.ok:
            return reply
        try:
            said = reply.json()["error"]
        except (ValueError, KeyError, TypeError):
            said = f"{reply.status_code} {reply.reason}"
        if reply.status_code == 404 and body:
            raise ModelNotFoundError(str(body.get("model")))
        raise InputError(said) if reply.status_code == 400 else RemoteError(said)


def is_listening(url: str) -> bool:
    """Whether somebody answers at the address."""
    parts = urlsplit(url)
    try:
        with socket.create_connection((parts.hostname or "127.0.0.1", parts.port or 80), timeout=0.5):
            return True
    except OSError:
        return False
