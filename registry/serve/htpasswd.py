"""Htpasswd: the file with the registry's users and what their passwords are hashed to, by bcrypt alone.

bcrypt is slow on purpose, so that a right password is remembered for a while. Whoever names a user that there is not waits
as long as for one that there is, since somebody's hash is then compared.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import bcrypt

from ...store.errors import FileError, InputError, shown, system_errors
from ...store.files import open_regular

REMEMBERED = 300.0
"""Seconds that a right password need not be compared again."""
MAX_COST = 15
"""Of a hash: one more takes twice as long, this one some seconds."""
_MAX_BYTES = 1 << 20
_COMPARED = 72
"""Bytes of a password that bcrypt heeds."""
_BCRYPT = re.compile(r"\$2[aby]\$(0[4-9]|[12][0-9]|3[01])\$[./A-Za-z0-9]{21}[.Oeu][./A-Za-z0-9]{31}")


class Htpasswd:
    """The users in a file, read again when it has changed."""

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.path = path
        self._clock = clock
        self._stamp: tuple[int, ...] | None = None
        self._known: Mapping[str, bytes] = {}
        self._secret = secrets.token_bytes(32)
        self._remembered: dict[str, tuple[bytes, float]] = {}
        """For each user what mark() said of the right password, and until when."""

    def users(self) -> Mapping[str, bytes]:
        """Each user's hash. Raises InputError for a file of another form, FileError."""
        with system_errors(self.path, "read", FileError):
            found = self.path.stat()
        stamp = (found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino)
        if stamp != self._stamp:
            self._known = self._read()
            self._stamp = stamp
        return self._known

    def mark(self, user: str, password: str) -> bytes:
        """What a login is known by while this process lives; it changes with the user's hash. Raises what users() raises."""
        return self._mark(self.users(), user, password)

    def remembers(self, user: str, password: str) -> bool:
        """Whether the password was right not long ago, and is still. Raises what users() raises."""
        mark, until = self._remembered.get(user, (b"", 0.0))
        return hmac.compare_digest(mark, self.mark(user, password)) and self._clock() < until

    def check(self, user: str, password: str) -> bool:
        """Whether it is the user's password. It takes as long as bcrypt does. Raises what users() raises."""
        known = self.users()
        if not known:
            return False
        number = int.from_bytes(self._digest(_encoded(user)), "big")
        # The same one's for the same name: by its time, too, it is as a user's.
        stand_in = list(known.values())[number % len(known)]
        is_right = bcrypt.checkpw(_heeded(password), known.get(user, stand_in)) and user in known
        if is_right:
            self._remembered[user] = (self._mark(known, user, password), self._clock() + REMEMBERED)
        return is_right

    def _mark(self, known: Mapping[str, bytes], user: str, password: str) -> bytes:
        words = (_encoded(user), known.get(user, b""), _heeded(password))
        return self._digest(b"".join(len(word).to_bytes(8, "big") + word for word in words))

    def _digest(self, data: bytes) -> bytes:
        return hmac.digest(self._secret, data, hashlib.sha256)

    def _read(self) -> Mapping[str, bytes]:
        with open_regular(self.path) as file:
            raw = file.read(_MAX_BYTES + 1)
        if len(raw) > _MAX_BYTES:
            raise InputError(f"{self.path}: more than {_MAX_BYTES} bytes, which no htpasswd file has")
        try:
            lines = raw.decode().splitlines()
        except UnicodeDecodeError:
            raise InputError(f"{self.path}: no htpasswd file: it is not UTF-8") from None
        found: dict[str, bytes] = {}
        for number, line in enumerate(map(str.strip, lines), 1):
            if line and not line.startswith("#"):
                user, hashed = self._entry(number, line)
                if user in found:
                    hint = "remove one of the two"
                    raise InputError(f"{self.path}:{number}: {shown(user)} is here a second time", hint=hint)
                found[user] = hashed
        self._remembered = {}
        return found

    def _entry(self, number: int, line: str) -> tuple[str, bytes]:
        user, colon, hashed = line.partition(":")
        if not user or not colon:
            raise InputError(
                f"{self.path}:{number}: no user and hash", hint="a line is USER:HASH, as htpasswd -B makes it"
            )
        cost = _BCRYPT.fullmatch(hashed)
        again = f"htpasswd -B {self.path} {user if user.isalnum() else 'USER'}"
        if not cost:
            why = f"{self.path}:{number}: the password of {shown(user)} is not hashed by bcrypt"
            raise InputError(why, hint=f"set it anew: {again}")
        if int(cost[1]) > MAX_COST:
            why = f"{self.path}:{number}: comparing the password of {shown(user)} takes too long: its cost is {cost[1]}"
            raise InputError(why, hint=f"set it anew with a cost of at most {MAX_COST}: {again}")
        return user, hashed.encode()


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _heeded(password: str) -> bytes:
    return _encoded(password)[:_COMPARED]
