"""Bars: progress on a terminal, drawn as Ollama draws it: a spinner behind a status, a bar for a transfer.

What is done goes up and stays; only what is still going on is drawn again and again, so that any number of layers has room.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from types import TracebackType

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.measure import Measurement
from rich.progress import Progress as Tasks
from rich.progress import Task, TaskID
from rich.text import Text

from ..store.progress import Progress
from .units import human_bytes

_SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_FRAMES = 10
"""A second."""
_LEAST_BAR = 5


class Bars(Tasks):
    """A Report, take(), with its drawing; to be used as a context manager."""

    def __init__(self, console: Console) -> None:
        self._screen = console  # the parent's own is not there yet when it first draws
        super().__init__(console=console, refresh_per_second=_FRAMES)
        self._guard = threading.Lock()
        self._shown: dict[str, TaskID] = {}
        """Of the statuses that are still drawn, in their order."""
        self._done: set[str] = set()
        self._status = ""

    def take(self, step: Progress) -> None:
        """Take note of a step; from any thread."""
        with self._guard:
            if step.total is None:
                self._begin(step.status)
            else:
                self._move(step.status, step.completed or 0, step.total)
            self._settle()

    def _begin(self, status: str) -> None:
        if status == self._status:
            return
        self._end_status()
        self._status = status
        self._shown[status] = self.add_task(status, total=None)

    def _end_status(self) -> None:
        if self._status in self._shown:
            self.stop_task(self._shown[self._status])
        self._status = ""

    def _move(self, status: str, completed: int, total: int) -> None:
        self._end_status()
        if status not in self._shown:
            if status in self._done and completed >= total:
                return
            # What is there from an earlier time was not so fast.
            self._shown[status] = self.add_task(status, total=total, completed=completed)
        self.update(self._shown[status], completed=completed, total=total)

    def _settle(self) -> None:
        """Let go of what is done at the top."""
        for status, task in list(self._shown.items()):
            if not _is_done(self._tasks[task]):
                break
            self.console.print(_Line(self._tasks[task]))
            self.remove_task(task)
            del self._shown[status]
            self._done.add(status)

    def get_renderables(self) -> Iterable[RenderableType]:
        """A line for each that is not done; no more than there is room for, the newest."""
        room = max(1, self._screen.height - 1)
        return [_Line(task) for task in self.tasks[-room:]]

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        with self._guard:
            self._end_status()
            self._settle()
        super().__exit__(exc_type, exc_val, exc_tb)


def _is_done(task: Task) -> bool:
    return task.finished if task.total is not None else task.stop_time is not None


class _Line:
    """`pulling 0123456789ab:  42% ▕███      ▏ 2.0 GB/4.7 GB  110 MB/s  24s`, as wide as the terminal."""

    def __init__(self, task: Task) -> None:
        self._task = task

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        task = self._task
        if task.total is None:
            spinner = "" if _is_done(task) else " " + _SPINNER[int(time.monotonic() * _FRAMES) % len(_SPINNER)]
            yield Text(f"{task.description}{spinner}", no_wrap=True, overflow="ellipsis")
            return
        before = f"{task.description}: {int(task.percentage):3d}% "
        after = f" {_amounts(task)}"
        width = max(_LEAST_BAR, options.max_width - len(before) - len(after) - 2)
        full = width if _is_done(task) else int(width * task.percentage / 100)
        yield Text(f"{before}▕{'█' * full}{' ' * (width - full)}▏{after}", no_wrap=True, overflow="crop")

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(1, options.max_width)


def _amounts(task: Task) -> str:
    """What is there of what, how fast, and how long it will take; of what is done, how much it is."""
    total = human_bytes(task.total or 0)
    if _is_done(task):
        return f"{total:>6}"
    speed = f"{human_bytes(task.speed)}/s" if task.speed else ""
    left = task.time_remaining
    return f"{human_bytes(task.completed):>6}/{total:<6} {speed:>8} {'' if left is None else _duration(left):>6}"


def _duration(seconds: float) -> str:
    """`24s`, `3m56s`, `1h5m`; two units at most."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours > 99:
        return "99h+"
    return f"{hours}h{minutes}m" if hours else f"{minutes}m{rest}s" if minutes else f"{rest}s"
