"""Scopes: who may read and write which repositories of a registry server. Pure."""

from __future__ import annotations

from typing import Literal, Protocol, TypeAlias

from ...store.repository import Repository

Action: TypeAlias = Literal["read", "write"]


class Caller(Protocol):
    """Who asks, and what he may."""

    @property
    def is_known(self) -> bool:
        """Whether he showed a key or password that is right."""
        ...

    def may(self, action: Action, repository: Repository) -> bool:
        """Whether he may do that there."""
        ...


class Anybody:
    """A caller who may do everything: there is nobody but the users of this machine."""

    is_known = False

    def may(self, action: Action, repository: Repository) -> bool:  # noqa: ARG002 Caller's
        """Always."""
        return True
