"""TextStream: whole characters only, and nothing of a stop text."""

from __future__ import annotations

import os
from collections.abc import Sequence

import pytest
from corral.runtime.engine.text import TextStream
from hypothesis import given, settings
from hypothesis import strategies as st

SOAK = "CORRAL_SOAK" in os.environ
ROUNDS = settings(derandomize=not SOAK, deadline=None, max_examples=5000 if SOAK else 150)
FEW_LETTERS = st.text("abé€😀", max_size=12)


def shown(pieces: Sequence[bytes], stops: Sequence[str] = ()) -> list[str]:
    """What the stream gives for each piece, and at last at the end."""
    stream = TextStream(stops)
    return [*(stream.feed(piece) for piece in pieces), stream.end()]


def test_a_character_is_held_until_its_last_byte() -> None:
    assert shown([b"\xf0\x9f", b"\x98", b"\x80!"]) == ["", "", "😀!", ""]


def test_a_character_that_is_never_finished_is_shown_as_broken_at_the_end() -> None:
    assert shown([b"ok\xe2\x82"]) == ["ok", "�"]


def test_bytes_that_are_no_utf8_do_not_stop_the_stream() -> None:
    assert "".join(shown([b"a\xff", b"\xfeb", b"\xc0\xaf"])).replace("�", "") == "ab"


def test_a_stop_text_inside_one_token_ends_the_stream_before_it() -> None:
    stream = TextStream(["END"])
    assert stream.feed(b"well. ENDless") == "well. "
    assert stream.stop
    assert stream.feed(b"more") == ""
    assert stream.end() == ""


def test_a_stop_text_across_tokens_is_found() -> None:
    assert shown([b"so<", b"|e", b"nd|", b">x"], ["<|end|>"]) == ["so", "", "", "", ""]


def test_the_start_of_a_stop_text_is_withheld_and_given_when_it_was_none() -> None:
    assert shown([b"a <|", b"end", b" of"], ["<|end|>"]) == ["a ", "", "<|end of", ""]


def test_the_start_of_a_stop_text_is_given_at_the_end() -> None:
    assert shown([b"a <|end"], ["<|end|>"]) == ["a ", "<|end"]


def test_the_longest_of_several_possible_starts_is_withheld() -> None:
    assert shown([b"xab"], ["b!", "abc", "zzzzz"]) == ["x", "ab"]


def test_a_start_inside_a_failed_start_is_withheld() -> None:
    assert shown([b"aab", b"aac"], ["aabaad"]) == ["", "aabaac", ""]
    assert shown([b"aab", b"aabaad"], ["aabaad"]) == ["", "aab", ""]


def test_the_earliest_stop_text_wins() -> None:
    assert shown([b"one two three"], ["three", "two"])[0] == "one "


def test_a_stop_text_of_several_bytes_a_character_is_found_across_its_bytes() -> None:
    assert shown([b"a", "é".encode()[:1], "é".encode()[1:], b"z"], ["é"]) == ["a", "", "", "", ""]


def test_empty_stop_texts_mean_nothing() -> None:
    assert shown([b"abc"], ["", ""]) == ["abc", ""]


@pytest.mark.soak
@pytest.mark.parametrize("size", [1, 2, 3, 5])
@ROUNDS
@given(text=FEW_LETTERS, stops=st.lists(FEW_LETTERS, max_size=3))
def test_however_the_bytes_are_cut_the_text_is_the_same(size: int, text: str, stops: list[str]) -> None:
    raw = text.encode()
    pieces = [raw[at : at + size] for at in range(0, len(raw), size)]
    places = [text.find(stop) for stop in stops if stop and stop in text]
    whole = "".join(shown([raw], stops))
    assert whole == text[: min(places)] if places else whole == text
    in_pieces = "".join(shown(pieces, stops))
    # A longer stop text may begin first but be complete later than a shorter one inside it.
    assert text.startswith(in_pieces)
    assert not any(stop and stop in in_pieces for stop in stops)
    if not places:
        assert in_pieces == text
