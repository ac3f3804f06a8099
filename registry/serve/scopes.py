"""Scopes: who may read and write which repositories of a registry server. Pure.

Repositories are named by patterns, in which * is any number of characters, slashes too. To write includes to read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from ...store.errors import InputError, InvalidNameError, shown
from ...store.repository import Repository

Action: TypeAlias = Literal["read", "write"]
ACTIONS: tuple[Action, ...] = ("read", "write")

_MAX_LENGTH = 255
_PATTERN = re.compile(r"[a-z0-9._/*-]+")


@dataclass(frozen=True, slots=True)
class Pattern:
    """Some repositories: `crew/*`, `crew/brief`, `*`."""

    text: str

    @classmethod
    def parse(cls, text: str) -> Pattern:
        """Read one; a single word without * is a repository of the default namespace. Raises InputError."""
        if "*" not in text:
            try:
                return cls(Repository.parse(text).path)
            except InvalidNameError as error:
                raise InputError(f"{shown(text)}: no pattern of repositories: {error.why}", hint=_HINT) from None
        if len(text) > _MAX_LENGTH or not _PATTERN.fullmatch(text):
            why = f"it has up to {_MAX_LENGTH} lower-case letters, digits and . _ - / *"
            raise InputError(f"{shown(text)}: no pattern of repositories: {why}", hint=_HINT)
        return cls(text)

    def matches(self, repository: Repository) -> bool:
        """Whether the repository is one of them. Each part between two stars is looked for once: there is no way back."""
        first, *parts = self.text.split("*")
        path = repository.path
        if not parts:
            return path == first
        last = parts.pop()
        if not path.startswith(first) or not path.endswith(last):
            return False
        at, end = len(first), len(path) - len(last)
        for part in parts:
            found = path.find(part, at, end)
            if found < 0:
                return False
            at = found + len(part)
        return at <= end

    def __str__(self) -> str:
        return self.text


_HINT = "write crew/brief, crew/*, or * for all"


@dataclass(frozen=True, slots=True)
class Grants:
    """What somebody may read, and what he may write."""

    read: tuple[Pattern, ...] = ()
    write: tuple[Pattern, ...] = ()

    @classmethod
    def parse(cls, read: Iterable[str], write: Iterable[str] = ()) -> Grants:
        """From the patterns as they are written. Raises InputError."""
        return cls(tuple(map(Pattern.parse, read)), tuple(map(Pattern.parse, write)))

    def allow(self, action: Action, repository: Repository) -> bool:
        """Whether that may be done there."""
        patterns = self.write if action == "write" else (*self.read, *self.write)
        return any(pattern.matches(repository) for pattern in patterns)

    def __add__(self, other: Grants) -> Grants:
        return Grants(self.read + other.read, self.write + other.write)


NOTHING = Grants()
EVERYTHING = Grants(write=(Pattern("*"),))


def users_grants(texts: Iterable[str]) -> Mapping[str, Grants]:
    """What `USER:read:PATTERN` and `USER:write:PATTERN` give each user. Raises InputError."""
    found: dict[str, Grants] = {}
    for text in texts:
        user, _, rest = text.partition(":")
        action, _, pattern = rest.partition(":")
        if not user or action not in ACTIONS:
            raise InputError(f"{shown(text)}: no grant", hint="write USER:read:PATTERN or USER:write:PATTERN")
        more = Grants.parse([pattern]) if action == "read" else Grants.parse([], [pattern])
        found[user] = found.get(user, NOTHING) + more
    return found


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, and what he may."""

    grants: Grants
    is_known: bool = False
    """Whether he showed a key or password that is right."""
    is_asked: bool = False
    """Whether he could show one, and be allowed more."""

    def may(self, action: Action, repository: Repository) -> bool:
        """Whether he may do that there."""
        return self.grants.allow(action, repository)


ANYBODY = Caller(EVERYTHING)
"""There is nobody but the users of this machine."""
