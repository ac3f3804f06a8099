"""Aggregate tokens/s and time to the first token at 1 to 32 streams: Corral's worker, Corral by HTTP, and beside them
llama-server and llama-batched-bench where --llama-server and --batched-bench name them.

Prints one JSON line. Aims, as ratios: to llama-server 1 at 1 stream and 1.1 at 16 and 32; to llama-batched-bench, which
samples nothing and sends nothing, 0.95 in the worker and 0.9 by HTTP.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from engines import Seats, Trace, answers, options, quantile, started, story

PROMPT_TOKENS = 45


def rate(traces: list[Trace], tokens: int) -> float:
    """Tokens a second from the first request to the last token; an answer that ended early counts for nothing."""
    whole = [trace for trace in traces if trace.tokens == tokens]
    ended = max(trace.times[-1] for trace in traces)
    return len(whole) * tokens / (ended - min(trace.started for trace in traces))


def batched_bench(program: Path, seats: Seats, streams: int, tokens: int) -> float:
    """The same by llama-batched-bench, which measures prompts and answers apart."""
    size = streams * (PROMPT_TOKENS + tokens)
    sizes = ["-c", str(size + 256), "-npp", str(PROMPT_TOKENS), "-ntg", str(tokens), "-npl", str(streams)]
    threads = ["-t", str(seats.threads), "-tb", str(seats.threads)]
    command = [program, "-m", seats.model, *sizes, *threads, "--output-format", "jsonl"]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    (line,) = (json.loads(line) for line in printed.splitlines() if line.startswith("{"))
    return streams * tokens / (line["t_pp"] + line["t_tg"])


async def measured(arguments: argparse.Namespace) -> dict[str, Any]:
    """All engines by turns, at each number of streams."""
    streams: list[int] = arguments.streams
    seats = Seats(arguments.model, arguments.threads, max(streams), arguments.num_ctx)
    rates: dict[str, dict[int, list[float]]] = {}
    firsts: dict[str, dict[int, list[float]]] = {}
    short = 0
    async with AsyncExitStack() as stack:
        engines = await started(stack, seats, arguments.llama_server, "--kv-unified")
        for turn in range(arguments.rounds):
            for count in streams:
                prompts = [story(number, turn) for number in range(count)]
                for name, engine in engines.items():
                    traces = await answers(engine, prompts, arguments.tokens)
                    rates.setdefault(name, {}).setdefault(count, []).append(rate(traces, arguments.tokens))
                    firsts.setdefault(name, {}).setdefault(count, []).extend(trace.first for trace in traces)
                    short += sum(trace.tokens != arguments.tokens for trace in traces)
                if arguments.batched_bench:
                    figure = batched_bench(arguments.batched_bench, seats, count, arguments.tokens)
                    rates.setdefault("batched_bench", {}).setdefault(count, []).append(figure)
    return {
        "tokens_per_second": {
            name: {count: round(statistics.median(found), 1) for count, found in by_count.items()}
            for name, by_count in rates.items()
        },
        "ratios": ratios(rates),
        "ttft_ms": {
            name: {
                count: {f"p{p}": round(quantile(found, p / 100) * 1000) for p in (50, 95)}
                for count, found in by_count.items()
            }
            for name, by_count in firsts.items()
        },
        "ended_early": short,
    }


def ratios(rates: dict[str, dict[int, list[float]]]) -> dict[str, dict[int, float]]:
    """Ours to theirs: the median over the rounds, each round's figures being of the same minute."""
    return {
        f"{ours}/{theirs}": {
            count: round(statistics.median(a / b for a, b in zip(found, rates[theirs][count], strict=True)), 2)
            for count, found in rates[ours].items()
        }
        for ours in ("worker", "http")
        for theirs in ("llama_server", "batched_bench")
        if theirs in rates
    }


def main() -> None:
    """Measure and print."""
    parser = options(__doc__ or "")
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 4, 8, 16, 32])
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--num-ctx", type=int, default=256, help="context per slot")
    parser.add_argument("--batched-bench", type=Path, metavar="PATH")
    arguments = parser.parse_args()
    found = asyncio.run(measured(arguments))
    print(json.dumps({"bench": "serving", "threads": arguments.threads, "rounds": arguments.rounds, **found}))


if __name__ == "__main__":
    main()
