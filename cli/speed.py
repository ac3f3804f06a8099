"""Speed: how fast a server answers, measured as its users meet it, by the times they see and the counts that it sends."""

from __future__ import annotations

import math
import random
import statistics
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from ..store.errors import MachineError
from .client import Client, Generated

_WORDS = ("time", "house", "water", "light", "story", "green", "small", "river", "paper", "night", "music", "stone")
"""A token each for nearly every vocabulary."""
_WAVES = 3
"""How often each number of streams is sent; a number's first wave also makes its threads."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer; times in seconds."""

    started: float
    first: float
    """When its first text came."""
    ended: float
    prompt_tokens: int
    prompt_seconds: float
    """What its evaluation took by the server's word, the wait for others' included."""
    tokens: int
    seconds: float

    @property
    def wait(self) -> float:
        """Seconds to the first text."""
        return self.first - self.started


@dataclass(frozen=True, slots=True)
class Level:
    """So many streams at once; speeds in tokens a second."""

    streams: int
    throughput: float
    """Of all streams together, prompts included in the time."""
    wait_p50: float
    """Seconds to the first text."""
    wait_p95: float
    prefill: float
    """A stream's, of its prompt."""
    decode: float
    """A stream's, after its first token."""

    def to_json(self) -> dict[str, float]:
        """For programs."""
        return {
            "streams": self.streams,
            "tokens_per_second": round(self.throughput, 2),
            "ttft_p50_seconds": round(self.wait_p50, 4),
            "ttft_p95_seconds": round(self.wait_p95, 4),
            "prefill_tokens_per_second": round(self.prefill, 2),
            "decode_tokens_per_second": round(self.decode, 2),
        }


class Speedometer:
    """Asks one model for greedy answers to prompts of random words, no two alike, so that no cache has one."""

    def __init__(self, client: Client, model: str, *, prompt_tokens: int, tokens: int, num_ctx: int = 0) -> None:
        self._client = client
        self._random = random.Random(time.time_ns())  # noqa: S311 - no secret
        self._words = prompt_tokens
        self._prompt_tokens = prompt_tokens
        options = {"temperature": 0, "repeat_penalty": 1, "num_predict": tokens}
        # What does not fit must not be cut, or it would be measured as if it were all evaluated.
        self._body = {
            "model": model,
            "raw": True,
            "shift": False,
            "options": options | ({"num_ctx": num_ctx} if num_ctx else {}),
        }

    def warm_up(self) -> None:
        """Load the model, and find how many words have the tokens that are wanted. Raises MachineError."""
        answer = self._ask(self._prompt())
        self._words = max(1, round(self._words * self._prompt_tokens / max(1, answer.prompt_tokens)))
        if not answer.tokens:
            raise MachineError("the model answers nothing")

    def levels(self, streams: Sequence[int]) -> Iterator[Level]:
        """Measure with so many at once, one number after the other."""
        for count in streams:
            with ThreadPoolExecutor(count) as pool:
                waves = [list(pool.map(self._ask, [self._prompt() for _ in range(count)])) for _ in range(_WAVES)]
            yield summary(count, waves)

    def _prompt(self) -> str:
        return " ".join(self._random.choices(_WORDS, k=self._words))

    def _ask(self, prompt: str) -> Answer:
        started = time.perf_counter()
        first, last = 0.0, dict[str, Any]()
        for line in self._client.stream("/api/generate", self._body | {"prompt": prompt}, Generated):
            first, last = first or time.perf_counter(), line
        ended = time.perf_counter()
        return Answer(
            started,
            first or ended,
            ended,
            last.get("prompt_eval_count", 0),
            last.get("prompt_eval_duration", 0) / 1e9,
            last.get("eval_count", 0),
            last.get("eval_duration", 0) / 1e9,
        )


def doubling(most: int) -> list[int]:
    """1, 2, 4, ... and at last the most."""
    return [1 << i for i in range(most.bit_length()) if 1 << i < most] + [most]


def summary(streams: int, waves: Sequence[Sequence[Answer]]) -> Level:
    """What the waves come to."""
    answers = [answer for wave in waves for answer in wave]
    waits = sorted(answer.wait for answer in answers)
    throughputs = [
        sum(answer.tokens for answer in wave)
        / max(1e-9, max(answer.ended for answer in wave) - min(answer.started for answer in wave))
        for wave in waves
    ]
    return Level(
        streams,
        statistics.median(throughputs),
        statistics.median(waits),
        waits[math.ceil(0.95 * len(waits)) - 1],
        statistics.median(answer.prompt_tokens / max(1e-9, answer.prompt_seconds) for answer in answers),
        statistics.median(max(0, answer.tokens - 1) / max(1e-9, answer.seconds) for answer in answers),
    )
