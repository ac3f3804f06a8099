"""Requests that share a system prompt of about 1,500 tokens: 16 at once, 32 tokens each, and 15 after the first one's first.

Prints one JSON line. Limits: at once at least 6 times llama-server's tokens/s, where --llama-server names one (16 slots and
otherwise its own defaults); the later ones' median time to the first token at most a quarter of the first one's.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import time
from contextlib import AsyncExitStack
from typing import Any

from engines import Engine, Seats, Trace, answers, options, started, story

REQUESTS = 16
TOKENS = 32
PARAGRAPHS = 30


def shared(turn: int) -> str:
    """About 1,500 tokens, others in each turn."""
    return "".join(f"{story(number, turn)} it began.\n" for number in range(turn, turn + PARAGRAPHS))


def prompts(turn: int) -> list[str]:
    """One beginning, many ends."""
    prefix = shared(turn)
    return [f"{prefix}The storyteller from village {number} said" for number in range(REQUESTS)]


async def at_once(engine: Engine, turn: int) -> float:
    """Tokens a second of all requests together."""
    traces = await answers(engine, prompts(turn), TOKENS)
    ended = max(trace.times[-1] for trace in traces)
    return sum(trace.tokens for trace in traces) / (ended - min(trace.started for trace in traces))


async def one_after(engine: Engine, turn: int) -> float:
    """The later ones' median time to the first token, by the first one's."""
    first, *later = prompts(turn)
    trace = Trace(time.perf_counter())
    leading = asyncio.create_task(engine.answer(first, TOKENS, trace))
    while not trace.times and not leading.done():
        await asyncio.sleep(0.001)
    traces = await answers(engine, later, TOKENS)
    await leading
    return statistics.median(trace.first for trace in traces) / trace.first


async def measured(arguments: argparse.Namespace) -> dict[str, Any]:
    """All engines by turns."""
    seats = Seats(arguments.model, arguments.threads, REQUESTS, 2048)
    rates: dict[str, list[float]] = {}
    waits: dict[str, list[float]] = {}
    async with AsyncExitStack() as stack:
        engines = await started(stack, seats, arguments.llama_server)
        for turn in range(arguments.rounds):
            for name, engine in engines.items():
                rates.setdefault(name, []).append(await at_once(engine, 2 * turn))
                waits.setdefault(name, []).append(await one_after(engine, 2 * turn + 1))
    ratios = {
        f"{ours}/llama_server": round(
            statistics.median(a / b for a, b in zip(rates[ours], rates["llama_server"], strict=True)), 2
        )
        for ours in ("worker", "http")
        if "llama_server" in rates
    }
    return {
        "tokens_per_second": {name: round(statistics.median(found), 1) for name, found in rates.items()},
        "ratios": ratios,
        "limit": 6,
        "later_ttft": {name: round(statistics.median(found), 3) for name, found in waits.items()},
        "later_ttft_limit": 0.25,
    }


def main() -> None:
    """Measure and print."""
    arguments = options(__doc__ or "").parse_args()
    found = asyncio.run(measured(arguments))
    print(json.dumps({"bench": "prefix", "threads": arguments.threads, "rounds": arguments.rounds, **found}))


if __name__ == "__main__":
    main()
