"""`run`, `serve`, `ps` and `stop` on the real model: one question, a conversation, and interruptions."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from pathlib import Path
from typing import Any, cast

import pexpect
import pytest
import requests

from tests.conftest import CORRAL, Cli, serving


@pytest.fixture
def smol(models_folder: Path, cli: Cli) -> Cli:
    """The store with the model `smol`; no server is known."""
    return Cli(models_folder, cli.folder)


@pytest.fixture
def asking(smol: Cli, served_url: str) -> dict[str, str]:
    """The variables that lead to the server of that store."""
    assert smol.models
    return {"OLLAMA_HOST": served_url}


def test_one_question_is_answered_without_a_server(smol: Cli) -> None:
    before = smol.files()
    done = smol.run("run", "smol", "What is the capital of France?", OLLAMA_NUM_PARALLEL="1")
    assert done.returncode == 0, done.stderr
    assert "Paris" in done.stdout
    assert done.stdout.endswith("\n\n")
    assert done.stderr == ""
    assert smol.files() == before


def test_one_question_is_asked_of_the_server(smol: Cli, asking: dict[str, str]) -> None:
    assert "Paris" in smol.ok("run", "smol", "What", "is", "the", "capital", "of", "France?", **asking)
    assert "smol:latest" in smol.ok("ps", **asking)


def test_piped_text_comes_before_the_words(smol: Cli, asking: dict[str, str]) -> None:
    piped = smol.ok("run", "smol", "capital of France?", stdin="What is the", **asking)
    assert piped == smol.ok("run", "smol", "What is the capital of France?", **asking)


def test_piped_bytes_that_are_no_text_are_read_as_such(smol: Cli, asking: dict[str, str]) -> None:
    done = subprocess.run(
        [CORRAL, "run", "smol"],
        input=b"Say \xff\xfe hi.",
        env=smol.environment | asking,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("words", [[], [""]])
def test_no_question_is_no_answer(smol: Cli, asking: dict[str, str], words: list[str]) -> None:
    assert smol.ok("run", "smol", *words, **asking) == ""


def test_verbose_tells_counts_and_speeds_on_stderr(smol: Cli, asking: dict[str, str]) -> None:
    done = smol.run("run", "smol", "--verbose", "What is the capital of France?", **asking)
    assert done.returncode == 0, done.stderr
    labels = [line[:22].strip() for line in done.stderr.splitlines()]
    assert labels == [
        *("total duration:", "load duration:", "prompt eval count:", "prompt eval duration:", "prompt eval rate:"),
        *("eval count:", "eval duration:", "eval rate:"),
    ]
    assert re.search(r"^eval rate: +\d+\.\d\d tokens/s$", done.stderr, re.MULTILINE)


def test_ps_is_ollamas_table_and_stop_empties_it(smol: Cli, asking: dict[str, str]) -> None:
    smol.ok("run", "smol", "--keepalive", "-1s", "Hi", **asking)
    header, row = smol.ok("ps", **asking).splitlines()
    assert header.split() == ["NAME", "ID", "SIZE", "PROCESSOR", "CONTEXT", "UNTIL"]
    digest = json.loads(smol.ok("show", "smol", "--json"))["digest"].removeprefix("sha256:")
    cells = re.split(r" {2,}", row.rstrip())
    assert cells[:2] == ["smol:latest", digest[:12]]
    assert cells[3] == "100% CPU"
    assert cells[5] == "Forever"
    (entry,) = json.loads(smol.ok("ps", "--json", **asking))["models"]
    assert entry["digest"] == digest
    assert entry["context_length"] == int(cells[4])
    assert len(smol.ok("ps", "nope", **asking).splitlines()) == 1
    assert smol.ok("stop", "smol", **asking) == ""
    assert json.loads(smol.ok("ps", "--json", **asking)) == {"models": []}


def test_error_an_unknown_model_at_the_server(smol: Cli, asking: dict[str, str]) -> None:
    assert 'couldn\'t find model "nope" to stop' in smol.error(1, "stop", "nope", **asking)


def test_error_a_keepalive_that_is_no_duration(smol: Cli, asking: dict[str, str]) -> None:
    assert "soon" in smol.error(1, "run", "smol", "--keepalive", "soon", "Hi", **asking)


def test_the_servers_keep_alive_is_the_environments(smol: Cli) -> None:
    with serving(smol, OLLAMA_KEEP_ALIVE="1h", CORRAL_KEEP_ALIVE="-1", OLLAMA_NUM_PARALLEL="1") as url:
        assert requests.post(f"{url}/api/generate", json={"model": "smol"}, timeout=60).ok
        assert smol.ok("ps", OLLAMA_HOST=url).splitlines()[1].rstrip().endswith("Forever")


def test_debug_logs_on_stderr(smol: Cli) -> None:
    done = smol.run("run", "smol", "Hi", OLLAMA_DEBUG="1")
    assert done.returncode == 0
    assert " DEBUG " in done.stderr or " INFO " in done.stderr


def talk(smol: Cli, asking: dict[str, str], *options: str) -> Any:
    environment = smol.environment | asking | {"TERM": "dumb", "PROMPT_TOOLKIT_NO_CPR": "1"}
    arguments = ["run", "smol", *options]
    spawn = cast("Any", pexpect).spawn
    child = spawn(str(CORRAL), arguments, env=environment, encoding="utf-8", timeout=20, dimensions=(40, 200))
    child.expect(">>> ")
    return child


def ended(child: Any) -> int | None:
    child.expect(pexpect.EOF)
    child.close()
    return child.exitstatus


def test_a_conversation_remembers_until_it_is_cleared(smol: Cli, asking: dict[str, str]) -> None:
    child = talk(smol, asking)
    child.sendline("What is the capital of France?")
    child.expect("Paris")
    child.expect(">>> ")
    child.sendline("/clear")
    child.expect("Cleared session context")
    child.expect(">>> ")
    child.sendline("/?")
    child.expect("Available Commands:")
    child.expect(">>> ")
    child.sendline("/frobnicate")
    child.expect("Unknown command '/frobnicate'. Type /\\? for help")
    child.expect(">>> ")
    child.sendline("/bye")
    assert ended(child) == 0


def test_several_lines_are_one_message(smol: Cli, asking: dict[str, str]) -> None:
    child = talk(smol, asking, "--verbose")
    child.sendline('"""What is the capital')
    child.expect(r"\.\.\. ")
    child.sendline('of France?"""')
    child.expect("Paris")
    child.expect("eval rate:")
    child.expect(">>> ")
    assert child.waitnoecho(20)  # the prompt is read key by key from here on
    child.sendeof()
    assert ended(child) == 0


