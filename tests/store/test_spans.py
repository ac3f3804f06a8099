"""Spans: a set of positions as intervals behaves like the set."""

from __future__ import annotations

import itertools

from corral.store.spans import Spans
from hypothesis import given
from hypothesis import strategies as st

SIZE = 40
pieces = st.lists(st.tuples(st.integers(0, SIZE), st.integers(0, SIZE)), max_size=20)


@given(pieces)
def test_it_is_the_set_of_all_that_was_added(added: list[tuple[int, int]]) -> None:
    spans, positions = Spans(), set[int]()
    for start, stop in added:
        spans.add(start, stop)
        positions |= set(range(start, stop))
        assert {i for a, b in spans for i in range(a, b)} == positions
        assert {i for a, b in spans.gaps(SIZE) for i in range(a, b)} == set(range(SIZE)) - positions
        assert spans.total == len(positions)
        assert spans.frontier == next(i for i in range(SIZE + 1) if i not in positions)
        found = list(spans)
        assert all(a < b for a, b in found)
        # The fewest: none touches the next.
        assert all(one[1] < other[0] for one, other in itertools.pairwise(found))


def test_cleared_it_is_empty() -> None:
    spans = Spans()
    spans.add(3, 9)
    spans.clear()
    assert (list(spans), spans.total, spans.frontier) == ([], 0, 0)
    assert list(spans.gaps(5)) == [(0, 5)]
    assert list(spans.gaps(0)) == []
