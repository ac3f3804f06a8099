"""What a prompt of 4,000 tokens does to the pace of 8 streams that are being answered: the 95th percentile of the gaps
between their tokens while it is evaluated, by that before it came.

Prints one JSON line. Limit: 2 for Corral; llama-server beside it where --llama-server names one.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import time
from contextlib import AsyncExitStack
from typing import Any

from engines import Engine, Seats, Trace, options, quantile, started, story

STREAMS = 8
BEFORE = 48
"""Tokens that each stream has when the prompt comes."""
PARAGRAPHS = 80
ANSWER = 1024
"""More than anybody waits for; they are cancelled."""


def long_prompt(turn: int) -> str:
    """About 4,000 tokens, others in each turn."""
    return "".join(f"{story(number, turn + 1)} it began.\n" for number in range(turn, turn + PARAGRAPHS))


async def gaps(engine: Engine, turn: int) -> tuple[float, float, float]:
    """The 95th percentile before and during, and how long the prompt took, in seconds."""
    traces = [Trace(time.perf_counter()) for _ in range(STREAMS)]
    streams = [
        asyncio.create_task(engine.answer(story(number, turn), ANSWER, trace)) for number, trace in enumerate(traces)
    ]
    try:
        while min(len(trace.times) for trace in traces) < BEFORE:
            assert not any(stream.done() for stream in streams), [len(trace.times) for trace in traces]
            await asyncio.sleep(0.005)
        steady = max(trace.times[4] for trace in traces)  # all are past their prompts
        arrival = Trace(time.perf_counter())
        await engine.answer(long_prompt(turn), 1, arrival)
        found = [gap for trace in traces for gap in trace.gaps]
        before = [gap for moment, gap in found if steady < moment <= arrival.started]
        during = [gap for moment, gap in found if arrival.started < moment <= arrival.times[0]]
    finally:
        for stream in streams:
            stream.cancel()
        await asyncio.gather(*streams, return_exceptions=True)
    # A stream that got nothing at all has waited the whole time.
    during += [
        arrival.first
        for trace in traces
        if not any(arrival.started < moment <= arrival.times[0] for moment in trace.times)
    ]
    return quantile(before, 0.95), quantile(during, 0.95), arrival.first


async def measured(arguments: argparse.Namespace) -> dict[str, Any]:
    """All engines by turns."""
    seats = Seats(arguments.model, arguments.threads, STREAMS + 1, 5120)
    found: dict[str, list[tuple[float, float, float]]] = {}
    async with AsyncExitStack() as stack:
        engines = await started(stack, seats, arguments.llama_server, "--kv-unified")
        for turn in range(arguments.rounds):
            for name, engine in engines.items():
                found.setdefault(name, []).append(await gaps(engine, turn))
    return {
        "ratio": {
            name: round(statistics.median(during / before for before, during, _ in rounds), 2)
            for name, rounds in found.items()
        },
        "limit": 2,
        "gap_p95_ms": {
            name: [round(statistics.median(figures) * 1000, 1) for figures in list(zip(*rounds, strict=True))[:2]]
            for name, rounds in found.items()
        },
        "prompt_seconds": {
            name: round(statistics.median(took for *_, took in rounds), 2) for name, rounds in found.items()
        },
    }


def main() -> None:
    """Measure and print."""
    arguments = options(__doc__ or "").parse_args()
    found = asyncio.run(measured(arguments))
    print(json.dumps({"bench": "pace", "threads": arguments.threads, "rounds": arguments.rounds, **found}))


if __name__ == "__main__":
    main()
