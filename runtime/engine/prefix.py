"""PrefixTree: which tokens are in the cache, which sequences hold them, and who begins like a new prompt. Pure.

It mirrors the KV cache: an edge is a run of cells that the same sequences hold, a path from the root is a sequence.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice


@dataclass(slots=True, eq=False)
class _Run:
    tokens: list[int]
    parent: _Run | None
    holders: set[int]
    children: list[_Run] = field(default_factory=list["_Run"])


class PrefixTree:
    """See the module. Sequences are known by their numbers."""

    def __init__(self) -> None:
        self._root = _Run([], None, set())
        self._ends: dict[int, _Run] = {}
        self.cells = 0
        """Tokens in the cache; one that sequences share counts once."""

    def extend(self, sequence: int, tokens: Sequence[int]) -> None:
        """The sequence now goes on with these."""
        if not tokens:
            return
        end = self._ends.get(sequence, self._root)
        if end.holders == {sequence} and not end.children:
            end.tokens += tokens
        else:
            run = self._ends[sequence] = _Run(list(tokens), end, {sequence})
            end.children.append(run)
        self.cells += len(tokens)

    def share(self, source: int, target: int, count: int) -> None:
        """An empty sequence now begins with the first `count` tokens of another."""
        for run in self._path(source):
            if count <= 0:
                break
            shared = self._split(run, count) if count < len(run.tokens) else run
            shared.holders.add(target)
            self._ends[target] = shared
            count -= len(shared.tokens)

    def release(self, sequence: int) -> None:
        """The sequence is empty now; what nobody else holds leaves the cache."""
        for run in reversed(self._path(sequence)):
            run.holders.discard(sequence)
            if not run.holders:
                self.cells -= len(run.tokens)
                assert run.parent is not None
                run.parent.children.remove(run)
        self._ends.pop(sequence, None)

    def own(self, sequence: int) -> int:
        """How many tokens would leave the cache with the sequence."""
        return sum(len(run.tokens) for run in self._path(sequence) if len(run.holders) == 1)

    def longest(self, tokens: Sequence[int]) -> tuple[int, int]:
        """A sequence that begins with as many of these tokens as any, and how many; (-1, 0) for none."""
        holder, most = -1, 0
        for run, common, depth in self._matches(tokens):
            if common and depth + common > most:
                holder, most = min(run.holders), depth + common
        return holder, most

    def whole(self, tokens: Sequence[int]) -> tuple[int, int]:
        """The longest sequence that is itself a beginning of these tokens, and its length; (-1, 0) for none."""
        holder, most = -1, 0
        for run, common, depth in self._matches(tokens):
            if common == len(run.tokens) and depth + common > most:
                ending = [sequence for sequence in run.holders if self._ends[sequence] is run]
                if ending:
                    holder, most = min(ending), depth + common
        return holder, most

    def _matches(self, tokens: Sequence[int]) -> Iterator[tuple[_Run, int, int]]:
        """Every run that agrees with `tokens`: how far, and where it begins."""
        open_runs = [(child, 0) for child in self._root.children]
        while open_runs:
            run, depth = open_runs.pop()
            common = common_length(run.tokens, tokens, depth)
            yield run, common, depth
            if common == len(run.tokens):
                open_runs += [(child, depth + common) for child in run.children]

    def _path(self, sequence: int) -> list[_Run]:
        runs: list[_Run] = []
        run = self._ends.get(sequence)
        while run is not None and run.parent is not None:
            runs.append(run)
            run = run.parent
        return runs[::-1]

    def _split(self, run: _Run, count: int) -> _Run:
        """A run of its own for the first `count` tokens."""
        parent = run.parent
        assert parent is not None
        first = _Run(run.tokens[:count], parent, set(run.holders), [run])
        parent.children[parent.children.index(run)] = first
        run.tokens, run.parent = run.tokens[count:], first
        return first


def common_length(a: Sequence[int], b: Sequence[int], start: int = 0) -> int:
    """How many first tokens of `a` are those of `b` from `start` on."""
    most = min(len(a), len(b) - start)
    pairs = zip(islice(a, most), islice(b, start, start + most), strict=True)
    return next((i for i, (x, y) in enumerate(pairs) if x != y), max(0, most))
