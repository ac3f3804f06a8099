"""CodePoints: sets of characters, as ranges. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import TypeAlias

CodePoints: TypeAlias = tuple[tuple[int, int], ...]
"""Ranges, both ends included, ascending and not touching each other."""

HIGHEST = 0x10FFFF
ANY: CodePoints = ((0, 0xD7FF), (0xE000, HIGHEST))
"""All that a text can hold: half a surrogate pair is no character."""
NONE: CodePoints = ()


def points(*characters: str) -> CodePoints:
    """A set of single characters, and of ranges that are written as two of them."""
    return union([(ord(text[0]), ord(text[-1])) for text in characters])


def union(ranges: Iterable[tuple[int, int]]) -> CodePoints:
    """All that is in any of these ranges."""
    merged: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = merged[-1][0], max(merged[-1][1], high)
        else:
            merged.append((low, high))
    return tuple(merged)


def overlap(one: CodePoints, other: CodePoints) -> CodePoints:
    """What is in both."""
    found: list[tuple[int, int]] = []
    at = to = 0
    while at < len(one) and to < len(other):
        low, high = max(one[at][0], other[to][0]), min(one[at][1], other[to][1])
        if low <= high:
            found.append((low, high))
        if one[at][1] < other[to][1]:
            at += 1
        else:
            to += 1
    return tuple(found)


def without(one: CodePoints, other: CodePoints) -> CodePoints:
    """What is in the one and not in the other."""
    edges = [-1, *(edge for low, high in other for edge in (low - 1, high + 1)), 1 << 32]
    gaps = tuple((low, high) for low, high in list(pairwise(edges))[::2] if low <= high)
    return overlap(one, gaps)


def single(found: CodePoints) -> str:
    """The only character of a set that has one, else ""."""
    return chr(found[0][0]) if len(found) == 1 and found[0][0] == found[0][1] else ""


def gbnf_class(found: CodePoints) -> str:
    """The set in GBNF's brackets."""
    ends = ([_letter(code, "]^-\\") for code in dict.fromkeys(pair)] for pair in found)
    return f"[{''.join('-'.join(pair) for pair in ends)}]"


def gbnf_text(text: str) -> str:
    """A text in GBNF's quotes."""
    return '"' + "".join(_letter(ord(letter), '"\\') for letter in text) + '"'


def _letter(code: int, special: str) -> str:
    letter = chr(code)
    if letter in special:
        return f"\\x{code:02X}" if letter in "^-" else f"\\{letter}"
    if letter.isprintable() and letter not in "()":  # the engine counts them, in texts, too
        return letter
    return f"\\x{code:02X}" if code < 0x80 else f"\\u{code:04X}" if code < 0x10000 else f"\\U{code:08X}"
