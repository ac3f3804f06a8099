"""Credentials: what logs one in to a registry, under which key it is kept, and what an entry of a login file says. Pure."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ..store.errors import InputError

HUB_KEY = "https://index.docker.io/v1/"
"""The key under which docker keeps the login to its own registry."""

BROKEN_HINT = "mend the file, or move it away and log in again with `corral login`"

_HUB = {"docker.io", "index.docker.io", "registry-1.docker.io"}
IDENTITY_TOKEN_USER = "<token>"  # noqa: S105 - docker's word in place of a user's name


@dataclass(frozen=True, slots=True)
class Credential:
    """A user name and password; or, with `is_identity_token`, a token that is exchanged for access tokens."""

    user: str
    secret: str = field(repr=False)
    is_identity_token: bool = False
    source: str = field(default="", compare=False)
    """Where it was found, for messages."""

    @property
    def basic(self) -> str:
        """The Authorization header's value by RFC 7617."""
        return "Basic " + base64.b64encode(f"{self.user}:{self.secret}".encode()).decode()


def api_host(host: str) -> str:
    """Where a registry's API is; Docker Hub's is elsewhere than its name says."""
    return "registry-1.docker.io" if host.lower() in _HUB else host


def server_key(host: str) -> str:
    """The key under which docker keeps a login."""
    return HUB_KEY if host.lower() in _HUB else host


def is_key_of(key: str, host: str) -> bool:
    """Whether a file's key names exactly this registry, in whatever spelling."""
    return _normal(key) == _normal(host)


def matching_keys(keys: list[str], host: str, repository: str) -> Iterator[str]:
    """The keys that speak for a repository, the most particular first."""
    wanted = f"{_normal(host)}/{repository}" if repository else _normal(host)
    while True:
        yield from (key for key in keys if _normal(key) == wanted)
        wanted, _, _ = wanted.rpartition("/")
        if not wanted:
            return


def _normal(key: str) -> str:
    """A key without the scheme, and the path that docker puts after it, of old."""
    bare = key.partition("://")[2].partition("/")[0] if "://" in key else key.removesuffix("/")
    host, slash, path = bare.partition("/")
    if path in ("v1", "v2"):
        slash = path = ""
    return ("docker.io" if host.lower() in _HUB else host.lower()) + slash + path


def credential_of(entry: Any, where: str) -> Credential | None:
    """The credential in one entry of a file's `auths`; None for an empty one. Raises InputError, naming `where`."""
    if not isinstance(entry, dict):
        raise InputError(f"{where}: expected an object", hint=BROKEN_HINT)
    values: dict[str, str] = {}
    for name in ("auth", "username", "password", "identitytoken"):
        value = entry.get(name) or ""  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
        if not isinstance(value, str):
            raise InputError(f"{where}: {name} is no text", hint=BROKEN_HINT)
        values[name] = value
    user, password = values["username"], values["password"]
    if values["auth"]:
        try:
            decoded = base64.b64decode(values["auth"], validate=True).decode()
        except (binascii.Error, ValueError):
            # Without the cause: it would show what was to be decoded.
            raise InputError(f"{where}: auth is not base64 of user:password", hint=BROKEN_HINT) from None
        user, colon, password = decoded.partition(":")
        if not colon:
            raise InputError(f"{where}: auth is not base64 of user:password", hint=BROKEN_HINT)
        password = password.rstrip("\0")
    if values["identitytoken"]:
        return Credential(user, values["identitytoken"], is_identity_token=True)
    return Credential(user, password) if user or password else None
