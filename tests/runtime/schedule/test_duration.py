"""Durations, in every form that Ollama's clients send."""

from __future__ import annotations

import contextlib
import math

import pytest
from corral.runtime.schedule.duration import FOREVER, parse_duration
from corral.store.errors import InputError
from hypothesis import given, settings
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("given_as", "seconds"),
    [
        ("5m", 300),
        ("1h30m", 5400),
        ("1h2m3s", 3723),
        ("1.5h", 5400),
        (".5s", 0.5),
        ("1.s", 1),
        ("250ms", 0.25),
        ("7us", 7e-6),
        ("7µs", 7e-6),
        ("7μs", 7e-6),
        ("9ns", 9e-9),
        ("+90s", 90),
        ("0s", 0),
        ("-0s", 0),
        (" 5m ", 300),
        ("999999h", 999999 * 3600),
        (10, 10),
        (1.5, 1.5),
        (0, 0),
        (-0.0, 0),
        ("0", 0),
        ("90", 90),
        ("1.5", 1.5),
    ],
)
def test_a_duration_is_so_many_seconds(given_as: str | float, seconds: float) -> None:
    assert parse_duration(given_as) == pytest.approx(seconds)


@pytest.mark.parametrize("given_as", [-1, -0.5, "-1", "-1s", "-5m", "-0.001ms", math.inf, -math.inf, "9" * 400 + "h"])
def test_negative_is_forever(given_as: str | float) -> None:
    assert parse_duration(given_as) == FOREVER


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "abc",
        "5 m",
        "5m 3s",
        "m",
        "5d",
        "1h-5m",
        "--5m",
        "1e3",
        "inf",
        "nan",
        "1_000",
        "٥m",
        "٥",
        "5M",
        ".",
        ".s",
    ],
)
def test_error_anything_else_is_no_duration(text: str) -> None:
    with pytest.raises(InputError, match="time: invalid duration") as caught:
        parse_duration(text)
    assert caught.value.hint


def test_error_not_a_number_is_no_duration() -> None:
    with pytest.raises(InputError, match="time: invalid duration NaN"):
        parse_duration(math.nan)


@settings(derandomize=True, deadline=None, max_examples=300)
@given(st.text("0123456789.+-hmsnuµ eE", max_size=12) | st.text(max_size=8))
def test_any_text_is_a_duration_or_an_input_error(text: str) -> None:
    with contextlib.suppress(InputError):
        assert parse_duration(text) >= 0
