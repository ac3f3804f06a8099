"""Access to the registry server: who a request comes from, by an API key or a password, and what he may.

A key is sent as a bearer token, or as the password of HTTP Basic with any user's name; a password with its user's. While
there are neither keys nor a file of passwords, everybody may everything on this machine; others may read what is shared.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

from starlette.datastructures import Headers

from ...registry.serve.errors import ServingError
from ...registry.serve.htpasswd import Htpasswd
from ...registry.serve.scopes import ANYBODY, EVERYTHING, NOTHING, Caller, Grants
from ...store.errors import CorralError
from ...store.keys import Key, Keys
from .keys import bearer, login
from .logs import annotate
from .oci import Door

log = logging.getLogger(__name__)

_AT_ONCE = 2
"""Passwords compared at once, each by one core."""
_MOST_WAITING = 32
_CURE = (
    "; who runs this registry can share what is read (--share PATTERN), and let in who has a key"
    " (corral keys add NAME --write PATTERN) or a password (--htpasswd FILE)"
)


@dataclass(frozen=True, slots=True)
class Logins:
    """Who may be known, and what everybody may. `grants` are those of the users; who has none may everything."""

    keys: Keys | None = None
    htpasswd: Htpasswd | None = None
    grants: Mapping[str, Grants] = field(default_factory=dict[str, Grants])
    shared: Grants = NOTHING

    def are_wanted(self) -> bool:
        """Whether everybody is to show a key or a password. Raises InputError, FileError."""
        return self.htpasswd is not None or bool(self.keys and self.keys.all())


def make_door(logins: Logins, *, loopback: bool, is_read_only: bool = False) -> Door:
    """The door of a registry whose logins these are; `loopback` says that only this machine can reach it."""
    gate = _Gate(logins, loopback=loopback)
    return Door(gate.caller, is_read_only=is_read_only, cure=_CURE)


class _Gate:
    def __init__(self, logins: Logins, *, loopback: bool) -> None:
        self._logins = logins
        self._loopback = loopback
        self._passwords = _Passwords(logins.htpasswd) if logins.htpasswd else None

    async def caller(self, headers: Headers) -> Caller:
        """Who asks. Raises ServingError for a key or password that is wrong, or that cannot be judged."""
        try:
            if not self._logins.are_wanted():
                return ANYBODY if self._loopback else Caller(self._logins.shared)
            return await self._known(headers)
        except ServingError:
            raise
        except CorralError as error:
            log.error("%s", error)
            raise ServingError("UNKNOWN", "this registry cannot read its logins; its log says why") from None

    async def _known(self, headers: Headers) -> Caller:
        logins, basic = self._logins, login(headers)
        if basic == ("", "") or "authorization" not in headers:
            return Caller(logins.shared, is_asked=True)
        user, secret = basic or ("", bearer(headers))
        if secret and logins.keys and (key := logins.keys.find(secret)):
            annotate(key=key.name)
            return Caller(_of_key(key) + logins.shared, is_known=True)
        if basic and self._passwords and await self._passwords.is_right(user, secret):
            annotate(user=user)
            return Caller(logins.grants.get(user, EVERYTHING) + logins.shared, is_known=True)
        raise ServingError("UNAUTHORIZED", "this key or password is not known here")


def _of_key(key: Key) -> Grants:
    return EVERYTHING if key.allows("manage") else Grants.parse(key.read, key.write)


class _Passwords:
    """Compares passwords, few at once, so that wrong ones do not take the machine."""

    def __init__(self, htpasswd: Htpasswd) -> None:
        self._htpasswd = htpasswd
        self._turn = asyncio.Semaphore(_AT_ONCE)
        self._waiting: dict[bytes, asyncio.Task[bool]] = {}

    async def is_right(self, user: str, password: str) -> bool:
        """Whether it is the user's. Raises ServingError when too many are waiting, InputError, FileError."""
        if self._htpasswd.remembers(user, password):
            return True
        mark = self._htpasswd.mark(user, password)
        waiting = self._waiting.get(mark)
        if waiting is None:
            if len(self._waiting) >= _MOST_WAITING:
                raise ServingError("TOOMANYREQUESTS", "too many passwords are being compared; try again soon")
            # Of one program's many connections, all show the same.
            waiting = self._waiting[mark] = asyncio.create_task(self._compared(mark, user, password))
        return await asyncio.shield(waiting)

    async def _compared(self, mark: bytes, user: str, password: str) -> bool:
        try:
            async with self._turn:
                return await asyncio.to_thread(self._htpasswd.check, user, password)
        finally:
            del self._waiting[mark]
