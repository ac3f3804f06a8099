"""Sizes and times in Ollama's words (spec part 1.2)."""

from __future__ import annotations

import pytest
from corral.cli.units import ago, human_bytes, human_time, read_bytes, until

DAY = 86400.0


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1 KB"),
        (1500, "1.5 KB"),
        (1999, "1.9 KB"),
        (9999, "9.9 KB"),
        (10_500, "10 KB"),
        (999_999, "999 KB"),
        (1_000_000, "1 MB"),
        (98_000_000, "98 MB"),
        (4_700_000_000, "4.7 GB"),
        (12_345_678_901, "12 GB"),
        (2_000_000_000_000, "2 TB"),
    ],
)
def test_bytes(size: int, words: str) -> None:
    assert human_bytes(size) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "Less than a second"),
        (1, "1 second"),
        (59.9, "59 seconds"),
        (60, "About a minute"),
        (120, "2 minutes"),
        (3599, "59 minutes"),
        (3600, "About an hour"),
        (7200, "2 hours"),
        (47 * 3600, "47 hours"),
        (2 * DAY, "2 days"),
        (13 * DAY, "13 days"),
        (14 * DAY, "2 weeks"),
        (59 * DAY, "8 weeks"),
        (60 * DAY, "2 months"),
        (729 * DAY, "24 months"),
        (730 * DAY, "2 years"),
    ],
)
def test_times(seconds: float, words: str) -> None:
    assert human_time(seconds) == words
    assert ago(seconds) == f"{words} ago"


def test_a_clock_that_went_back_is_no_negative_age() -> None:
    assert ago(-5) == "Less than a second ago"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (300, "5 minutes from now"),
        (-1, "Stopping..."),
        (21 * 365 * DAY, "Forever"),
        (19 * 365 * DAY, "19 years from now"),
    ],
)
def test_until(seconds: float, words: str) -> None:
    assert until(seconds) == words


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("4096", 4096),
        ("10MB", 10_000_000),
        ("10 mb/s", 10_000_000),
        ("10M", 10_000_000),
        ("512KiB", 512 << 10),
        ("1.5 GiB", 3 << 29),
        ("2TB", 2 * 10**12),
        ("7b", 7),
    ],
)
def test_bytes_as_people_write_them(text: str, size: int) -> None:
    assert read_bytes(text) == size


@pytest.mark.parametrize(
    "text", ["", "MB", "-1", "1e9", "1,5MB", "10 apples", "1ib", "1PB", "0x10", "9" * 20, "١MB", "1 0"]
)
def test_error_bytes_that_nobody_writes(text: str) -> None:
    with pytest.raises(ValueError, match="expected bytes, as in"):
        read_bytes(text)