def test_ctrl_c_ends_an_answer_and_not_the_conversation(smol: Cli, asking: dict[str, str]) -> None:
    child = talk(smol, asking)
    child.sendintr()
    child.expect("Use Ctrl \\+ d or /bye to exit.")
    child.expect(">>> ")
    child.sendline("Tell me a very long story about the sea and everything in it.")
    child.expect("\\w+ \\w+ \\w+")
    child.expect("\n")
    child.sendintr()
    child.expect(">>> ")
    child.sendline("/bye")
    assert ended(child) == 0


@pytest.mark.parametrize("private", [False, True])
def test_ctrl_c_ends_one_answer_with_130(smol: Cli, asking: dict[str, str], *, private: bool) -> None:
    variables = {} if private else asking
    process = subprocess.Popen(
        [CORRAL, "run", "smol", "Tell me a very long story about the sea and everything in it."],
        env=smol.environment | variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    with process:
        assert process.stdout.read(1)
        # As a terminal does it: the whole foreground process group gets the signal.
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(20) == 130
        assert b"Traceback" not in process.stderr.read()
        process.stdout.read()
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)


def test_a_server_ends_cleanly_with_either_signal(smol: Cli) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        process = subprocess.Popen(
            [CORRAL, "serve"],
            env=smol.environment | {"OLLAMA_HOST": "127.0.0.1:0"},
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert process.stderr is not None
        with process:
            assert process.stderr.readline().startswith("Listening on 127.0.0.1:")
            os.killpg(process.pid, number)
            assert process.wait(20) in (0, 130)
            assert "Traceback" not in process.stderr.read()
