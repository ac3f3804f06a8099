"""Which characters a value keeps: Go's IsPrint, whatever Unicode this Python has."""

from __future__ import annotations

import unicodedata

import pytest
from corral.modelfile.printable import first_dropped, kept


def test_characters_that_every_unicode_knows_are_kept_by_their_category() -> None:
    for code in range(0x110000):
        character = chr(code)
        if unicodedata.ucd_3_2_0.category(character) == "Cn" or character in "\t\r\n":
            continue
        expected = character == " " or unicodedata.category(character)[0] in "LMNPS"
        assert (kept(character) == character) is expected, hex(code)


@pytest.mark.parametrize("character", ["\U0001fae8", "\U0001f6dc", "\U00031350", "\u0cf3"])
def test_characters_of_unicode_15_are_kept(character: str) -> None:
    assert kept(f"a{character}b") == f"a{character}b"


@pytest.mark.parametrize("character", ["\U0001c800", "\U0002ebf0", "\U000e0fff", "\ue000", "\ud800"])
def test_characters_that_unicode_15_does_not_know_are_dropped(character: str) -> None:
    assert kept(f"a{character}b") == "ab"


def test_line_ends_are_no_dropped_characters() -> None:
    assert first_dropped("a\r\n\tb", 0, 5) is None
    found = first_dropped("ab\0c\0", 0, 5)
    assert found
    assert found.span() == (2, 3)
