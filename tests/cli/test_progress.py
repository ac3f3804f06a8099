"""Progress, as it is drawn on a terminal, written into a log, and given to programs."""

from __future__ import annotations

import io
import json
import re
import threading
from typing import Any

import pexpect
import pytest
from corral.cli.bars import Bars
from corral.cli.progress import Lines, Objects
from corral.store.digest import Digest
from corral.store.progress import Progress
from rich.console import Console

from tests.conftest import CORRAL, Cli, DockerRegistry

A, B = Digest.of(b"a"), Digest.of(b"b")


def moved(digest: Digest, completed: int, total: int = 4_700_000_000) -> Progress:
    return Progress(f"pulling {digest.short}", digest, total, completed)


def lines(steps: list[tuple[float, Progress]]) -> list[str]:
    written: list[str] = []
    now = [0.0]
    said = Lines(written.append, clock=lambda: now[0])
    for now[0], step in steps:
        said.report(step)
    return written


def test_a_line_for_each_new_status() -> None:
    steps = [Progress("a"), Progress("a"), Progress("b"), Progress("a")]
    assert lines([(0, step) for step in steps]) == ["a", "b", "a"]


def test_blobs_that_take_turns_are_not_told_of_again_and_again() -> None:
    steps = [(0.001 * i, moved((A, B)[i % 2], i)) for i in range(1000)]
    assert lines(steps) == [f"pulling {A.short}", f"pulling {B.short}"]


def test_a_long_transfer_shows_that_it_is_alive() -> None:
    steps = [(float(i), moved(A, i * 47_000_000)) for i in range(101)]
    written = lines(steps)
    assert len(written) == 11
    assert written[1:4] == [f"pulling {A.short}:  {share}% of 4.7 GB" for share in (10, 20, 30)]
    assert written[-1] == f"pulling {A.short}: 100% of 4.7 GB"


def test_an_empty_blob_is_no_division_by_nothing() -> None:
    assert lines([(0, moved(A, 0, 0)), (99, moved(A, 0, 0))])[1] == f"pulling {A.short}:   0% of 0 B"


def objects(steps: list[tuple[float, Progress]]) -> list[dict[str, str | int]]:
    written: list[dict[str, str | int]] = []
    now = [0.0]
    said = Objects(written.append, clock=lambda: now[0])
    for now[0], step in steps:
        said.report(step)
    return written


def test_objects_are_the_apis() -> None:
    assert objects([(0, Progress("pulling manifest")), (0, moved(A, 5, 10))]) == [
        {"status": "pulling manifest"},
        {"status": f"pulling {A.short}", "digest": str(A), "total": 10, "completed": 5},
    ]


def test_of_a_blob_there_are_not_more_objects_than_ollamas_server_sends_but_the_last() -> None:
    steps = [(0.001 * i, moved(A, i, 1000)) for i in range(1001)] + [(1.0, moved(A, 1000, 1000))]
    written = objects(steps)
    assert 2 <= len(written) <= 19
    assert (
        [step["completed"] for step in written][::18] == [0, 1000] if len(written) == 19 else written[-1]["completed"]
    )
    assert written[-1]["completed"] == 1000
    assert [step["completed"] for step in written].count(1000) == 1


@pytest.mark.parametrize("kind", [Lines, Objects])
def test_threads_may_report_at_once(kind: Any) -> None:
    written: list[object] = []
    said = kind(written.append)
    digests = [Digest.of(bytes([i])) for i in range(8)]

    def work(digest: Digest) -> None:
        for i in range(201):
            said.report(moved(digest, i, 200))

    threads = [threading.Thread(target=work, args=(digest,)) for digest in digests]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for digest in digests:
        assert any(digest.short in str(line) for line in written)


def drawn(steps: list[Progress], width: int = 80, *, is_over: bool = True) -> list[str]:
    """What stands on a terminal at the end; or just before the last step is over."""
    written = io.StringIO()
    with Bars(Console(file=written, force_terminal=True, width=width, height=20, color_system=None)) as bars:
        for step in steps:
            bars.take(step)
        bars.refresh()
        before = written.getvalue()
    return screen(written.getvalue() if is_over else before)


def screen(written: str) -> list[str]:
    """A small terminal: it goes up, back and down, and clears lines."""
    rows, row = [""], 0
    for control, text in re.findall(r"(\x1b\[[0-9;?]*[A-Za-z]|\r|\n)|([^\x1b\r\n]+)", written):
        if control.endswith("A"):
            row -= int(control[2:-1] or 1)
        elif control.endswith("K"):
            rows[row] = ""
        elif control == "\n":
            row += 1
            rows += [""] * (row + 1 - len(rows))
        elif text:
            rows[row] = text
    return [line.rstrip() for line in rows if line.strip()]


def test_a_finished_bar_is_ollamas() -> None:
    (line,) = drawn([moved(A, 0), moved(A, 4_700_000_000)])
    assert re.fullmatch(rf"pulling {A.short}: 100% ▕█+▏ 4\.7 GB", line)
    assert len(line) == 80


