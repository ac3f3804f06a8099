"""Patience: how often and how long, as a table of what happens."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from corral.registry.patience import Patience, Tries, retry_after
from corral.registry.quirks import acknowledged, part_size, upload_policy

MIB = 1 << 20


def test_waits_grow_and_end() -> None:
    tries = Tries(Patience(retries=4, first_wait=1.0))
    waits = [tries.wait(None) for _ in range(5)]
    assert waits[4] is None
    for wait, longest in zip(waits[:4], (1, 2, 4, 8), strict=True):
        assert wait is not None
        assert longest / 2 <= wait <= longest


def test_who_gets_on_may_fail_again() -> None:
    tries = Tries(Patience(retries=2))
    for gained in range(1, 50):
        assert tries.wait(None, gained << 16) is not None
        tries.got_on()


def test_who_gets_on_by_crumbs_may_not_fail_for_ever() -> None:
    tries = Tries(Patience(retries=2))
    answers: list[float | None] = []
    for gained in range(50):
        answers.append(tries.wait(None, gained))
        tries.got_on()
    assert answers.index(None) == 2


def test_a_registry_is_left_alone_as_long_as_it_asks_for_but_not_for_ever() -> None:
    tries = Tries(Patience(longest_request=60))
    assert tries.wait(7.5) == 7.5
    assert (tries.wait(0) or 0) > 0  # at once would be a hail of requests
    assert tries.wait(61) is None


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("120", 120),
        (" 0 ", 0),
        ("Sat, 21 Nov 2026 12:00:30 GMT", 30),
        ("Sat, 21 Nov 2026 11:00:00 GMT", 0),
        ("soon", None),
        ("", None),
        ("-5", None),
        ("9" * 40, None),
        ("1e9", None),
    ],
)
def test_retry_after_is_a_number_or_a_date(header: str, seconds: float | None) -> None:
    assert retry_after({"Retry-After": header}, datetime(2026, 11, 21, 12, tzinfo=UTC)) == seconds


@pytest.mark.parametrize(
    ("host", "whole_up_to_mib", "is_ollamas"),
    [
        ("registry.ollama.ai", 0, True),
        ("ollama.com", 0, True),
        ("ghcr.io", None, False),
        ("GHCR.io:443", None, False),
        ("123456789012.dkr.ecr.eu-west-1.amazonaws.com", None, False),
        ("europe-docker.pkg.dev", None, False),
        ("eu.gcr.io", None, False),
        ("quay.io", 16 << 10, False),
        ("localhost:5000", 256, False),
        ("notghcr.io", 256, False),
        ("ghcr.io.evil.example", 256, False),
        ("myollama.ai", 256, False),
    ],
)
def test_policies_by_host(host: str, whole_up_to_mib: int | None, is_ollamas: bool) -> None:  # noqa: FBT001
    policy = upload_policy(host)
    assert policy.takes_chunks == (whole_up_to_mib is not None)
    assert policy.whole_up_to == (whole_up_to_mib or 0) * MIB
    assert policy.is_ollamas == is_ollamas


def test_ollamas_parts() -> None:
    assert [part_size(size) for size in (5, 4_000_000_000, 10**12)] == [100_000_000, 250_000_000, 1_000_000_000]


@pytest.mark.parametrize(
    ("header", "count"),
    [
        ("0-0", 0),
        ("0-9", 10),
        ("bytes=0-9", 10),
        (" 0-9 ", 10),
        ("5-9", None),
        ("0-", None),
        ("", None),
        (None, None),
        ("0-" + "9" * 40, None),
        ("0-x", None),
    ],
)
def test_what_a_registry_says_it_has(header: str | None, count: int | None) -> None:
    assert acknowledged(header) == count
