"""`corral bench`: what is counted, and that it runs through a server and through a private one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from corral.cli.speed import Answer, doubling, summary

from tests.conftest import Cli

SMALL = ("--tokens", "6", "--prompt-tokens", "24", "--json")


@pytest.mark.parametrize(
    ("parallel", "streams"),
    [(1, [1]), (2, [1, 2]), (3, [1, 2, 3]), (4, [1, 2, 4]), (6, [1, 2, 4, 6]), (32, [1, 2, 4, 8, 16, 32])],
)
def test_streams_double_up_to_the_most(parallel: int, streams: list[int]) -> None:
    assert doubling(parallel) == streams


def answer(started: float, first: float, ended: float) -> Answer:
    return Answer(started, first, ended, prompt_tokens=100, prompt_seconds=0.5, tokens=11, seconds=2.0)


def test_a_wave_is_measured_from_its_first_request_to_its_last_token() -> None:
    waves = [[answer(0, 1, 4), answer(1, 3, 5)], [answer(10, 11, 14), answer(10, 12, 15)], [answer(20, 21, 31)] * 2]
    level = summary(2, waves)
    assert level.throughput == pytest.approx(22 / 5)  # the median wave's
    assert level.wait_p50 == 1
    assert level.wait_p95 == 2
    assert (level.prefill, level.decode) == (200, 5)


def test_answers_without_times_are_no_division_by_zero() -> None:
    empty = Answer(1, 1, 1, 0, 0, 0, 0)
    assert summary(1, [[empty]]).throughput == 0


def check(printed: str, streams: list[int]) -> dict[str, Any]:
    """The measurements, in which there must be something."""
    measured = json.loads(printed)
    assert [level["streams"] for level in measured["levels"]] == streams
    for level in measured["levels"]:
        assert all(value > 0 for value in level.values())
        assert level["ttft_p50_seconds"] <= level["ttft_p95_seconds"]
    assert measured["memory"]["size"] > 0
    return measured


def test_a_running_server_is_measured(served_url: str, models_folder: Path) -> None:
    cli = Cli(models_folder, models_folder.parent)
    measured = check(cli.ok("bench", "smol", *SMALL, "--parallel", "2", OLLAMA_HOST=served_url), [1, 2])
    assert measured["memory"]["resident"] is None  # the worker is another's child
    assert (measured["model"], measured["tokens"], measured["prompt_tokens"]) == ("smol", 6, 24)


def test_a_file_is_measured_by_a_private_server(cli: Cli, smollm2: Path) -> None:
    measured = check(cli.ok("bench", str(smollm2), *SMALL, "--parallel", "1"), [1])
    assert measured["memory"]["resident"] > 50_000_000


def test_the_table_has_a_line_for_each_number_of_streams(served_url: str, models_folder: Path) -> None:
    cli = Cli(models_folder, models_folder.parent)
    printed = cli.ok(
        "bench", "smol", "--tokens", "4", "--prompt-tokens", "8", "--parallel", "2", OLLAMA_HOST=served_url
    )
    header, one, two, *rest = printed.splitlines()
    assert header.split()[:2] == ["STREAMS", "TOKENS/S"]
    assert [one.split()[0], two.split()[0]] == ["1", "2"]
    assert any("of memory" in line for line in rest)


def test_error_a_model_name_that_is_none(cli: Cli) -> None:
    assert cli.error(1, "bench", "a//b").startswith("Error: ")
