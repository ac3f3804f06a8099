"""Unix sockets for requests: sessions whose connections all go to one file."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection
from urllib3.connectionpool import HTTPConnectionPool


def connect(path: Path, patience: float | None) -> socket.socket:
    """A connection to whoever listens at the file; `patience` is in seconds. Raises OSError."""
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.settimeout(patience)
        connection.connect(str(path))
    except BaseException:
        connection.close()
        raise
    return connection


def session_to(path: Path) -> requests.Session:
    """A session in which `http://localhost` is whoever listens at the file."""
    session = requests.Session()
    session.mount("http://", _Adapter(path))
    return session


class _Connection(HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost")
        self._path = path

    def _new_conn(self) -> socket.socket:
        return connect(self._path, self.timeout)


class _Pool(HTTPConnectionPool):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost")
        self._path = path

    def _new_conn(self) -> _Connection:  # pyright: ignore[reportIncompatibleMethodOverride] - urllib3's own does not fit
        return _Connection(self._path)


class _Adapter(HTTPAdapter):
    def __init__(self, path: Path) -> None:
        self._pool = _Pool(path)
        super().__init__()

    def get_connection_with_tls_context(self, *_: Any, **__: Any) -> HTTPConnectionPool:
        return self._pool

    def close(self) -> None:
        self._pool.close()
        super().close()