def test_an_unfinished_bar_says_how_much_there_is() -> None:
    (line,) = drawn([moved(A, 0), moved(A, 2_000_000_000)], is_over=False)
    assert re.match(rf"pulling {A.short}:  42% ▕█+ +▏   2 GB/4\.7 GB", line)


def test_what_is_done_stays_in_its_order() -> None:
    steps = [
        Progress("pulling manifest"),
        moved(A, 1, 10),
        moved(B, 10, 10),
        moved(A, 10, 10),
        moved(A, 10, 10),
        moved(B, 10, 10),
        Progress("writing manifest"),
        Progress("success"),
    ]
    assert [line.partition(": 100%")[0] for line in drawn(steps)] == [
        "pulling manifest",
        f"pulling {A.short}",
        f"pulling {B.short}",
        "writing manifest",
        "success",
    ]


def test_a_status_spins_until_the_next_step() -> None:
    assert re.fullmatch("pulling manifest [⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏]", drawn([Progress("pulling manifest")], is_over=False)[0])
    after = drawn([Progress("pulling manifest"), moved(A, 1, 10)], is_over=False)
    assert after[0] == "pulling manifest"
    assert drawn([Progress("pulling manifest")]) == ["pulling manifest"]


def test_a_transfer_that_begins_anew_is_drawn_anew() -> None:
    assert len(drawn([moved(A, 10, 10), moved(A, 10, 10)])) == 1
    assert len(drawn([moved(A, 10, 10), moved(A, 2, 10), moved(A, 10, 10)])) == 2


@pytest.mark.parametrize("width", [1, 10, 30])
def test_a_narrow_terminal_is_survived(width: int) -> None:
    assert drawn([Progress("verifying sha256 digest"), moved(A, 5, 10), moved(A, 10, 10)], width)


def test_any_number_of_transfers_has_room() -> None:
    steps = [moved(Digest.of(b"%d" % i), 1, 10) for i in range(100)]
    assert len(drawn(steps, is_over=False)) == 19
    done = [moved(Digest.of(b"%d" % i), 10, 10) for i in range(100)]
    assert len(drawn([*steps, *done])) == 100


@pytest.fixture
def pushed(cli: Cli, tiny_gguf: Any, docker_registry: DockerRegistry) -> str:
    name = f"{docker_registry.host}/crew/progress:v1"
    cli.ok("create", name, "-f", "-", stdin=f"FROM {tiny_gguf}\nSYSTEM Go on.\n")
    cli.ok("push", name)
    cli.ok("rm", name)
    return name


def test_on_a_terminal_there_are_bars(cli: Cli, pushed: str) -> None:
    environment = cli.environment | {"TERM": "xterm-256color"}
    child: pexpect.spawn[str] = pexpect.spawn(
        str(CORRAL), ["pull", pushed], env=environment, timeout=60, dimensions=(24, 100), encoding="utf-8"
    )
    text: str = child.read()
    child.close()
    assert child.exitstatus == 0
    assert re.search(r"pulling [0-9a-f]{12}: 100% ▕█+▏ +\d+ B", text)
    assert "success" in text
    assert pushed in text


def test_pull_and_push_give_lines_of_json(cli: Cli, pushed: str) -> None:
    done = cli.run("pull", pushed, "--json")
    assert done.returncode == 0
    assert done.stderr == ""
    steps = [json.loads(line) for line in done.stdout.splitlines()]
    assert steps[0] == {"status": "pulling manifest"}
    assert [step["status"] for step in steps[-3:]] == ["verifying sha256 digest", "writing manifest", "success"]
    blobs = [step for step in steps if "digest" in step]
    assert blobs
    assert all(step.keys() == {"status", "digest", "total", "completed"} for step in blobs)
    assert {step["digest"] for step in blobs if step["completed"] == step["total"]} == {
        step["digest"] for step in blobs
    }
    steps = [json.loads(line) for line in cli.ok("push", pushed, "--json").splitlines()]
    assert (steps[0], steps[-1]) == ({"status": "retrieving manifest"}, {"status": "success"})


@pytest.mark.parametrize("name", ["absent", "a b"])
def test_error_the_last_line_of_json_says_what_is_wrong(cli: Cli, docker_registry: DockerRegistry, name: str) -> None:
    done = cli.run("pull", f"{docker_registry.host}/crew/{name}:v1", "--json")
    assert done.returncode in (1, 4)
    said = json.loads(done.stdout.splitlines()[-1])
    assert said.keys() == {"error"}
    assert done.stderr.startswith(f"Error: {said['error']}\n")


def test_in_a_log_a_pull_is_a_line_for_each_step(cli: Cli, pushed: str) -> None:
    done = cli.run("pull", pushed)
    steps = done.stderr.splitlines()
    assert steps[0] == "pulling manifest"
    assert steps[-1] == "success"
    assert len(steps) == len(set(steps))
    assert all(re.fullmatch(r"pulling [0-9a-f]{12}", step) for step in steps[1:-3])
