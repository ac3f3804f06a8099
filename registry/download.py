"""Download: one blob on its way into the store: what has come, who is at it, how often it failed, and where to ask next."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from ..store.errors import MismatchError
from ..store.manifest import Descriptor
from ..store.partial import Partial
from .errors import UNSOUND, RegistryError
from .patience import Tries
from .ranges import Flight, Schedule
from .transport import BlobStream, Registry

_STEP = 1 << 20
"""Bytes that are worth waking the one who follows."""


@dataclass(eq=False, slots=True)
class Download:
    """Whoever works on it holds its owner's lock, but for what Partial does."""

    blob: Descriptor
    sources: list[Registry]
    """Who has it; the first is asked."""
    partial: Partial
    schedule: Schedule
    lock: AbstractContextManager[None]
    tries: Tries
    streams: dict[Flight, BlobStream] = field(default_factory=dict[Flight, BlobStream])
    not_before: float = 0.0
    """By the monotonic clock: when to try again."""
    failed_at: float = 0.0
    shown: float = 0.0
    gained: int = 0
    """Bytes that came in this run and were not there."""
    is_plain: bool = False
    """It was begun again, and is asked for in one piece."""
    is_over: bool = False
    """It is in the store, or given up."""

    @property
    def source(self) -> Registry:
        """The registry that is asked."""
        return self.sources[0]

    @property
    def has_news(self) -> bool:
        """Whether there is something for the digest to be fed with."""
        frontier = self.schedule.done.frontier
        return frontier - self.partial.hashed >= _STEP or frontier == self.schedule.size

    def answered(self, flight: Flight, stream: BlobStream) -> None:
        """Take note of what the other side gives, and make room for it."""
        self.streams[flight] = stream
        if stream.is_whole and not flight.is_whole:
            self.schedule.take_whole(flight)
        elif not stream.is_whole:
            self.schedule.has_ranges = True
        if not self.is_over:
            self.partial.reserve()

    def settle(self, flight: Flight, count: int) -> bool:
        """Take note that what the flight brought is written, `count` bytes of it new; whether the digest can go on."""
        self.schedule.settle(flight)
        if count:
            self.gained += count
            self.tries.got_on()
        return self.has_news

    def failed(self, flight: Flight, error: RegistryError | MismatchError, now: float) -> None:
        """Take note of a failed transfer from the present source. Raises the error where another try would be in vain."""
        if not isinstance(error, RegistryError):
            if not self._ask_the_next():
                raise error
            return
        if flight.began <= self.failed_at:  # what ended several at once is one failure
            self.not_before = max(self.not_before, now + (error.retry_after or 0.0))
            return
        if error.status == 416:
            self.schedule.has_ranges = False
        if error.status in (429, 503):  # it bears less
            self.schedule.most = 1 if error.status == 429 else max(1, len(self.schedule.flights) // 2)
        is_passing = error.is_passing or error.status == 416
        wait = self.tries.wait(error.retry_after, self.gained) if is_passing else None
        if wait is not None:
            self.failed_at, self.not_before = now, now + wait
        elif not self._ask_the_next():
            raise error

    def mismatched(self, error: MismatchError) -> None:
        """What came is not the digest's: begin again, in one piece, or elsewhere. Raises MismatchError at the end of it."""
        if self.is_plain and not self._ask_the_next():
            what = f"{self.source.identity}: blob {self.blob.digest.short} from {self.source.host}"
            raise MismatchError(what, expected=error.expected, got=error.got, hint=UNSOUND)
        self.break_off()
        self.partial.begin_again()
        self.schedule.has_ranges = False
        self.is_plain = True

    def break_off(self) -> None:
        """End all transfers of it."""
        for flight in self.schedule.flights:
            flight.is_called_off = True
        for stream in self.streams.values():
            stream.break_off()

    def end(self, flight: Flight, now: float) -> None:
        """Nothing more comes of a flight."""
        self.streams.pop(flight, None)
        self.schedule.end(flight, now)
        self._close_if_unused()

    def finish(self, *, is_spoilt: bool) -> None:
        """It is in the store, or given up."""
        self.is_over = True
        if is_spoilt or not self.partial.done.total:
            self.partial.discard()
        self.break_off()
        self._close_if_unused()

    def _close_if_unused(self) -> None:
        if self.is_over and not self.schedule.flights:
            self.partial.close()
            self.lock.__exit__(None, None, None)

    def _ask_the_next(self) -> bool:
        if len(self.sources) == 1:
            return False
        self.sources.pop(0)
        self.tries = Tries(self.tries.patience)
        self.schedule.has_ranges = None
        self.not_before = 0.0
        return True
