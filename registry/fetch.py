"""Fetch: blobs from registries into a store, several at once, and large ones in several ranges at once.

A crew of threads takes turns at whatever is to be had next; for each blob another thread follows the front of what is there
with the digest, and gives the blob its name when it matches. What has come when it fails, or is killed, is gone on with.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence

from ..store.errors import MismatchError
from ..store.local import Store
from ..store.locks import BusyError
from ..store.manifest import Descriptor
from ..store.partial import Partial, received
from ..store.progress import Progress, Report
from .download import Download
from .errors import RegistryError
from .patience import Tries
from .ranges import Flight, Schedule
from .throttle import Throttle
from .transport import Registry

_RECORDED_EVERY = 1 << 20
"""Bytes of one transfer that may come twice when the process is killed."""
_SHOWN_EVERY = 0.06
"""In seconds, as Ollama."""
_LINGERS = 1.0
"""In seconds, for threads to end after the work has."""
_LOOKS_AGAIN = 0.25
"""In seconds: for what no other thread tells."""


class Fetching:
    """Brings blobs in; used once, and the last that its sources are asked for."""

    def __init__(
        self,
        store: Store,
        sources: Sequence[Registry],
        report: Report,
        *,
        connections: int,
        throttle: Throttle,
    ) -> None:
        self._store = store
        self._sources = sources
        self._report = report
        self._connections = connections
        self._throttle = throttle
        self._waiting: deque[Descriptor] = deque()
        self._busy: list[Descriptor] = []
        """What another process brings in."""
        self._open: list[Download] = []
        self._changed = threading.Condition()
        self._reporting = threading.Lock()
        self._error: BaseException | None = None
        self._threads: list[threading.Thread] = []

    def run(self, blobs: Iterable[Descriptor]) -> None:
        """Return when all are in the store. Raises RegistryError, IntegrityErrors, MachineError; what has come is kept."""
        self._waiting.extend(blobs)
        try:
            self._fly_all()
            while self._busy:
                self._wait_for(self._busy.pop())
        finally:
            self._end()

    def _fly_all(self) -> None:
        if self._waiting:
            for _ in range(self._connections):
                self._start(self._work)
        with self._changed:
            while self._error is None and (self._waiting or self._open):
                self._changed.wait()
            if self._error:
                raise self._error

    def _wait_for(self, blob: Descriptor) -> None:
        """Wait for what another process brings in, and see to it oneself should that fail."""
        while not self._store.blobs.is_kept(blob):
            try:
                with self._store.blobs.once(blob.digest, waits=False):
                    pass
            except BusyError:
                self._say(blob, received(self._store.blobs, blob))
                time.sleep(_LOOKS_AGAIN)
                continue
            self._waiting.append(blob)
            self._fly_all()

    def _end(self) -> None:
        with self._changed:
            self._error = self._error or InterruptedError()
            for download in self._open:
                download.break_off()
            self._changed.notify_all()
        self._throttle.stop()
        for source in self._sources:
            source.abort()
        # One that is just connecting finds out later.
        deadline = time.monotonic() + _LINGERS
        for thread in self._threads:
            thread.join(max(deadline - time.monotonic(), 0.0))

    def _start(self, work: Callable[..., None], *arguments: Download) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        thread.start()
        self._threads.append(thread)

    def _work(self) -> None:
        """What a thread of the crew does."""
        try:
            while job := self._next():
                self._fly(*job)
        except BaseException as error:  # noqa: BLE001 - it is raised again in run()
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        with self._changed:
            self._error = self._error or error
            self._changed.notify_all()

    def _next(self) -> tuple[Download, Flight] | None:
        """What to fetch next; None when all is done."""
        with self._changed:
            while self._error is None and (self._waiting or self._open):
                now = time.monotonic()
                for download in self._ready(now):
                    if flight := download.schedule.next(now):
                        return download, flight
                for download in self._open:
                    if download.not_before <= now and (flight := download.schedule.taken_over(now)):
                        return download, flight
                self._changed.wait(_LOOKS_AGAIN)
            self._changed.notify_all()
        return None

    def _ready(self, now: float) -> Iterator[Download]:
        """The downloads that something may be asked for; more are begun when these have nothing to ask for."""
        yield from [download for download in self._open if download.not_before <= now]
        while self._waiting and len(self._open) < self._connections:
            if download := self._opened(self._waiting.popleft()):
                yield download

    def _opened(self, blob: Descriptor) -> Download | None:
        """A blob begun, or gone on with; None for one that is here, or that another process has in hand."""
        lock = self._store.blobs.once(blob.digest, waits=False)
        try:
            lock.__enter__()
        except BusyError:
            self._busy.append(blob)
            return None
        try:
            if self._store.blobs.is_kept(blob):
                lock.__exit__(None, None, None)
                return None
            partial = Partial(self._store.blobs, blob)
        except BaseException:
            lock.__exit__(None, None, None)
            raise
        schedule = Schedule(blob.size, partial.done, self._connections)
        download = Download(blob, list(self._sources), partial, schedule, lock, Tries(self._sources[0].patience))
        try:
            self._start(self._follow, download)
        except BaseException:
            partial.close()
            lock.__exit__(None, None, None)
            raise
        self._open.append(download)
        return download

    def _fly(self, download: Download, flight: Flight) -> None:
        source = download.source
        try:
            self._bring(download, flight, source)
        except (RegistryError, MismatchError) as error:
            with self._changed:
                if not flight.is_called_off and not download.is_over and source is download.source:
                    download.failed(flight, error, time.monotonic())
        finally:
            with self._changed:
                download.end(flight, time.monotonic())
                self._changed.notify_all()

    def _bring(self, download: Download, flight: Flight, source: Registry) -> None:
        schedule, partial = download.schedule, download.partial
        stream = source.open_blob(flight, download.blob)
        with stream:
            with self._changed:
                download.answered(flight, stream)
                self._changed.notify_all()
            recorded = flight.position
            for piece in stream:
                self._throttle.take(len(piece))
                with self._changed:
                    came = flight.position
                    start, stop = schedule.claim(flight, len(piece))
                if start < stop:
                    partial.write(memoryview(piece)[start - came : stop - came], start)
                with self._changed:
                    is_news = download.settle(flight, max(stop - start, 0))
                    if is_news:
                        self._changed.notify_all()
                if (stop - recorded >= _RECORDED_EVERY or not flight.left) and not flight.is_called_off:
                    partial.record(recorded, stop)
                    recorded = stop
                self._show(download)
                if not flight.left:
                    return
        if not flight.is_called_off:
            partial.record(recorded, flight.settled)
        raise RegistryError(
            f"{source.identity}: the transfer from {source.host} ended {flight.left} bytes early",
            hint="try again; what has come is not fetched again",
            is_passing=True,
        )

    def _follow(self, download: Download) -> None:
        """What the thread does that follows a blob with the digest."""
        is_spoilt = False
        try:
            while not self._is_committed(download):
                pass
        except BaseException as error:  # noqa: BLE001 - it is raised again in run()
            is_spoilt = isinstance(error, MismatchError)
            self._fail(error)
        with self._changed:
            self._open.remove(download)
            download.finish(is_spoilt=is_spoilt)
            self._changed.notify_all()

    def _is_committed(self, download: Download) -> bool:
        partial, schedule = download.partial, download.schedule
        while partial.hashed < schedule.size:
            with self._changed:
                while self._error is None and not download.has_news:
                    self._changed.wait(_LOOKS_AGAIN)
                frontier = schedule.done.frontier
            if self._error is not None and frontier < schedule.size:
                return True
            partial.follow(frontier)
        try:
            partial.commit()
        except MismatchError as error:
            with self._changed:
                download.mismatched(error)
                self._changed.notify_all()
            return False
        return True

    def _show(self, download: Download) -> None:
        now = time.monotonic()
        if now - download.shown >= _SHOWN_EVERY:
            download.shown = now
            self._say(download.blob, download.schedule.done.total)

    def _say(self, blob: Descriptor, completed: int) -> None:
        with self._reporting:
            self._report(Progress(f"pulling {blob.digest.short}", blob.digest, blob.size, completed))
