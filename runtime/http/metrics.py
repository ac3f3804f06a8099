"""Metrics: what the server counts, in Prometheus' text format (version 0.0.4).

Labels have values from short lists only: the routes there are, the methods of HTTP, statuses, and so many models.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

from ...store.errors import CorralError, InputError, IntegrityError, MachineError, RemoteError
from .logs import annotate

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
"""Of the histograms, in seconds."""
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_MOST_MODELS = 200
_OTHER = "other"
_KINDS = {InputError: "input", IntegrityError: "integrity", RemoteError: "remote", MachineError: "machine"}
Sample: TypeAlias = tuple[Sequence[str], float]
"""The values of labels and the number that belongs to them."""


class Counter:
    """Numbers that only grow, one for each combination of its labels' values."""

    kind = "counter"

    def __init__(self, name: str, says: str, labels: Sequence[str] = ()) -> None:
        self.name = name
        self.says = says
        self._labels = labels
        self._values: dict[tuple[str, ...], float] = {}

    def add(self, amount: float, *values: str) -> None:
        """Count so many more."""
        self._values[values] = self._values.get(values, 0.0) + amount

    def samples(self) -> Iterable[str]:
        """Its lines."""
        return (_sample(self.name, self._labels, values, value) for values, value in sorted(self._values.items()))


class Histogram:
    """How many of the observed numbers of seconds were at most each bound, their count and sum."""

    kind = "histogram"

    def __init__(self, name: str, says: str, labels: Sequence[str] = ()) -> None:
        self.name = name
        self.says = says
        self._labels = labels
        self._seen: dict[tuple[str, ...], list[int]] = {}
        self._sums: dict[tuple[str, ...], float] = {}

    def observe(self, seconds: float, *values: str) -> None:
        """Take a number into account."""
        self._seen.setdefault(values, [0] * (len(_BOUNDS) + 1))[bisect_left(_BOUNDS, seconds)] += 1
        self._sums[values] = self._sums.get(values, 0.0) + seconds

    def samples(self) -> Iterable[str]:
        """Its lines."""
        labels = (*self._labels, "le")
        for values, seen in sorted(self._seen.items()):
            below = 0
            for bound, count in zip((*map(_number, _BOUNDS), "+Inf"), seen, strict=True):
                below += count
                yield _sample(f"{self.name}_bucket", labels, (*values, bound), below)
            yield _sample(f"{self.name}_count", self._labels, values, below)
            yield _sample(f"{self.name}_sum", self._labels, values, self._sums[values])


class _Read:
    """A gauge: it is asked when somebody wants to know."""

    kind = "gauge"

    def __init__(self, name: str, says: str, labels: Sequence[str], read: Callable[[], Iterable[Sample]]) -> None:
        self.name = name
        self.says = says
        self._labels = labels
        self._read = read

    def samples(self) -> Iterable[str]:
        return (_sample(self.name, self._labels, values, value) for values, value in self._read())


class Metrics:
    """All of them. For use in one event loop."""

    def __init__(self) -> None:
        by_model = ("model",)
        self._requests = Counter("corral_requests_total", "Requests answered.", ("route", "method", "status"))
        self._durations = Histogram("corral_request_seconds", "From a request to the end of its answer.", ("route",))
        self._prompts = Counter("corral_prompt_tokens_total", "Tokens of prompts, cached ones too.", by_model)
        self._cached = Counter("corral_cached_prompt_tokens_total", "Tokens of prompts not evaluated anew.", by_model)
        self._tokens = Counter("corral_generated_tokens_total", "Tokens generated.", by_model)
        self._first = Histogram("corral_first_token_seconds", "From a request to its first token.", by_model)
        self._waits = Histogram("corral_queue_seconds", "From a request to its slot, the load included.")
        self._cuts = Counter("corral_truncated_total", "Requests of which something was left out to fit.", by_model)
        self._errors = Counter("corral_errors_total", "Answers that failed, by whose fault it is.", ("kind",))
        self._families: list[Counter | Histogram | _Read] = [
            self._requests,
            self._durations,
            self._prompts,
            self._cached,
            self._tokens,
            self._first,
            self._waits,
            self._cuts,
            self._errors,
        ]
        self._models: set[str] = set()

    def requested(self, route: str, method: str, status: int, seconds: float) -> None:
        """A request is over. `route` is the route's own path with its parameters' names, "" for none."""
        route = route or _OTHER
        self._requests.add(1, route, method if method in _METHODS else _OTHER, str(status))
        self._durations.observe(seconds, route)

    def asked(self, model: str) -> None:
        """A request wants this model of the store; nothing is counted yet, but its line in the log names it."""
        annotate(model=model)

    def waited(self, seconds: float) -> None:
        """A request has got its slot."""
        self._waits.observe(seconds)

    def answered(
        self, model: str, *, prompt_tokens: int, cached: int, tokens: int, seconds_to_first: float | None
    ) -> None:
        """A model of the store has given an answer; there is no first token in one of none."""
        annotate(prompt_tokens=prompt_tokens, cached_tokens=cached, tokens=tokens)
        model = self._known(model)
        self._prompts.add(prompt_tokens, model)
        self._cached.add(cached, model)
        self._tokens.add(tokens, model)
        if seconds_to_first is not None:
            self._first.observe(seconds_to_first, model)

    def truncated(self, model: str) -> None:
        """Something of a prompt was left out."""
        self._cuts.add(1, self._known(model))

    def failed(self, error: CorralError) -> None:
        """An answer has failed, before it began or later."""
        self._errors.add(1, next((kind for branch, kind in _KINDS.items() if isinstance(error, branch)), "bug"))

    def gauge(self, name: str, says: str, labels: Sequence[str], read: Callable[[], Iterable[Sample]]) -> None:
        """Show what `read` gives, too."""
        self._families.append(_Read(name, says, labels, read))

    def render(self) -> str:
        """The text."""
        lines: list[str] = []
        for family in self._families:
            lines += [f"# HELP {family.name} {family.says}", f"# TYPE {family.name} {family.kind}", *family.samples()]
        return "\n".join(lines) + "\n"

    def _known(self, model: str) -> str:
        if model in self._models or len(self._models) < _MOST_MODELS:
            self._models.add(model)
            return model
        return _OTHER


def _sample(name: str, labels: Sequence[str], values: Sequence[str], value: float) -> str:
    pairs = ",".join(f'{label}="{_escaped(text)}"' for label, text in zip(labels, values, strict=True))
    return f"{name}{{{pairs}}} {_number(value)}" if pairs else f"{name} {_number(value)}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)
