"""Who is next: which request is served, which model is loaded for those who wait, and which goes to make room. Pure.

Within a model clients take turns, and a client's own requests go in the order they came. Between models the one that
somebody has waited for longest is loaded next. A loaded model that is in its way serves those who wait for it already,
but no more than TURN times its slots of them, and then goes, whoever comes.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import msgspec

from ...store.header import GGUF
from ..engine.protocol import LoadOptions

TURN = 8
"""How many requests for each of its slots a model still serves while somebody waits for its place."""

USUAL_CONTEXT = 4096
"""Tokens that are enough for whoever does not say how many he needs."""


class Candidate(Protocol):
    """A loaded model, as eviction sees it."""

    users: int
    keep_alive: float
    last_used: float

    @property
    def path(self) -> str:
        """Where the weights are."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """How a request wants its model loaded."""

    options: LoadOptions
    is_elastic: bool = False
    """Whether nobody asked for a context: then this is the longest that makes sense."""
    main_gpu: int | None = None
    """The GPU somebody asked for."""
    header: GGUF | None = None
    """What the weights say of themselves; without it nothing is known of the memory they take."""


class Waiting(Protocol):
    """A request that waits."""

    @property
    def client(self) -> str:
        """Who sent it."""
        ...

    @property
    def number(self) -> int:
        """In the order they came."""
        ...


_C = TypeVar("_C", bound=Candidate)
_W = TypeVar("_W", bound=Waiting)
_T = TypeVar("_T")


def serves(loaded: LoadOptions, first: Wanted, wanted: Wanted) -> bool:
    """Whether a model loaded with these options, as `first` wanted it, can serve a request that wants it so.

    A smaller context never needs it loaded anew, and neither does a number of GPU layers that nobody asked for. What was
    granted for want of memory is enough for whoever asks for as much again.
    """
    asked, options = first.options, wanted.options
    if wanted.is_elastic:
        enough = first.is_elastic or loaded.num_ctx >= min(options.num_ctx, USUAL_CONTEXT)
    else:
        enough = options.num_ctx <= (loaded.num_ctx if first.is_elastic else max(asked.num_ctx, loaded.num_ctx))
    same_layers = options.num_gpu in (-1, asked.num_gpu, loaded.num_gpu)
    alike = msgspec.structs.replace(
        options, num_ctx=asked.num_ctx, num_gpu=asked.num_gpu if same_layers else options.num_gpu
    )
    return enough and alike == asked


def victim(candidates: Iterable[_C]) -> _C | None:
    """The model that goes first: an idle one before a busy one, then that which would stay least long, then that unused
    for longest.
    """
    return min(candidates, key=lambda c: (c.users > 0, c.keep_alive, c.last_used, c.path), default=None)


def last_of_longest(waiting: Sequence[_W]) -> _W:
    """Who is refused when too many wait: the last one of the client with most of them, so that none fills the queue."""
    counts = Counter(one.client for one in waiting)
    return max(waiting, key=lambda one: (counts[one.client], one.number))


class Line(Generic[_T]):
    """Those who wait for one model, in the order they are served."""

    def __init__(self) -> None:
        self._clients: dict[str, deque[_T]] = {}
        """Each one's requests, the oldest first; the client whose turn it is comes first."""
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[_T]:
        """The first of each client, then the second of each, and so on."""
        lines = [iter(own) for own in self._clients.values()]
        while lines:
            rest: list[Iterator[_T]] = []
            for own in lines:
                for item in own:
                    yield item
                    rest.append(own)
                    break
            lines = rest

    def add(self, client: str, item: _T) -> None:
        """Behind the client's own; a client who is not waiting yet comes behind all others."""
        self._clients.setdefault(client, deque()).append(item)
        self._size += 1

    def take(self, client: str, item: _T) -> None:
        """It is served, and the client's turn is over."""
        own = self._clients.pop(client)
        own.remove(item)
        self._size -= 1
        if own:
            self._clients[client] = own

    def discard(self, client: str, item: _T) -> None:
        """It does not wait any more; the client's turn is what it was."""
        own = self._clients[client]
        own.remove(item)
        self._size -= 1
        if not own:
            del self._clients[client]
