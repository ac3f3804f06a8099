"""Which loaded model serves a request, and which goes to make room. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, TypeVar

import msgspec

from ..engine.protocol import LoadOptions


class Candidate(Protocol):
    """A loaded model, as eviction sees it."""

    users: int
    last_used: float


_C = TypeVar("_C", bound=Candidate)


def serves(loaded: LoadOptions, wanted: LoadOptions) -> bool:
    """Whether a model loaded so can serve a request that wants it so: a smaller context never needs a reload."""
    return wanted.num_ctx <= loaded.num_ctx and msgspec.structs.replace(wanted, num_ctx=loaded.num_ctx) == loaded


def victim(candidates: Iterable[_C]) -> _C | None:
    """The idle model unused for longest; None when all are busy."""
    return min((c for c in candidates if not c.users), key=lambda c: c.last_used, default=None)
