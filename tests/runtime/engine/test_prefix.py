"""PrefixTree, against sequences written down one by one."""

from __future__ import annotations

import os
from itertools import count

import pytest
from corral.runtime.engine.prefix import PrefixTree, common_length
from hypothesis import given, settings
from hypothesis import strategies as st

SOAK = "CORRAL_SOAK" in os.environ
ROUNDS = settings(derandomize=not SOAK, deadline=None, max_examples=5000 if SOAK else 200)
SEQUENCES = 4
TOKENS = st.lists(st.integers(0, 2), max_size=5)
ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("extend"), st.integers(0, SEQUENCES - 1), TOKENS),
        st.tuples(st.just("begin like"), st.integers(0, SEQUENCES - 1), TOKENS),
        st.tuples(st.just("release"), st.integers(0, SEQUENCES - 1), TOKENS),
    ),
    max_size=25,
)


def test_nothing_begins_like_anything_in_an_empty_cache() -> None:
    tree = PrefixTree()
    assert tree.longest([1, 2, 3]) == tree.whole([1, 2, 3]) == (-1, 0)
    tree.release(7)
    assert tree.cells == tree.own(7) == 0


def test_a_shared_beginning_counts_once_and_stays_as_long_as_anybody_holds_it() -> None:
    tree = PrefixTree()
    tree.extend(0, [1, 2, 3, 4])
    tree.share(0, 1, 3)
    tree.extend(1, [9])
    assert (tree.cells, tree.own(0), tree.own(1)) == (5, 1, 1)
    tree.release(0)
    assert (tree.cells, tree.own(1)) == (4, 4)
    assert tree.longest([1, 2, 3, 4]) == (1, 3)


def test_who_goes_on_after_being_shared_does_not_change_the_other() -> None:
    tree = PrefixTree()
    tree.extend(0, [1, 2])
    tree.share(0, 1, 2)
    tree.extend(0, [3])
    tree.extend(1, [4])
    assert tree.longest([1, 2, 3]) == (0, 3)
    assert tree.longest([1, 2, 4]) == (1, 3)


def test_the_whole_of_a_sequence_is_asked_for_where_a_part_is_not_enough() -> None:
    tree = PrefixTree()
    tree.extend(0, [1, 2, 3])
    tree.extend(1, [1, 2, 3, 4, 5])
    assert tree.longest([1, 2, 3, 4, 9]) == (1, 4)
    assert tree.whole([1, 2, 3, 4, 9]) == (0, 3)


@pytest.mark.soak
@ROUNDS
@given(actions=ACTIONS, asked=TOKENS)
def test_it_says_what_a_list_of_sequences_would(actions: list[tuple[str, int, list[int]]], asked: list[int]) -> None:
    tree, cells = PrefixTree(), count()
    plain: dict[int, list[tuple[int, int]]] = {number: [] for number in range(SEQUENCES)}
    for action, number, tokens in actions:
        if action == "extend":
            tree.extend(number, tokens)
            plain[number] = [*plain[number], *((token, next(cells)) for token in tokens)]
            continue
        tree.release(number)
        plain[number] = []
        source, size = tree.longest(tokens)
        if action == "begin like" and size:
            tree.share(source, number, size)
            plain[number] = plain[source][:size]
    held = {number: [cell for _, cell in pairs] for number, pairs in plain.items()}
    texts = {number: [token for token, _ in pairs] for number, pairs in plain.items()}
    assert tree.cells == len({cell for numbers in held.values() for cell in numbers})
    for number, own in held.items():
        others = {cell for other, numbers in held.items() if other != number for cell in numbers}
        assert tree.own(number) == len(set(own) - others)
    commons = {number: common_length(text, asked) for number, text in texts.items()}
    source, size = tree.longest(asked)
    assert size == max(commons.values())
    assert size == 0 or commons[source] == size
    source, size = tree.whole(asked)
    assert size == max(common if common == len(texts[number]) else 0 for number, common in commons.items())
    assert size == 0 or texts[source] == asked[:size]
