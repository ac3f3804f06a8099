"""How long parsing takes as a file grows, as a ratio to the growth: 1 is linear. And 10 MB and 100,000 instructions in
seconds.

Prints one JSON line. Limit of the ratio: 1.5.
"""

from __future__ import annotations

import json
import time

from corral.modelfile.parser import parse

ROUNDS = 3
GROWTH = 8


def long_value(size: int) -> str:
    """One instruction with a value of so many characters."""
    line = 'She said "yes" to 10 € and went on.\n'
    return f'FROM m\nSYSTEM """{line * (size // len(line))}"""\n'


def many_instructions(count: int) -> str:
    """So many instructions."""
    return "FROM m\n" + "".join(f"MESSAGE user number {i}\n" for i in range(count))


def seconds(text: str) -> float:
    """The best of some runs."""
    data = text.encode()
    best = float("inf")
    for _ in range(ROUNDS):
        started = time.perf_counter()
        parse(data)
        best = min(best, time.perf_counter() - started)
    return best


def main() -> None:
    """Measure the small and the large of each kind in turn."""
    result: dict[str, object] = {"bench": "language", "limit": 1.5}
    for name, make, size in (
        ("value_10_MB", long_value, 10_000_000),
        ("instructions_100000", many_instructions, 100_000),
    ):
        small, large = seconds(make(size // GROWTH)), seconds(make(size))
        result[name] = {"seconds": round(large, 3), "ratio": round(large / small / GROWTH, 2)}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
