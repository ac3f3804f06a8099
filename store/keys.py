"""Keys: what lets a client use a server, in one file that only its owner may read and that holds no key in plain.

A key is 256 random bits, so nobody finds it from its SHA-256. The salt and the slow hash that a password needs would defend
nothing here, and cost time in every request.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec

from .errors import FileError, InputError, shown, system_errors
from .files import open_regular, put_private

Scope: TypeAlias = Literal["infer", "manage"]
SCOPES: tuple[Scope, ...] = ("infer", "manage")
"""To use models; to change what models there are, which includes using them, and all of the registry server."""
_PREFIX = "ck_"
_MAX_BYTES = 1 << 20
_MAX_SECRET = 256
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class Key(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is kept of a key."""

    name: str
    scopes: tuple[Scope, ...]
    created: str
    """When, by RFC 3339."""
    ending: str
    """Its last four letters, for people."""
    sha256: str
    read: tuple[str, ...] = ()
    """Patterns of the registry server's repositories that it may read."""
    write: tuple[str, ...] = ()
    """Those that it may write too."""

    def allows(self, scope: Scope) -> bool:
        """Whether it is good for that."""
        return scope in self.scopes or "manage" in self.scopes


class _Kept(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file."""

    keys: tuple[Key, ...]


class Keys:
    """The keys in a file; one that is not there has none."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stamp: tuple[int, ...] | None = None
        self._known: tuple[Key, ...] = ()

    def all(self) -> tuple[Key, ...]:
        """The keys, read again when the file has changed. Raises InputError for a file of another form, FileError."""
        with system_errors(self.path, "read", FileError):
            try:
                found = self.path.stat()
            except (FileNotFoundError, NotADirectoryError):
                self._stamp, self._known = None, ()
                return ()
        stamp = (found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino)
        if stamp != self._stamp:
            self._known = self._read()
            self._stamp = stamp
        return self._known

    def find(self, secret: str) -> Key | None:
        """The key that this is. It takes as long whether it is one, and whichever. Raises what all() raises."""
        wanted = _hash(secret[:_MAX_SECRET])
        found: Key | None = None
        for key in self.all():
            if hmac.compare_digest(key.sha256.encode(), wanted.encode()):
                found = key
        return found

    def add(self, name: str, scopes: Sequence[Scope], *, read: Sequence[str] = (), write: Sequence[str] = ()) -> str:
        """Make a key and give it; it is nowhere else. Raises InputError for a name that is taken or none, FileError."""
        if not _NAME.fullmatch(name):
            raise InputError(f"{shown(name)}: not a name for a key", hint="use up to 64 letters, digits, dots, dashes")
        secret = _PREFIX + secrets.token_urlsafe(32)
        created = datetime.now(UTC).isoformat(timespec="seconds")
        ordered: tuple[Scope, ...] = tuple(scope for scope in SCOPES if scope in scopes)
        key = Key(name, ordered, created, secret[-4:], _hash(secret), tuple(read), tuple(write))
        with self._held():
            known = self.all()
            if any(other.name == name for other in known):
                raise InputError(f"{shown(name)}: there is a key of this name", hint=f"corral keys rm {name}")
            self._write((*known, key))
        return secret

    def remove(self, name: str) -> None:
        """Forget a key. Raises InputError when there is none of the name, and what all() raises."""
        with self._held():
            known = self.all()
            left = tuple(key for key in known if key.name != name)
            if len(left) == len(known):
                raise InputError(f"{shown(name)}: no such key", hint="see `corral keys list`")
            self._write(left)

    def _read(self) -> tuple[Key, ...]:
        try:
            with open_regular(self.path) as file:
                raw = file.read(_MAX_BYTES)
            return msgspec.json.decode(raw, type=_Kept).keys
        except FileError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                return ()
            raise
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as cause:
            hint = "mend the file, or remove it and make the keys anew"
            raise InputError(f"{self.path}: no file of API keys: {cause}", hint=hint) from None

    @contextmanager
    def _held(self) -> Generator[None]:
        """Keep others from changing the file meanwhile."""
        folder = self.path.parent
        with system_errors(folder, "write", FileError):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _write(self, keys: tuple[Key, ...]) -> None:
        data = msgspec.json.format(msgspec.json.encode(_Kept(keys)), indent=2) + b"\n"
        if len(data) > _MAX_BYTES:
            raise InputError(f"{self.path}: too many keys", hint="remove some: corral keys rm NAME")
        put_private(self.path, data)


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
