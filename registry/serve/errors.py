"""Errors of the registry server, by the codes of the distribution spec 1.1."""

from __future__ import annotations

from ...store.errors import CorralError

_STATUSES = {
    "BLOB_UNKNOWN": 404,
    "BLOB_UPLOAD_INVALID": 400,
    "BLOB_UPLOAD_UNKNOWN": 404,
    "DENIED": 403,
    "DIGEST_INVALID": 400,
    "MANIFEST_BLOB_UNKNOWN": 400,
    "MANIFEST_INVALID": 400,
    "MANIFEST_UNKNOWN": 404,
    "NAME_INVALID": 400,
    "NAME_UNKNOWN": 404,
    "SIZE_INVALID": 400,
    "TOOMANYREQUESTS": 429,
    "UNAUTHORIZED": 401,
    "UNKNOWN": 500,
    "UNSUPPORTED": 405,
}


class ServingError(CorralError):
    """A request that the registry refuses; str() is what its client is told."""

    def __init__(self, code: str, message: str, *, detail: object = None, status: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.detail = detail
        self.status = status or _STATUSES[code]
