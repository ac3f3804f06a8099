"""Runner, a loaded model; Ticket, a request that waits for one; ModelKey, by which they find each other."""

from __future__ import annotations

import asyncio
import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from ...store.digest import Digest
from ..engine.process import Worker
from ..engine.protocol import Adapter, LoadOptions
from .policy import Wanted, serves


@dataclass(frozen=True, slots=True)
class ModelKey:
    """What is loaded: names that share weights and adapters share a worker."""

    name: str
    """The name to show."""
    digest: Digest | None
    """Of the manifest it was first asked by; None where there is none."""
    path: Path
    """The weights."""
    adapters: tuple[Adapter, ...] = ()


Place: TypeAlias = tuple[Path, tuple[Adapter, ...]]


@dataclass(slots=True, eq=False)
class Runner:
    """A loaded model."""

    key: ModelKey
    wanted: Wanted
    """As the request wanted it that it was loaded for."""
    options: LoadOptions
    """As it was loaded."""
    worker: Worker
    keep_alive: float
    """Seconds it stays after its last request."""
    users: int = 0
    free: int = 0
    """Slots nobody has."""
    turn: int | None = None
    """How many more it serves before it makes room; None while nobody waits for that."""
    last_used: float = field(default_factory=time.monotonic)
    expiry: asyncio.TimerHandle | None = None
    asked: dict[str, ModelKey] = field(default_factory=dict[str, ModelKey])
    """Every name it was used by."""

    @property
    def path(self) -> str:
        """Where the weights are."""
        return str(self.key.path)

    @property
    def expires_in(self) -> float:
        """Seconds until it goes if nothing more is asked of it."""
        since = 0.0 if self.users else time.monotonic() - self.last_used
        return math.inf if math.isinf(self.keep_alive) else max(0.0, self.keep_alive - since)

    @property
    def place(self) -> Place:
        """What others wait for."""
        return self.key.path, self.key.adapters

    def suits(self, ticket: Ticket) -> bool:
        """Whether the request needs no other load."""
        if ticket.judge is not self:
            ticket.judge, ticket.is_suited = self, serves(self.options, self.wanted, ticket.wanted)
        return ticket.is_suited and not self.worker.is_dead


@dataclass(slots=True, eq=False)
class Ticket:
    """A request that wants a model, and waits until it is granted."""

    number: int
    """In the order they came."""
    key: ModelKey
    wanted: Wanted
    keep_alive: float
    client: str
    takes_slot: bool
    granted: asyncio.Future[Runner]
    judge: Runner | None = None
    """Whom it was last compared with, and what came of that."""
    is_suited: bool = False

    @property
    def place(self) -> Place:
        """What it waits for."""
        return self.key.path, self.key.adapters
